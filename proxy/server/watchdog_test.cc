#include "proxy/server/watchdog.h"

#include <gtest/gtest.h>

#include "test/sim/virtual_time.h"

namespace glia {
namespace {

class WatchdogTest : public testing::Test {
 protected:
  void pass(Duration time) {
    for (; time > 0s; time -= 10ms) main_.turn(10ms);
  }
  EventLoop main_{std::make_unique<VirtualTime>()};
  bool stuck_[2] = {};
  int asked_ = 0;
  Watchdog watchdog_{main_, 2, [this](uint32_t worker) {
                       ++asked_;
                       if (!stuck_[worker]) watchdog_.heard(worker);
                     }};
};

TEST_F(WatchdogTest, IsQuietWhileWorkersAnswer) {
  pass(60s);
  EXPECT_GE(asked_, 100);
  EXPECT_EQ(watchdog_.misses(), 0u);
}

TEST_F(WatchdogTest, CountsAWorkerOnceForEachTimeThatItIsStuck) {
  stuck_[1] = true;
  pass(2500ms);
  EXPECT_EQ(watchdog_.misses(), 1u);
  pass(60s);
  EXPECT_EQ(watchdog_.misses(), 1u);
  stuck_[1] = false;
  watchdog_.heard(1);
  pass(60s);
  EXPECT_EQ(watchdog_.misses(), 1u);
  stuck_[0] = stuck_[1] = true;
  pass(3s);
  EXPECT_EQ(watchdog_.misses(), 3u);
}

// As after SIGSTOP: the workers stood still, too.
TEST_F(WatchdogTest, BlamesNobodyForItsOwnPause) {
  pass(1500ms);
  stuck_[0] = stuck_[1] = true;
  pass(1s);
  static_cast<VirtualTime&>(main_.backend()).skip(10s);
  main_.turn(0s);
  EXPECT_EQ(watchdog_.misses(), 0u);
}

}  // namespace
}  // namespace glia
