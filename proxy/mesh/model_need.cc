#include "proxy/mesh/model_need.h"

#include <algorithm>

namespace glia {
namespace {

ModelNeed need_of(const RbacRule& rule) {
  ModelNeed need = rule.header ? model_need_of(rule.header->name) : ModelNeed::kNothing;
  for (const RbacRule& child : rule.children) need = std::max(need, need_of(child));
  return need;
}

ModelNeed need_of(const RbacConfig& config) {
  ModelNeed need = ModelNeed::kNothing;
  for (const auto* rules : {&config.rules, &config.shadow}) {
    if (!*rules) continue;
    for (const RbacPolicy& policy : (*rules)->policies) {
      for (const auto* list : {&policy.permissions, &policy.principals}) {
        for (const RbacRule& rule : *list) need = std::max(need, need_of(rule));
      }
    }
  }
  return need;
}

// Cost, tenant, urgency and deadline.
ModelNeed need_of(const AdmissionConfig& config) {
  return config.cost == AdmissionConfig::Cost::kRequests ? ModelNeed::kNothing : ModelNeed::kAll;
}

}  // namespace

ModelNeed model_need_of(const FilterSettings& settings) {
  if (const auto* admission = std::get_if<std::shared_ptr<const AdmissionConfig>>(&settings)) {
    return need_of(**admission);
  }
  if (std::holds_alternative<std::shared_ptr<const TokenBudgetsConfig>>(settings)) {
    return ModelNeed::kAll;
  }
  // Null where a route switches the filter off.
  const auto* rbac = std::get_if<std::shared_ptr<const RbacConfig>>(&settings);
  return rbac != nullptr && *rbac != nullptr ? need_of(**rbac) : ModelNeed::kNothing;
}

ModelNeed model_need_of(const Route& route) {
  ModelNeed need = route.model_name ? ModelNeed::kName : ModelNeed::kNothing;
  for (const HeaderMatcher& header : route.match.headers) {
    need = std::max(need, model_need_of(header.name));
  }
  for (const auto& [name, settings] : route.filters) {
    need = std::max(need, model_need_of(settings));
  }
  if (!route.forward) return need;
  // Whether its answer is asked for piece by piece.
  if (route.hedging) need = ModelNeed::kAll;
  for (const WeightedCluster& target : route.forward->clusters) {
    if (target.model_name) need = std::max(need, ModelNeed::kName);
  }
  return need;
}

}  // namespace glia
