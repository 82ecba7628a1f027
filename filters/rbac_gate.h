// RbacGate: RBAC for relayed TCP connections (Envoy's envoy.filters.network.rbac): who the caller's
// certificate says it is, where it comes from, which port and which name it asked for.
#pragma once

#include <memory>

#include "filters/rbac_eval.h"
#include "proxy/flow/gate.h"

namespace glia {

class RbacGate final : public Gate {
 public:
  // `before` (may be null) is what this one replaces; its counts go on.
  RbacGate(std::shared_ptr<const RbacConfig> config, const RbacGate* before);

  Verdict admit(const ConnectionInfo& connection) override;
  void collect(MetricsPage& page, const Labels& labels) const override;

 private:
  std::shared_ptr<const RbacConfig> config_;
  const Request nothing_;  // What rules about requests would see; the decoder refuses such rules.
  RbacCounts counts_;
};

}  // namespace glia
