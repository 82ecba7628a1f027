#include "proxy/admission/learned_limit.h"

#include <algorithm>
#include <cmath>

namespace glia {

uint32_t LearnedLimit::value() const {
  const double limit = looking_ > 0 ? limit_ * kLowered : limit_;
  return std::clamp<uint32_t>(static_cast<uint32_t>(std::lround(limit)), 1, most_);
}

void LearnedLimit::most(uint32_t most) {
  most_ = most;
  limit_ = std::min<double>(limit_, most);
}

void LearnedLimit::ended(Duration took, uint32_t in_flight, std::optional<Duration> patience) {
  if (patience) {
    const double seconds = to_seconds(*patience);
    patience_ += patience_ > 0 ? (seconds - patience_) / kPatienceMemory : seconds;
  }
  if (stale_ > 0) {
    --stale_;
    return;
  }
  if (10 * in_flight >= 9 * value()) ++full_;
  sum_ += to_seconds(took);
  // At least as many as are at work at once: those that end first are the short ones.
  if (++count_ < std::max(kWindow, value())) return;
  const double mean = sum_ / count_;
  const bool full = 4 * full_ >= 3 * count_;
  count_ = full_ = 0;
  sum_ = 0;
  if (looking_ > 0) return look_over(mean);
  if (!shortest_) shortest_ = mean;
  // Shorter than ever, mostly by chance.
  if (mean < *shortest_) *shortest_ += (mean - *shortest_) / kShorter;
  // Low enough that none can wait inside: it is the application that has become slower.
  if (limit_ <= kLowered * found_at_) {
    shortest_ = mean;
    found_at_ = limit_;
  }
  // While requests do not come up to the limit, nothing is learned of it.
  if (full) follow(mean);
}

void LearnedLimit::look_over(double mean) {
  looked_ += mean;
  if (--looking_ > 0) return;
  shortest_ = looked_ / kLookFor;
  looked_ = 0;
  found_at_ = limit_;
  windows_ = 0;
  stale_ = value();
}

void LearnedLimit::follow(double mean) {
  const double grows =
      patience_ > 0 && mean > 0 ? std::clamp(kPatience * patience_ / mean, 1.0, kRoom) : kRoom;
  const double change = mean > 0 ? std::clamp(kRoom * *shortest_ / mean, kFall, grows) : grows;
  double next = limit_ * change;
  // Small limits must be able to move at all.
  if (std::abs(next - limit_) < 1) {
    next = limit_ + (change > 1.05 ? 1 : change < 0.95 ? -1 : 0);
  }
  limit_ = std::clamp<double>(next, 1, most_);
  if (++windows_ < kLookEvery) return;
  stale_ = value();
  looking_ = kLookFor;
}

}  // namespace glia
