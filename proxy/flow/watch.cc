#include "proxy/flow/watch.h"

#include <algorithm>
#include <utility>

namespace glia {

void Watch::begin(const WatchLimits& limits, bool request_ended) {
  limits_ = limits;
  idle_at_ = loop_.now() + limits_.idle;
  sample_at_ = loop_.now() + limits_.rate.window;
  stall_at_ = loop_.now() + limits_.stall;
  if (request_ended) return this->request_ended();
  if (limits_.request > 0s && !request_by_) request_by_ = loop_.now() + limits_.request;
  if (limits_.response > 0s) response_by_ = waiting_until_ = loop_.now() + limits_.response;
  restart();
}

// When the response is due, if the time for it counts anew now.
TimePoint Watch::response_due() {
  const TimePoint now = loop_.now();
  const bool waited_for = std::exchange(client_owes_, false);
  if (!taken_) {
    taken_ = now;
    if (waited_for || !response_by_) waiting_until_ = now + limits_.response;
  }
  return now - *taken_ <= kAtOnce ? waiting_until_ : now + limits_.response;
}

void Watch::request_ended() {
  request_by_.reset();
  request_ended_at_ = loop_.now();
  if (limits_.response > 0s) response_by_ = response_due();
  if (rang_ == Rang::kNotYet) restart();
}

void Watch::answering() {
  request_by_.reset();
  answering_ = true;
}

void Watch::upstreams_turn() {
  if (limits_.response == 0s || rang_ != Rang::kNotYet) {
    client_owes_ = false;
    return;
  }
  response_by_ = response_due();
  if (armed_ > *response_by_) restart();
}

void Watch::clients_turn() {
  client_owes_ = true;
  response_by_.reset();
}

void Watch::restart() {
  TimePoint at = TimePoint::max();
  if (limits_.idle > 0s) at = idle_at_;
  if (limits_.stall > 0s) at = std::min(at, stall_at_);
  if (limits_.rate.bytes_per_second > 0) at = std::min(at, sample_at_);
  if (request_by_) at = std::min(at, *request_by_);
  if (response_by_) at = std::min(at, *response_by_);
  if (limits_.deadline) at = std::min(at, *limits_.deadline);
  armed_ = at;
  if (at != TimePoint::max()) start(at - loop_.now());
}

void Watch::ring_as(Rang rang) {
  rang_ = rang;
  ring();
}

void Watch::fire() {
  if (rang_ != Rang::kNotYet) return ring();
  const Rang rang = due(loop_.now());
  if (rang != Rang::kNotYet) return ring_as(rang);
  restart();
}

Watch::Rang Watch::due(TimePoint now) {
  if (limits_.deadline && now >= *limits_.deadline) return Rang::kDeadline;
  if (response_by_ && now >= *response_by_) return Rang::kResponse;
  if (request_by_ && now >= *request_by_) return Rang::kRequest;
  if (stands_still(now)) return Rang::kIdle;
  if (takes_nothing(now)) return Rang::kStalledReader;
  return too_slow(now);
}

// Counted in whole windows: after one to two.
bool Watch::takes_nothing(TimePoint now) {
  if (limits_.stall == 0s || now < stall_at_) return false;
  const Sample before = stall_;
  stall_ = {.taken = stream_.response_bytes(), .holds = client_holds_};
  stall_at_ = now + limits_.stall;
  return before.holds && stall_.holds && stall_.taken == before.taken;
}

bool Watch::stands_still(TimePoint now) {
  if (limits_.idle == 0s || now < idle_at_) return false;
  const uint64_t moved = stream_.request_bytes() + stream_.response_bytes();
  if (moved == moved_) return true;
  moved_ = moved;
  idle_at_ = now + limits_.idle;
  return false;
}

// Only a client that was waited for at both ends of a window, and moved too little in between, is
// slow: one that waits for us, or for the upstream, is not.
Watch::Rang Watch::too_slow(TimePoint now) {
  if (limits_.rate.bytes_per_second == 0 || now < sample_at_) return Rang::kNotYet;
  const Sample before = sample_;
  sample_ = {.sent = stream_.request_bytes(),
             .taken = stream_.response_bytes(),
             .owes = client_owes_ && !answering_,
             .holds = client_holds_};
  sample_at_ = now + limits_.rate.window;
  const uint64_t least = limits_.rate.in_a_window();
  if (before.owes && sample_.owes && sample_.sent - before.sent < least) return Rang::kSlowSender;
  if (before.holds && sample_.holds && sample_.taken - before.taken < least) {
    return Rang::kSlowReader;
  }
  return Rang::kNotYet;
}

}  // namespace glia
