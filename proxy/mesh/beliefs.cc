#include "proxy/mesh/beliefs.h"

#include <algorithm>
#include <cmath>

namespace glia {
namespace {

// Latencies differ by chance: an endpoint is not called slower or faster for less than this (natural
// logarithm), nor for more than a factor of kMostSpeed.
constexpr float kDoubt = 0.3f;
constexpr float kMostSpeed = 8;
constexpr float kUnknown = 1e9f;  // As log drain.
// What stands for a report that is not believed any more: half of it the mean, half what it said, if
// that was less. Who was full may be so no longer, and who was never heard counts for half of the mean:
// it is tried, and then heard, before those that are known become much fuller.
float in_doubt(float said, float mean) { return (mean + std::min(said, mean)) / 2; }

float speed_of(float log_drain, float mean) {
  if (log_drain == kUnknown) return 1;
  const float difference = log_drain - mean;
  const float beyond = std::abs(difference) - kDoubt;
  if (beyond <= 0) return 1;
  return std::clamp(std::exp(difference > 0 ? beyond : -beyond), 1 / kMostSpeed, kMostSpeed);
}

}  // namespace

Beliefs::Beliefs(std::span<Endpoint* const> usable, std::size_t most, Random& random, TimePoint now,
                 Duration half_life) {
  const std::size_t count = std::min({usable.size(), most, kMost});
  // A random beginning also decides between equals.
  std::size_t at = random.below(usable.size());
  const float rate = rate_of(half_life);
  for (std::size_t i = 0; i < count; ++i) {
    take(*usable[at], now, rate);
    if (++at == usable.size()) at = 0;
  }
  complete();
}

void Beliefs::take(Endpoint& endpoint, TimePoint now, float rate) {
  const EndpointLoad& load = endpoint.load();
  One& one = all_[size_++];
  one.endpoint = &endpoint;
  one.confidence = 0;
  one.load = one.reading = 0;  // Of others, until complete().
  if (const auto others = load.others()) {
    one.confidence = load.confidence(now, rate);
    one.load = *others;
    one.reading = load.others_reading();
    others_ += one.confidence * *others;
    reading_ += one.confidence * one.reading;
    believed_ += one.confidence;
  }
  one.speed = kUnknown;
  if (const auto drain = load.log_drain()) {
    one.speed = static_cast<float>(*drain);
    log_drain_ += one.speed;
    ++drains_;
  }
}

void Beliefs::complete() {
  const float others = believed_ > 0 ? others_ / believed_ : 0;
  const float reading = believed_ > 0 ? reading_ / believed_ : 0;
  const float drain = drains_ > 0 ? log_drain_ / drains_ : 0;
  float sum = 0;
  for (One& one : std::span(all_.data(), size_)) {
    one.load = one.confidence * one.load + (1 - one.confidence) * in_doubt(one.load, others) +
               static_cast<float>(one.endpoint->active());
    one.reading = one.confidence * one.reading +
                  (1 - one.confidence) * in_doubt(one.reading, reading) +
                  one.endpoint->load().reading();
    one.speed = speed_of(one.speed, drain);
    one.endpoint->load().estimate = one.load;
    one.endpoint->load().work = one.load + 1;
    sum += one.load;
  }
  mean_load_ = sum / static_cast<float>(size_);
}

}  // namespace glia
