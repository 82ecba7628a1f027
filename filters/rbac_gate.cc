#include "filters/rbac_gate.h"

#include "proxy/base/text.h"

namespace glia {

RbacGate::RbacGate(std::shared_ptr<const RbacConfig> config, const RbacGate* before)
    : config_(std::move(config)), nothing_(ArenaRef::create()) {
  if (before != nullptr) counts_ = before->counts_;
}

Gate::Verdict RbacGate::admit(const ConnectionInfo& connection) {
  const RbacInput input{nothing_, connection, {}, {}};
  RbacOutcome outcome = judge(*config_, input, counts_);
  Verdict verdict{
      .allowed = outcome.verdict.allowed, .policy = std::move(outcome.policy), .why = {}};
  if (!verdict.allowed) {
    verdict.why = refusal_sentence(*config_->rules, outcome.verdict, connection);
  }
  return verdict;
}

void RbacGate::collect(MetricsPage& page, const Labels& labels) const {
  counts_.collect(page, "envoy_tcp_rbac_", labels);
}

}  // namespace glia
