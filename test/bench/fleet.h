// Fleet: closed-loop clients of one proxy. Each lane sends its next request when the answer to its
// last one is complete; a connection carries one lane (HTTP/1.1) or several (HTTP/2).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/net/loop.h"
#include "proxy/net/tls.h"

namespace glia {

struct FleetPlan {
  Address address;
  Codec codec = Codec::kHttp1;
  std::shared_ptr<const TlsContext> tls;  // Null: clear text.
  uint64_t connections = 1;
  uint64_t streams = 1;     // Lanes of a connection.
  uint64_t body_bytes = 0;  // An answer of any other length is an error.
};

// What a batch of requests came to. Everything that was asked for is in `answered` or `errors`.
struct FleetReport {
  uint64_t asked = 0, answered = 0, errors = 0;
  std::string first_error;
  double seconds = 0;
  double p50_us = 0, p99_us = 0;  // Of those that were answered.
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
  // A batch (or connecting) that takes longer is given up, and what was not answered is an error.
  static constexpr Duration kPatience = 120s;

  // Begins to connect. Destroyed from the top of the loop, and not inside its owner's callback.
  Fleet(EventLoop& loop, Network& network, FleetPlan plan, Owner& owner);
  Fleet(const Fleet&) = delete;
  ~Fleet();

  // Sends `count` requests over all lanes, as fast as answers come. One batch at a time.
  void send(uint64_t count);
  bool busy() const { return busy_; }

 private:
  class Link;
  class Lane;
  // The next request of the batch is the caller's.
  bool take();
  void answered(Duration latency);
  void failed(const std::string& sentence);
  void link_opened();
  void link_broken(const std::string& sentence);
  void lane_parked();
  void give_up();
  void settle();

  EventLoop& loop_;
  const FleetPlan plan_;
  Owner& owner_;
  ClientOptions options_;
  HttpClientStats stats_;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // Destroyed before the links.
  uint64_t opened_ = 0;
  std::size_t parked_ = 0;
  uint64_t begun_ = 0;
  FleetReport report_;
  std::string broken_;  // Why a connection was lost; "" if none was.
  std::vector<Duration> latencies_;
  TimePoint started_;
  bool connecting_ = true;
  bool busy_ = false;
  CallbackTimer settled_;  // Fires at the top of the loop to tell the owner.
  CallbackTimer patience_;
};

}  // namespace glia
