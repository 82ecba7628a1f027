#include "proxy/xds/decode_budget.h"

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr std::size_t kMostBudgets = 64, kLongestName = 128;

TokenBudget decode_one(const Reader& message) {
  constexpr uint64_t kMostTokens = uint64_t{1} << 40;
  constexpr Duration kShortest = 1s, kLongest = 744h;
  TokenBudget budget;
  budget.name = message.text("name");
  budget.tokens = message.number("tokens", 1, kMostTokens, 1);
  budget.per = message.duration("per", budget.per);
  budget.model = message.text("model");
  budget.tenant = message.text("tenant");
  budget.each_model = message.flag("each_model");
  budget.each_tenant = message.flag("each_tenant");
  if (budget.name.empty()) message.fail("name", "is empty; refusals and metrics call it by that");
  if (!message.has("tokens")) message.fail("has no tokens; write how many may be used");
  if (!is_value(budget.name) || budget.name.size() > kLongestName) {
    message.fail("name", cat("has a control character, or more than ", kLongestName, " bytes"));
  }
  if (budget.per < kShortest || budget.per > kLongest) {
    message.fail("per", "is not between 1 s and 744 h");
    budget.per = 60s;
  }
  return budget;
}

}  // namespace

std::shared_ptr<const TokenBudgetsConfig> decode_token_budgets(const Reader& config) {
  auto budgets = std::make_shared<TokenBudgetsConfig>();
  config.each("budgets", [&](const Reader& message, std::size_t index) {
    if (index == kMostBudgets) message.fail(cat("is one more than ", kMostBudgets));
    budgets->budgets.push_back(decode_one(message));
  });
  budgets->usual_output_tokens = static_cast<uint32_t>(
      config.number("usual_output_tokens", budgets->usual_output_tokens, 1'000'000, 1));
  if (config.choice("tenants") == "CALLERS") {
    budgets->tenants = AdmissionConfig::Tenants::kCallers;
  }
  budgets->keep_requests = config.flag("keep_requests");
  budgets->application = config.text("application");
  return budgets;
}

}  // namespace glia
