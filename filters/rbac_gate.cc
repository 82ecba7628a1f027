#include "filters/rbac_gate.h"

#include "proxy/base/text.h"

namespace glia {

RbacGate::RbacGate(std::shared_ptr<const RbacConfig> config, const RbacGate* before)
    : config_(std::move(config)), nothing_(ArenaRef::create()) {
  if (before != nullptr) counts_ = before->counts_;
}

Gate::Verdict RbacGate::admit(const ConnectionInfo& connection) {
  const RbacInput input{nothing_, connection, {}, {}};
  Verdict verdict;
  if (config_->shadow) {
    const RbacVerdict shadow = evaluate(*config_->shadow, input);
    ++(shadow.allowed ? counts_.shadow_allowed : counts_.shadow_denied);
    if (!shadow.allowed)
      verdict.policy = cat("shadow: ", refusing_policy(*config_->shadow, shadow));
  }
  if (!config_->rules) return verdict;
  const RbacVerdict decided = evaluate(*config_->rules, input);
  ++(decided.allowed ? counts_.allowed : counts_.denied);
  if (decided.allowed) return verdict;
  verdict.allowed = false;
  verdict.policy = refusing_policy(*config_->rules, decided);
  verdict.why = refusal_sentence(*config_->rules, decided, connection);
  return verdict;
}

void RbacGate::collect(MetricsPage& page, const Labels& labels) const {
  page.counter("envoy_tcp_rbac_allowed", labels, counts_.allowed);
  page.counter("envoy_tcp_rbac_denied", labels, counts_.denied);
  page.counter("envoy_tcp_rbac_shadow_allowed", labels, counts_.shadow_allowed);
  page.counter("envoy_tcp_rbac_shadow_denied", labels, counts_.shadow_denied);
}

}  // namespace glia
