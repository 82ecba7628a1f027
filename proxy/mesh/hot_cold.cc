#include "proxy/mesh/hot_cold.h"

#include <algorithm>
#include <array>

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
  ++chosen->endpoint->load().picked;
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
