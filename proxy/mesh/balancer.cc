#include "proxy/mesh/balancer.h"

#include <algorithm>
#include <optional>

namespace glia {
namespace {

// Smooth weighted round robin without state per endpoint: a walk over the weights in steps that
// spread each endpoint's turns, by the golden ratio. Equal weights give plain turns.
class RoundRobin final : public Balancer {
 public:
  Endpoint& pick(std::span<Endpoint* const> usable, Random& random) override {
    // Not every worker of every proxy begins with the same one.
    if (!turn_) turn_ = random.below(usable.size());
    uint64_t total = 0;
    bool equal = true;
    for (const Endpoint* endpoint : usable) {
      total += endpoint->config().weight;
      equal = equal && endpoint->config().weight == usable.front()->config().weight;
    }
    if (equal) return *usable[(*turn_)++ % usable.size()];
    constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio
    const uint64_t spread = kGolden * (*turn_)++;
    uint64_t place = static_cast<uint64_t>((static_cast<unsigned __int128>(spread) * total) >> 64);
    for (Endpoint* endpoint : usable) {
      if (place < endpoint->config().weight) return *endpoint;
      place -= endpoint->config().weight;
    }
    return *usable.back();
  }

 private:
  std::optional<uint64_t> turn_;  // Unset before the first.
};

Endpoint& weighted_random(std::span<Endpoint* const> usable, Random& random) {
  uint64_t total = 0;
  for (const Endpoint* endpoint : usable) total += endpoint->config().weight;
  uint64_t place = random.below(total);
  for (Endpoint* endpoint : usable) {
    if (place < endpoint->config().weight) return *endpoint;
    place -= endpoint->config().weight;
  }
  return *usable.back();
}

class RandomChoice final : public Balancer {
 public:
  Endpoint& pick(std::span<Endpoint* const> usable, Random& random) override {
    return weighted_random(usable, random);
  }
};

// The power of two (or more) choices: the least loaded, by requests per weight, of a few drawn at
// random.
class LeastRequest final : public Balancer {
 public:
  explicit LeastRequest(uint32_t choices) : choices_(choices) {}
  Endpoint& pick(std::span<Endpoint* const> usable, Random& random) override {
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

}  // namespace

std::unique_ptr<Balancer> Balancer::create(const ClusterConfig& config) {
  switch (config.balancing) {
    case ClusterConfig::Balancing::kRoundRobin: return std::make_unique<RoundRobin>();
    case ClusterConfig::Balancing::kRandom: return std::make_unique<RandomChoice>();
    case ClusterConfig::Balancing::kLeastRequest:
      return std::make_unique<LeastRequest>(std::max(2u, config.least_request_choices));
  }
  CHECK(!"unknown balancing");
}

}  // namespace glia
