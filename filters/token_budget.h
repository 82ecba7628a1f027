// Token budgets: a request takes what it may use at most from the budgets that it falls under before it
// begins, its answer is counted as it passes, and what was not used is given back
// (glia.v1.TokenBudgets, docs/token-budgets.md).
#pragma once

#include <memory>
#include <string>

#include "proxy/admission/redis_ledger.h"
#include "proxy/admission/token_budget.h"
#include "proxy/flow/filter.h"

namespace glia {

class TokenBudgetFilter final : public Filter {
 public:
  // `name` as configured. `before` (may be null) is the filter that this one replaces.
  TokenBudgetFilter(std::string name, std::shared_ptr<const TokenBudgetsConfig> config,
                    const TokenBudgetFilter* before);
  ~TokenBudgetFilter() override;

  Task<Reply> handle(Exchange& exchange, Next next) override;
  void collect(MetricsPage& page) const override;

 private:
  RedisLedger* redis(Exchange& exchange);
  bool input_is_paid(const Exchange& exchange) const;

  const std::string name_;  // Routes bring their own settings under it.
  const std::shared_ptr<const TokenBudgetsConfig> config_;
  const std::shared_ptr<const TokenLedger> ledger_;
  // Made for the first request; exchanges keep the filter as long as they may need it.
  std::unique_ptr<RedisLedger> redis_;
};

}  // namespace glia
