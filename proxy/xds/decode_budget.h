// glia.v1.TokenBudgets (api/glia/v1/budget.proto).
#pragma once

#include <memory>

#include "proxy/admission/token_budget.h"
#include "proxy/xds/reader.h"

namespace glia {

std::shared_ptr<const TokenBudgetsConfig> decode_token_budgets(const Reader& config);
// In typed_per_filter_config.
std::shared_ptr<const TokenBudgetsConfig> decode_token_budgets_of_route(const Reader& config);

}  // namespace glia
