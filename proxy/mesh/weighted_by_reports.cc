#include "proxy/mesh/weighted_by_reports.h"

#include "proxy/base/text.h"

namespace glia {

std::optional<double> WeightedByReports::known_weight(Endpoint& endpoint, TimePoint now) const {
  EndpointLoad& load = endpoint.load();
  const ServerReport& report = load.last();
  if (!load.heard() || report.rps <= 0) return {};
  const double penalty = report.eps > 0 ? report.eps / report.rps * config_.error_penalty : 0;
  const double use = report.utilization + penalty;
  if (use <= 0) return {};
  if (now - load.heard_at() > config_.expiry) {
    load.weight_since.reset();  // When it comes back, the blackout begins anew.
    return {};
  }
  if (!load.weight_since) load.weight_since = load.heard_at();
  if (now - *load.weight_since < config_.blackout) return {};
  return report.rps / use;
}

void WeightedByReports::update(std::span<Endpoint* const> usable, TimePoint now) {
  updated_at_ = now;
  double sum = 0;
  std::size_t known = 0;
  for (Endpoint* endpoint : usable) {
    const auto weight = known_weight(*endpoint, now);
    endpoint->load().weight = weight.value_or(0);
    sum += weight.value_or(0);
    known += weight.has_value();
  }
  mean_ = known >= 2 ? sum / static_cast<double>(known) : 0;
}

// The walk in golden steps of RoundRobin (balancer.cc), over weights that are not whole numbers.
Endpoint& WeightedByReports::pick(std::span<Endpoint* const> usable, const PickContext& context) {
  if (!turn_) turn_ = context.random.below(usable.size());
  if (context.now - updated_at_ >= config_.update) update(usable, context.now);
  const uint64_t turn = (*turn_)++;
  if (mean_ == 0) return *usable[turn % usable.size()];
  const auto weight_of = [this](Endpoint& endpoint) {
    const double weight = endpoint.load().weight > 0 ? endpoint.load().weight : mean_;
    return weight * endpoint.config().weight;
  };
  double total = 0;
  for (Endpoint* endpoint : usable) total += weight_of(*endpoint);
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio
  double place = static_cast<double>(kGolden * turn >> 11) * 0x1.0p-53 * total;
  for (Endpoint* endpoint : usable) {
    place -= weight_of(*endpoint);
    if (place < 0) return *endpoint;
  }
  return *usable.back();
}

std::string WeightedByReports::why(const Endpoint& endpoint, TimePoint now) const {
  const EndpointLoad& load = endpoint.load();
  if (load.weight > 0) {
    return cat("weight ", static_cast<int64_t>(load.weight), " = ", load.last().rps,
               " requests/s at utilization ", load.last().utilization);
  }
  return load.heard() ? "weight of the mean: its reports are too new, too old or say too little"
                      : "weight of the mean: no report yet";
}

}  // namespace glia
