// HotCold: Prequal's rule (Wydrowski et al., NSDI 2024, section 4) on what servers report: those with
// more requests in flight than a quantile of all are hot. Among the cold, the one with the lowest
// latency for its requests in flight; if all are hot, the one with the fewest.
//
// Prequal probes for this. Here every answer carries the same two numbers, made by the server's own
// sidecar, so that the pool of probes is what was last heard of each endpoint.
#pragma once

#include "proxy/mesh/balancer.h"

namespace glia {

class HotCold final : public Balancer {
 public:
  explicit HotCold(ModelBalancing config) : config_(std::move(config)) {}
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override;
  bool uses_reports() const override { return true; }
  std::string why(const Endpoint& endpoint, TimePoint now) const override;

  static constexpr std::size_t kPool = 16;  // Endpoints that are compared, as Prequal's pool.

 private:
  const ModelBalancing config_;
};

}  // namespace glia
