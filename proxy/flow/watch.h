// Watch: tells an exchange that its route's time ran out, that its request was not all there in time,
// or that nothing moved for too long.
//
// One timer serves all: it is set to the nearest moment and looks at the counts of bytes when it
// fires, so that moving bytes costs nothing.
#pragma once

#include <optional>

#include "proxy/flow/deadline.h"
#include "proxy/http/server.h"

namespace glia {

struct WatchLimits {
  Duration request{0};  // From the head of the request to its end, or to the answer; 0: none.
  // From the end of the request to the end of the response, and before that from each piece of the
  // request to the moment when the next is asked for: an upstream that cannot be reached, or takes
  // nothing, never sees the end of a large request. 0: none.
  Duration response{0};
  Duration idle{0};  // Without a byte of body in either direction; 0: none.
};

class Watch final : public Alarm {
 public:
  enum class Rang : uint8_t { kNotYet, kRequest, kResponse, kIdle };
  // Told when the alarm rings while no until() is in progress: the head is on its way already.
  class Owner {
   public:
    virtual void on_late(Rang rang) = 0;

   protected:
    ~Owner() = default;
  };

  Watch(ServerStream& stream, Owner& owner)
      : Alarm(stream.loop()), stream_(stream), owner_(owner) {}
  // The request's body, if it has one, is still on its way.
  void begin(const WatchLimits& limits, bool request_ended);
  // The response's time counts from here.
  void request_ended();
  // A piece of the request is on its way up: the response's time counts, anew, ...
  void upstreams_turn();
  // ... but not while all that waits for the next piece.
  void clients_turn() { deadline_.reset(); }
  // The answer begins: from here on the request may take its time.
  void answering() { request_by_.reset(); }
  Rang rang() const { return rang_; }
  bool request_over() const { return request_over_; }
  const WatchLimits& limits() const { return limits_; }

 private:
  void restart();
  void ring_as(Rang rang);
  void fire() override;
  void rung_late() override { owner_.on_late(rang_); }

  ServerStream& stream_;
  Owner& owner_;
  WatchLimits limits_;
  TimePoint idle_at_;
  std::optional<TimePoint> request_by_;
  std::optional<TimePoint> deadline_;
  TimePoint armed_ = TimePoint::max();  // What the timer is set to; it may be earlier than needed.
  uint64_t moved_ = 0;
  Rang rang_ = Rang::kNotYet;
  bool request_over_ = false;
};

}  // namespace glia
