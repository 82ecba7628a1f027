#include "proxy/flow/watch.h"

#include <algorithm>

namespace glia {

void Watch::begin(const WatchLimits& limits, bool request_ended) {
  limits_ = limits;
  idle_at_ = loop_.now() + limits_.idle;
  if (request_ended) return this->request_ended();
  restart();
}

void Watch::request_ended() {
  if (limits_.response > 0s) deadline_ = loop_.now() + limits_.response;
  restart();
}

void Watch::restart() {
  TimePoint at = TimePoint::max();
  if (limits_.idle > 0s) at = idle_at_;
  if (deadline_) at = std::min(at, *deadline_);
  if (at != TimePoint::max()) start(at - loop_.now());
}

void Watch::fire() {
  const TimePoint now = loop_.now();
  if (deadline_ && now >= *deadline_) {
    rang_ = Rang::kResponse;
    return ring();
  }
  const uint64_t moved = stream_.request_bytes() + stream_.response_bytes();
  if (moved == moved_ && now >= idle_at_) {
    rang_ = Rang::kIdle;
    return ring();
  }
  moved_ = moved;
  idle_at_ = now + limits_.idle;
  restart();
}

}  // namespace glia
