#include "filters/all.h"

#include "filters/admission.h"
#include "filters/cors.h"
#include "filters/rbac.h"
#include "filters/rbac_gate.h"
#include "filters/token_budget.h"

namespace glia {

namespace {

// One for each alternative of FilterSettings.
std::unique_ptr<Filter> make(std::shared_ptr<const RbacConfig> config, const std::string& name,
                             const HttpManager& manager, const Filter* before) {
  return std::make_unique<RbacFilter>(name, std::move(config), manager.stat_prefix,
                                      dynamic_cast<const RbacFilter*>(before));
}

std::unique_ptr<Filter> make(std::shared_ptr<const CorsPolicy> config, const std::string& name,
                             const HttpManager& manager, const Filter* before) {
  return std::make_unique<CorsFilter>(name, std::move(config), manager.stat_prefix,
                                      dynamic_cast<const CorsFilter*>(before));
}

std::unique_ptr<Filter> make(std::shared_ptr<const AdmissionConfig> config, const std::string&,
                             const HttpManager&, const Filter* before) {
  return std::make_unique<AdmissionFilter>(std::move(config),
                                           dynamic_cast<const AdmissionFilter*>(before));
}

std::unique_ptr<Filter> make(std::shared_ptr<const TokenBudgetsConfig> config,
                             const std::string& name, const HttpManager&, const Filter* before) {
  return std::make_unique<TokenBudgetFilter>(name, std::move(config),
                                             dynamic_cast<const TokenBudgetFilter*>(before));
}

}  // namespace

std::unique_ptr<Filter> make_filter(const FilterConfig& config, const HttpManager& manager,
                                    const Filter* before) {
  return std::visit(
      [&](const auto& settings) { return make(settings, config.name, manager, before); },
      config.settings);
}

std::unique_ptr<Gate> make_gate(const TcpProxy& proxy, const Gate* before) {
  if (proxy.rbac == nullptr) return nullptr;
  return std::make_unique<RbacGate>(proxy.rbac, dynamic_cast<const RbacGate*>(before));
}

}  // namespace glia
