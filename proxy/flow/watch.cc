#include "proxy/flow/watch.h"

#include <algorithm>

namespace glia {

void Watch::begin(const WatchLimits& limits, bool request_ended) {
  limits_ = limits;
  idle_at_ = loop_.now() + limits_.idle;
  if (request_ended) return this->request_ended();
  if (limits_.request > 0s) request_by_ = loop_.now() + limits_.request;
  if (limits_.response > 0s) deadline_ = loop_.now() + limits_.response;
  restart();
}

void Watch::request_ended() {
  request_by_.reset();
  request_over_ = true;
  if (limits_.response > 0s) deadline_ = loop_.now() + limits_.response;
  restart();
}

void Watch::upstreams_turn() {
  if (limits_.response == 0s) return;
  deadline_ = loop_.now() + limits_.response;
  if (armed_ > *deadline_) restart();
}

void Watch::restart() {
  TimePoint at = TimePoint::max();
  if (limits_.idle > 0s) at = idle_at_;
  if (request_by_) at = std::min(at, *request_by_);
  if (deadline_) at = std::min(at, *deadline_);
  armed_ = at;
  if (at != TimePoint::max()) start(at - loop_.now());
}

void Watch::ring_as(Rang rang) {
  rang_ = rang;
  ring();
}

void Watch::fire() {
  const TimePoint now = loop_.now();
  if (deadline_ && now >= *deadline_) return ring_as(Rang::kResponse);
  if (request_by_ && now >= *request_by_) return ring_as(Rang::kRequest);
  if (limits_.idle > 0s && now >= idle_at_) {
    const uint64_t moved = stream_.request_bytes() + stream_.response_bytes();
    if (moved == moved_) return ring_as(Rang::kIdle);
    moved_ = moved;
    idle_at_ = now + limits_.idle;
  }
  restart();
}

}  // namespace glia
