// SimWorld: a whole mesh on one thread, in virtual time, with faults drawn from a seed.
//
//   for_each_seed(100, [](SimWorld& world) {
//     Network& server = world.host("10.0.0.1");
//     Network& client = world.host("10.0.0.2");
//     ... listen, connect ...
//     ASSERT_TRUE(world.run_until([&] { return done; }, 30s));
//   });
//
// The same seed gives the same order of events to the nanosecond. A failure prints its seed; run that
// one alone with --test_env=GLIA_SIM_SEED=N.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "proxy/base/random.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "test/sim/network.h"
#include "test/sim/virtual_time.h"

namespace glia {

class SimWorld {
 public:
  explicit SimWorld(uint64_t seed, SimFaults faults = {});
  // What the scenario made is destroyed before; what it gave to the loop's reaper is destroyed here.
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  EventLoop& loop() { return loop_; }
  SimFabric& fabric() { return fabric_; }
  // For the test's own choices; a stream of its own, so that asking for one more number does not
  // change what the network does.
  Random& random() { return random_; }
  uint64_t seed() const { return seed_; }
  Duration passed() const { return time_.passed(); }
  VirtualTime& time() { return time_; }

  // The network as the machine with this address sees it; made when first asked for.
  Network& host(const std::string& ip) { return fabric_.host(ip); }

  // Lets time pass until `done`; false if it is not within `limit` of virtual time.
  bool run_until(const std::function<bool()>& done, Duration limit);
  // Lets `time` pass.
  void run_for(Duration time);

  // A run that takes more turns than this without an end is caught in a loop.
  static constexpr int kMostTurns = 20'000'000;

 private:
  const uint64_t seed_;
  VirtualTime& time_;  // Owned by loop_.
  EventLoop loop_;
  Random random_;
  SimFabric fabric_;
};

// How many seeds to run: `usual`, ten times as many if GLIA_LONG is set, a tenth under a sanitizer.
int seeds(int usual);

// Runs `scenario` in `count` worlds, with seeds 1 to `count`, or only with GLIA_SIM_SEED if that is
// set. Stops at the first seed that fails, and names it.
void for_each_seed(int count, const std::function<void(SimWorld&)>& scenario,
                   const SimFaults& faults = {});

}  // namespace glia
