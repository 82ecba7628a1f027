// WeightedByReports: turns in proportion to how much each endpoint does for how much it is used
// (gRFC A58, Envoy's client_side_weighted_round_robin).
//
// weight = rps / (utilization + eps / rps * penalty), from the load reports in answers. An endpoint
// that has not reported for the blackout period, or not since the expiry period, has the mean of the
// others' weights; with fewer than two known ones all turns are equal.
#pragma once

#include <optional>

#include "proxy/mesh/balancer.h"

namespace glia {

class WeightedByReports final : public Balancer {
 public:
  explicit WeightedByReports(ReportWeights config) : config_(std::move(config)) {}
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override;
  bool uses_reports() const override { return true; }
  std::string why(const Endpoint& endpoint, TimePoint now) const override;

 private:
  // The endpoint's own weight; nothing while it has none.
  std::optional<double> known_weight(Endpoint& endpoint, TimePoint now) const;
  void update(std::span<Endpoint* const> usable, TimePoint now);

  const ReportWeights config_;
  std::optional<uint64_t> turn_;  // Unset before the first.
  TimePoint updated_at_{};
  double mean_ = 1;
};

}  // namespace glia
