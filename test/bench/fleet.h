// Fleet: clients of one proxy. A connection carries one lane (HTTP/1.1) or several (HTTP/2); a lane
// runs one errand at a time.
//
// Closed loop: each lane begins its next errand when the last one is complete, so the proxy is as
// busy as it can be. Open loop: errands are due at random moments of a fixed mean rate, whether or
// not lanes are free, and their time counts from the moment they were due (a slow proxy cannot slow
// down the questions that would show it).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/net/loop.h"
#include "proxy/net/tls.h"
#include "test/bench/errand.h"
#include "test/bench/pacer.h"

namespace glia {

struct FleetPlan {
  Address address;
  Codec codec = Codec::kHttp1;
  std::shared_ptr<const TlsContext> tls;  // Null: clear text.
  uint64_t connections = 1;
  uint64_t streams = 1;  // Lanes of a connection.
  Errand errand;
};

// What a batch of errands came to. Everything that was asked for is in `answered` or `errors`.
struct FleetReport {
  uint64_t asked = 0, answered = 0, errors = 0;
  std::string first_error;
  double seconds = 0;
  uint64_t samples = 0;
  double p50_us = 0, p99_us = 0;
};

class Fleet {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // All connections are open, or `error` says why not. Called once, from the top of the loop.
    virtual void on_connected(const Result<void>& outcome) = 0;
    // The batch is over. From the top of the loop.
    virtual void on_sent(const FleetReport& report) = 0;
  };
  // A batch that takes longer is given up, and what was not answered is an error.
  static constexpr Duration kPatience = 60s;
  // Until all connections are open; 10,000 handshakes take a slow proxy its time.
  static constexpr Duration kConnectPatience = 120s;
  // Connections that are opened at the same time, and lanes that are used at the same time where
  // each is used once.
  static constexpr std::size_t kAtOnce = 64;

  // Begins to connect. Destroyed from the top of the loop, and not inside its owner's callback.
  Fleet(EventLoop& loop, Network& network, FleetPlan plan, Owner& owner);
  Fleet(const Fleet&) = delete;
  ~Fleet();

  // One batch at a time: `count` errands as fast as answers come,
  void send(uint64_t count);
  // or at `rate` a second in the mean, at moments of a Poisson process with a fixed seed,
  void send_open(uint64_t count, double rate);
  // or one on each lane.
  void touch();
  bool busy() const { return mode_ != Mode::kNone; }

 private:
  class Link;
  class Lane;
  enum class Mode : uint8_t { kNone, kConnecting, kClosed, kOpen, kTouch };
  void open_links();
  void begin(Mode mode, uint64_t count);
  // The next errand of the batch is the lane's; when its time began.
  std::optional<TimePoint> take();
  void schedule();
  void give_out();
  void answered() { ++report_.answered; }
  void failed(const std::string& sentence);
  void link_opened();
  void link_broken(const std::string& sentence);
  void lane_parked(Lane& lane);
  void give_up();
  void settle();

  EventLoop& loop_;
  Network& network_;
  const FleetPlan plan_;
  Owner& owner_;
  ClientOptions options_;
  HttpClientStats stats_;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // Destroyed before the links.
  uint64_t opened_ = 0;
  Mode mode_ = Mode::kConnecting;
  std::size_t running_ = 0;  // Lanes that are not parked.
  uint64_t begun_ = 0;
  std::size_t next_lane_ = 0;  // Touch: who has not been used yet.
  std::deque<Lane*> idle_;     // Open loop: lanes with nothing to do, longest idle first.
  std::deque<TimePoint> due_;  // Open loop: errands that no lane was free for.
  uint64_t scheduled_ = 0;     // Open loop: errands that became due.
  TimePoint next_due_;
  std::mt19937_64 random_{2026};
  std::exponential_distribution<double> gap_;  // seconds
  FleetReport report_;
  std::string broken_;  // Why a connection was lost; "" if none was.
  std::vector<Duration> samples_;
  TimePoint started_;
  Pacer pacer_;
  CallbackTimer settled_;  // Fires at the top of the loop to tell the owner.
  CallbackTimer patience_;
};

}  // namespace glia
