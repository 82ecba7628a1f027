// Workload.spec.tokenBudgets.
#include "control_plane/objects/kind.h"

namespace glia {

namespace {

using Budget = Workload::TokenBudget;

constexpr int64_t kMostTokens = int64_t{1} << 40;
constexpr std::size_t kMostBudgets = 64;
constexpr Duration kShortest = std::chrono::seconds(1), kLongest = std::chrono::hours(744);

void check(Budget& budget, const YamlNode& node, Reader& reader) {
  if (budget.per >= kShortest && budget.per <= kLongest) return;
  const YamlNode& value = *node.find("per");
  reader.error_in("per", {value.line, value.column},
                  cat("must be from 1s to 744h, not ", value.text));
}

}  // namespace

Type<std::vector<Workload::TokenBudget>> token_budgets() {
  ObjectType<Budget> type("tokens that may be used in a time");
  type.required("name", &Budget::name, label_name("a name in lower case"),
                "What refusals and metrics call it.")
      .required("tokens", &Budget::tokens, integer<uint64_t>("a number", 1, kMostTokens), "")
      .optional("per", &Budget::per, duration(), "From 1s to 744h; they flow in again evenly.",
                "60s")
      .optional("model", &Budget::model, text("a model"), "Only requests for it.", "all")
      .optional("tenant", &Budget::tenant, text("a tenant"), "Only its requests.", "all")
      .optional("eachModel", &Budget::each_model, boolean(), "A budget of its own for each model.",
                "false")
      .optional("eachTenant", &Budget::each_tenant, boolean(),
                "A budget of its own for each tenant.", "false")
      .check(check);
  return list(Type<Budget>(type), 1, kMostBudgets);
}

}  // namespace glia
