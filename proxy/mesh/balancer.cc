#include "proxy/mesh/balancer.h"

#include <algorithm>
#include <optional>

#include "proxy/mesh/hot_cold.h"
#include "proxy/mesh/model_balancer.h"
#include "proxy/mesh/weighted.h"
#include "proxy/mesh/weighted_by_reports.h"

namespace glia {
namespace {

uint64_t weight_of(const Endpoint* endpoint) { return endpoint->config().weight; }

// Smooth weighted round robin without state per endpoint: a walk over the weights in steps that
// spread each endpoint's turns, by the golden ratio. Equal weights give plain turns.
class RoundRobin final : public Balancer {
 public:
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override {
    // Not every worker of every proxy begins with the same one.
    if (!turn_) turn_ = context.random.below(usable.size());
    uint64_t total = 0;
    bool equal = true;
    for (const Endpoint* endpoint : usable) {
      total += weight_of(endpoint);
      equal = equal && weight_of(endpoint) == weight_of(usable.front());
    }
    if (equal) return *usable[(*turn_)++ % usable.size()];
    constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio
    const uint64_t spread = kGolden * (*turn_)++;
    uint64_t place = static_cast<uint64_t>((static_cast<unsigned __int128>(spread) * total) >> 64);
    return *at_weight(usable, place, weight_of);
  }

 private:
  std::optional<uint64_t> turn_;  // Unset before the first.
};

class RandomChoice final : public Balancer {
 public:
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override {
    uint64_t total = 0;
    for (const Endpoint* endpoint : usable) total += weight_of(endpoint);
    return *at_weight(usable, context.random.below(total), weight_of);
  }
};

// The power of two (or more) choices: the least loaded, by requests per weight, of a few drawn at
// random.
class LeastRequest final : public Balancer {
 public:
  explicit LeastRequest(uint32_t choices) : choices_(choices) {}
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override {
    Random& random = context.random;
    Endpoint* best = usable[random.below(usable.size())];
    for (uint32_t i = 1; i < choices_; ++i) {
      Endpoint* other = usable[random.below(usable.size())];
      if (load(*other, *best) < load(*best, *other)) best = other;
    }
    return *best;
  }

 private:
  // Compares (active + 1) / weight without a division.
  static uint64_t load(const Endpoint& a, const Endpoint& b) {
    return (static_cast<uint64_t>(a.active()) + 1) * b.config().weight;
  }
  uint32_t choices_;
};

std::unique_ptr<Balancer> model_balancer(const ModelBalancing& config) {
  switch (config.picker) {
    case ModelBalancing::Picker::kComposed:
    case ModelBalancing::Picker::kPrefixAffinity:
    case ModelBalancing::Picker::kAdapterAffinity:
    case ModelBalancing::Picker::kSessionAffinity: return std::make_unique<ModelBalancer>(config);
    case ModelBalancing::Picker::kLeastLoadedOfTwo: return std::make_unique<LeastLoaded>(config);
    case ModelBalancing::Picker::kHotCold: return std::make_unique<HotCold>(config);
  }
  CHECK(!"unknown picker");
}

}  // namespace

std::unique_ptr<Balancer> Balancer::create(const Balancing& balancing) {
  switch (balancing.policy) {
    case Balancing::Policy::kRoundRobin: return std::make_unique<RoundRobin>();
    case Balancing::Policy::kRandom: return std::make_unique<RandomChoice>();
    case Balancing::Policy::kLeastRequest:
      return std::make_unique<LeastRequest>(std::max(2u, balancing.choices));
    case Balancing::Policy::kWeightedByReports:
      return std::make_unique<WeightedByReports>(balancing.weights);
    case Balancing::Policy::kModel: return model_balancer(balancing.model);
  }
  CHECK(!"unknown balancing");
}

}  // namespace glia
