// Workload.spec.tokenBudgets and sharedBudgets.
#include "control_plane/objects/kind.h"

namespace glia {

namespace {

using Budget = Workload::TokenBudget;
using Shared = Workload::SharedBudgets;

constexpr int64_t kMostTokens = int64_t{1} << 40;
constexpr std::size_t kMostBudgets = 64;
constexpr Duration kShortest = std::chrono::seconds(1), kLongest = std::chrono::hours(744);

void check_budget(Budget& budget, const YamlNode& node, Reader& reader) {
  if (budget.per >= kShortest && budget.per <= kLongest) return;
  const YamlNode& value = *node.find("per");
  reader.error_in("per", {value.line, value.column},
                  cat("must be from 1s to 744h, not ", value.text));
}

// As proxy/xds/decode_budget.cc reads it.
std::optional<std::string> check_redis(std::string_view address) {
  if (address.starts_with("unix:/")) return {};
  const std::size_t colon = std::min(address.size(), address.rfind(':'));
  const auto port = parse_decimal(address.substr(std::min(address.size(), colon + 1)));
  if (colon > 0 && port && *port >= 1 && *port <= 65535) return {};
  return "must be an address such as redis.example:6379 or unix:/run/redis.sock";
}

void check_shared(Shared& shared, const YamlNode& node, Reader& reader) {
  const auto wrong = [&](const char* field, std::string sentence) {
    const YamlNode& value = *node.find(field);
    reader.error_in(field, {value.line, value.column}, std::move(sentence));
  };
  if (shared.timeout < std::chrono::milliseconds(1) || shared.timeout > std::chrono::seconds(10)) {
    wrong("timeout", cat("must be from 1ms to 10s, not ", node.find("timeout")->text));
  }
  if (!shared.username.empty() && shared.password_file.empty()) {
    wrong("username", "has no password beside it; set passwordFile as well");
  }
}

}  // namespace

Type<Workload::SharedBudgets> shared_budgets() {
  ObjectType<Shared> type("a Redis that holds token budgets");
  type.required("redis", &Shared::redis, text("HOST:PORT", "", check_redis),
                "Or unix:/PATH. As the sidecar reaches it, in clear text.")
      .required("share", &Shared::share, label_name("a name in lower case"),
                "Budgets of one name in one share are one.")
      .optional("username", &Shared::username, text("a user"), "", "default")
      .optional("passwordFile", &Shared::password_file, text("a path"), "On the sidecar's machine.",
                "no password")
      .optional("timeout", &Shared::timeout, duration(),
                "From 1ms to 10s. So much later, at most, a request goes on without it.", "100ms")
      .optional("whenAway", &Shared::when_away,
                enumeration<Shared::WhenAway>({{"Local", Shared::WhenAway::kLocal},
                                               {"Allow", Shared::WhenAway::kAllow},
                                               {"Refuse", Shared::WhenAway::kRefuse}}),
                "Local: the sidecar's own book decides. Allow: requests are let in. Refuse: they "
                "are refused.",
                "Local")
      .check(check_shared);
  return type;
}

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
      .optional("stopStreams", &Budget::stop_streams,
                enumeration<Budget::Stop>({{"Never", Budget::Stop::kNever},
                                           {"WhenEmpty", Budget::Stop::kWhenEmpty},
                                           {"AtReservation", Budget::Stop::kAtReservation}}),
                "Streams that use more than was taken for them at the door are ended, once the "
                "budget has nothing left, or at that.",
                "Never")
      .check(check_budget);
  return list(Type<Budget>(type), 1, kMostBudgets);
}

}  // namespace glia
