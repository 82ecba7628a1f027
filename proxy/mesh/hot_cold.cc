#include "proxy/mesh/hot_cold.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "proxy/base/text.h"
#include "proxy/mesh/beliefs.h"

namespace glia {
namespace {

// In seconds; nothing if neither it nor we know.
std::optional<float> latency_of(const EndpointLoad& load) {
  if (load.last().latency) return static_cast<float>(to_seconds(*load.last().latency));
  if (load.latency()) return static_cast<float>(to_seconds(*load.latency()));
  return {};
}

// Among those that `may` be taken, the lowest by `value`; the pool begins at a random place, so the
// first of equals is any.
template <class May, class Value>
const Beliefs::One* lowest(std::span<const Beliefs::One> pool, May may, Value value) {
  const Beliefs::One* best = nullptr;
  for (const Beliefs::One& one : pool) {
    if (may(one) && (best == nullptr || value(one) < value(*best))) best = &one;
  }
  return best;
}

}  // namespace

Endpoint& HotCold::pick(std::span<Endpoint* const> usable, const PickContext& context) {
  to_probe_.clear();
  Endpoint* chosen = nullptr;
  if (config_.probes > 0) {
    take_out(usable.size(), context.now);
    // One that cannot be probed has its part of the requests by what else is known.
    const bool mute = usable[context.random.below(usable.size())]->load().ignores_probes;
    if (pool_.size() >= kLeastPool && !mute) chosen = pick_probed(usable, context.now);
    draw(usable, context.random);
  }
  if (chosen == nullptr) chosen = &pick_known(usable, context);
  ++chosen->load().picked;
  return *chosen;
}

int HotCold::uses(std::size_t endpoints) const {
  if (endpoints == 0) return 1;
  const double share = static_cast<double>(room(endpoints)) / static_cast<double>(endpoints);
  const double spare = (1 - share) * config_.probes - config_.probes / 4;
  return std::clamp(static_cast<int>(std::lround(2 / std::max(spare, 0.1))), 1, 16);
}

std::size_t HotCold::room(std::size_t endpoints) {
  return std::clamp(endpoints / 2, kLeastPool, kPool);
}

void HotCold::removed(Endpoint& endpoint) {
  std::erase_if(pool_, [&](const Probe& probe) { return probe.endpoint == &endpoint; });
  std::erase(to_probe_, &endpoint);
}

void HotCold::probed(Endpoint& endpoint, const ServerReport& report, TimePoint now) {
  if (!report.in_flight) return;
  // One an endpoint: the newer knows better.
  std::erase_if(pool_, [&](const Probe& probe) { return probe.endpoint == &endpoint; });
  if (pool_.size() >= kPool) pool_.erase(pool_.begin());
  const float latency = report.latency ? static_cast<float>(to_seconds(*report.latency)) : -1;
  pool_.push_back({&endpoint, *report.in_flight, latency, now});
  if (recent_.size() < kRecent) return recent_.push_back(*report.in_flight);
  recent_[next_recent_++ % kRecent] = *report.in_flight;
}

float HotCold::hot_limit() const {
  std::array<float, kRecent> sorted;
  std::ranges::copy(recent_, sorted.begin());
  const auto rank =
      static_cast<std::ptrdiff_t>(config_.hot_quantile * static_cast<double>(recent_.size() - 1));
  std::nth_element(sorted.begin(), sorted.begin() + rank,
                   sorted.begin() + static_cast<std::ptrdiff_t>(recent_.size()));
  return sorted[static_cast<std::size_t>(rank)];
}

void HotCold::take_out(std::size_t endpoints, TimePoint now) {
  const int most = uses(endpoints);
  std::erase_if(pool_, [&](const Probe& probe) {
    return now - probe.at > config_.probe_age || probe.used >= most;
  });
  while (pool_.size() > room(endpoints)) pool_.erase(pool_.begin());
  for (out_ += config_.probes / 4; out_ >= 1; --out_) {
    if (pool_.size() <= kLeastPool) continue;
    if (std::exchange(oldest_next_, !oldest_next_)) {
      pool_.erase(pool_.begin());
    } else {
      take_out_worst();
    }
  }
}

// The fullest of the hot; if there is none, the slowest.
void HotCold::take_out_worst() {
  const float limit = hot_limit();
  const auto worse = [&](const Probe& a, const Probe& b) {
    const bool hot_a = a.in_flight > limit, hot_b = b.in_flight > limit;
    if (hot_a != hot_b) return hot_b;
    return hot_a ? a.in_flight < b.in_flight : a.latency < b.latency;
  };
  pool_.erase(std::ranges::max_element(pool_, worse));
}

Endpoint* HotCold::pick_probed(std::span<Endpoint* const> usable, TimePoint now) {
  const float limit = hot_limit();
  Probe* best = nullptr;
  bool best_hot = true;
  for (Probe& probe : pool_) {
    // A failing server answers fast and is never busy.
    const bool hot = probe.in_flight > limit || probe.endpoint->load().failures(now) >= 0.5;
    const bool better = best == nullptr || (hot != best_hot ? best_hot
                                            : hot           ? probe.in_flight < best->in_flight
                                                            : probe.latency < best->latency);
    probe.endpoint->load().score = probe.latency;
    if (!better || std::ranges::find(usable, probe.endpoint) == usable.end()) continue;
    best = &probe;
    best_hot = hot;
  }
  if (best == nullptr) return nullptr;
  ++best->used;
  ++best->in_flight;  // Until it is asked again.
  return best->endpoint;
}

void HotCold::draw(std::span<Endpoint* const> usable, Random& random) {
  due_ = std::min(due_ + config_.probes, static_cast<double>(kMostProbes));
  const std::size_t least = std::min(usable.size(), static_cast<std::size_t>(due_));
  due_ -= std::floor(due_);
  while (to_probe_.size() < least) {
    Endpoint* const drawn = usable[random.below(usable.size())];
    if (std::ranges::find(to_probe_, drawn) == to_probe_.end()) to_probe_.push_back(drawn);
  }
}

Endpoint& HotCold::pick_known(std::span<Endpoint* const> usable, const PickContext& context) {
  const Beliefs beliefs(usable, kPool, context.random, context.now, config_.half_life);
  const auto pool = beliefs.all();
  std::array<float, kPool> loads;
  float known = 0, sum = 0;
  for (std::size_t i = 0; i < pool.size(); ++i) {
    loads[i] = pool[i].load;
    const auto latency = latency_of(pool[i].endpoint->load());
    if (latency) sum += *latency, ++known;
  }
  const float mean = known > 0 ? sum / known : 0;
  const auto rank =
      static_cast<std::size_t>(config_.hot_quantile * static_cast<double>(pool.size() - 1));
  const auto at = loads.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(loads.begin(), at, loads.begin() + static_cast<std::ptrdiff_t>(pool.size()));
  const float limit = *at;
  // A failing server answers fast and is never busy.
  const auto cold = [&](const Beliefs::One& one) {
    return one.load <= limit && one.endpoint->load().failures(context.now) < 0.5;
  };
  const auto latency = [&](const Beliefs::One& one) {
    return latency_of(one.endpoint->load()).value_or(mean);
  };
  for (const Beliefs::One& one : pool) one.endpoint->load().score = latency(one);
  const Beliefs::One* chosen = lowest(pool, cold, latency);
  if (chosen == nullptr) {
    chosen = lowest(
        pool, [](const Beliefs::One&) { return true; },
        [](const Beliefs::One& one) { return one.load; });
  }
  return *chosen->endpoint;
}

std::string HotCold::why(const Endpoint& endpoint, TimePoint now) const {
  const EndpointLoad& load = endpoint.load();
  const auto latency = latency_of(load);
  std::string text = cat(static_cast<int64_t>(load.estimate), " in flight");
  text += latency ? cat(", latency ", static_cast<int64_t>(*latency * 1000), " ms")
                  : ", latency not known";
  return load.heard() ? text + cat(", reported ", to_ms(now - load.heard_at()), " ms ago")
                      : text + ", never reported";
}

}  // namespace glia
