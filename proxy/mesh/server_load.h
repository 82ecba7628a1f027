// ServerLoad: what the sidecar of a model server knows of the load of its own application: what it has
// let in itself, exact to the request, and what the engine says on its metrics page.
//
// One a process and application: all workers write into it and tell callers from it (flow/router.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "proxy/base/shared.h"
#include "proxy/model/engine_metrics.h"
#include "proxy/model/server_report.h"
#include "proxy/net/address.h"

namespace glia {

// glia.v1.ModelServer: the application behind a cluster is a model server.
struct ModelServerConfig {
  Engine engine = Engine::kVllm;
  Address metrics;   // Where its metrics page is.
  std::string path;  // ... begins with '/'.
  Duration interval = 500ms;
  Duration timeout = 2s;
  friend bool operator==(const ModelServerConfig&, const ModelServerConfig&) = default;
};

class ServerLoad {
 public:
  struct Seen {
    EngineSample sample;
    double rps = 0;        // Answers a second since the scrape before.
    double slots = 0;      // Requests that ran at once while others waited; 0: not seen yet.
    double in_flight = 0;  // When the engine was asked.
    TimePoint at;
  };

  // A request is let in; returns how many there are now.
  uint32_t begin() const { return static_cast<uint32_t>(in_flight_.add(1)); }
  void end() const {
    in_flight_.add(-1);
    ended_.add(1);
  }
  // So many more requests wait for it in this process, before they are let in.
  void waits(int64_t more) const { waiting_.add(more); }
  // So many tokens of prompts more, or less, are let in and not read yet.
  void reads(int64_t tokens) const { reading_.add(tokens); }
  int64_t reading() const { return reading_.value(); }
  // Its answer began to come after `latency`; `with` is what begin() said.
  void answered(uint32_t with, Duration latency) const;

  // What callers are told.
  ServerReport report(TimePoint now) const;

  int64_t in_flight() const { return in_flight_.value(); }
  int64_t ended() const { return ended_.value(); }

  // For whoever asks the engine (engine_scraper.h).
  const SharedTurn& turn() const { return turn_; }
  void seen(Seen seen) const { seen_.put(std::make_shared<const Seen>(std::move(seen))); }
  std::shared_ptr<const Seen> last_seen() const { return seen_.get(); }
  const SharedCount& scrapes() const { return scrapes_; }
  const SharedCount& failures() const { return failures_; }

  // What the engine said is no longer told when it is older than this.
  static constexpr Duration kOldest = 10s;
  // Latencies that are kept, and how many with near as many in flight make a typical one.
  static constexpr std::size_t kLatencies = 64;
  static constexpr std::size_t kTypicalOf = 16;

 private:
  Duration typical_latency(int64_t in_flight) const;

  SharedCount in_flight_, reading_, waiting_, ended_, scrapes_, failures_;
  SharedSamples<kLatencies> latencies_;  // In flight << 48 | latency in us.
  SharedLatest<Seen> seen_;
  SharedTurn turn_;
};

}  // namespace glia
