// Watch: tells an exchange that a time of its ran out: for the request to arrive, for the answer, for
// the whole exchange, without any movement, at less than the least rate, or while a client takes
// nothing at all.
//
// One timer serves all: it is set to the nearest moment and looks at the counts of bytes when it
// fires, so that moving bytes costs nothing.
#pragma once

#include <optional>

#include "proxy/flow/deadline.h"
#include "proxy/http/server.h"
#include "proxy/mesh/route.h"

namespace glia {

struct WatchLimits {
  Duration request{0};  // From the head of the request to its end, or to the answer; 0: none.
  // From the end of the request to the end of the response, and before that from each piece of the
  // request to the moment when the next is asked for: an upstream that cannot be reached, or takes
  // nothing, never sees the end of a large request. The wait for an upstream counts, too, if the
  // whole request goes up at once when there is one. 0: none.
  Duration response{0};
  Duration idle{0};                   // Without a byte of body in either direction; 0: none.
  std::optional<TimePoint> deadline;  // Of the whole exchange.
  // What a client must send of its request before the answer begins, and take of the answer.
  MinimumRate rate;
  // In which a client that is waited for must take something of the answer; 0: none.
  Duration stall{0};
};

class Watch final : public Alarm {
 public:
  enum class Rang : uint8_t {
    kNotYet,
    kRequest,
    kResponse,
    kIdle,
    kDeadline,
    kSlowSender,
    kSlowReader,
    kStalledReader
  };
  // Told when the alarm rings while no until() is in progress: the head is on its way already.
  class Owner {
   public:
    virtual void on_late(Rang rang) = 0;

   protected:
    ~Owner() = default;
  };

  Watch(ServerStream& stream, Owner& owner)
      : Alarm(stream.loop()), stream_(stream), owner_(owner) {}
  // Ends by `request_ended` whether the request's body, if it has one, is all there. Called again when
  // the route's limits are known, or only then; the time for the request goes on.
  void begin(const WatchLimits& limits, bool request_ended);
  // A client that is waited for takes something of the answer in so long, also in gRPC calls: else
  // 100 streams without a window would hold their upstreams for as long as they like (D14 of the
  // checklist of attacks).
  static constexpr Duration kTakesNothing = 30s;
  // What goes up within so long of the first piece lay here, in the socket or on its way already.
  static constexpr Duration kAtOnce = 100ms;
  // The response's time counts from here.
  void request_ended();
  // A piece of the request is on its way up: the response's time counts, anew, ...
  void upstreams_turn();
  // ... but not while all that waits for the next piece.
  void clients_turn();
  // The answer begins: from here on the request may take its time.
  void answering();
  // What the response's body said when it was last asked: one that gave data and is not asked again
  // waits for the client. So does one that has ended while the exchange has not, unless that is a
  // tunnel's and the other way goes on.
  void response_polled(Body::State state) {
    client_holds_ = state == Body::State::kData || (state == Body::State::kEnd && !tunnel_);
  }
  // It has rung, and the owner has said what there was to say: rings again after this time.
  void ring_again(Duration after) { start(after); }
  // The connection goes on with another protocol: only standing still, and the deadline, end it.
  void tunnel() {
    request_by_.reset();
    response_by_.reset();
    limits_.response = 0s;
    tunnel_ = true;
  }
  Rang rang() const { return rang_; }
  bool request_over() const { return request_ended_at_.has_value(); }
  std::optional<TimePoint> request_ended_at() const { return request_ended_at_; }
  const WatchLimits& limits() const { return limits_; }

 private:
  // What was seen at the beginning of a window of the least rate.
  struct Sample {
    uint64_t sent = 0, taken = 0;  // bytes of body, of the request and of the response
    bool owes = false, holds = false;
  };

  void restart();
  void ring_as(Rang rang);
  void fire() override;
  void rung_late() override { owner_.on_late(rang_); }
  Rang due(TimePoint now);
  TimePoint response_due();
  bool stands_still(TimePoint now);
  bool takes_nothing(TimePoint now);
  Rang too_slow(TimePoint now);

  ServerStream& stream_;
  Owner& owner_;
  WatchLimits limits_;
  TimePoint idle_at_;
  TimePoint sample_at_;
  TimePoint stall_at_;
  std::optional<TimePoint> request_by_;
  std::optional<TimePoint> response_by_;
  TimePoint waiting_until_;         // response_by_ while all of the request waits for an upstream.
  std::optional<TimePoint> taken_;  // When the first piece of the request went up.
  std::optional<TimePoint> request_ended_at_;
  TimePoint armed_ = TimePoint::max();  // What the timer is set to; it may be earlier than needed.
  uint64_t moved_ = 0;
  Sample sample_;
  Sample stall_;
  Rang rang_ = Rang::kNotYet;
  bool answering_ = false;
  bool tunnel_ = false;
  bool client_owes_ = false;   // The upstream waits for more of the request.
  bool client_holds_ = false;  // More of the response than may be queued waits for the client.
};

}  // namespace glia
