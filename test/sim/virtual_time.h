// VirtualTime: the backend of a loop in which nothing takes time but waiting, and waiting is free.
//
// wait() moves the clock to where the loop wanted to be woken. Nothing else moves it, so a test of
// an hour's timers takes milliseconds and is the same every time.
#pragma once

#include "proxy/net/loop.h"

namespace glia {

class VirtualTime final : public LoopBackend {
 public:
  void wait(Duration timeout) override {
    // Without a timer, and with nobody ready, nothing would ever happen again: a test that hangs.
    CHECK(timeout >= Duration(0));
    clock_.passed += timeout;
  }
  void dispatch() override {}
  // Posting happens on the simulation's only thread, and the loop looks at it before each wait.
  void wake() override {}
  const Clock& clock() const override { return clock_; }

  Duration passed() const { return clock_.passed; }
  // Time in which nothing of the process ran, as after SIGSTOP.
  void skip(Duration by) { clock_.passed += by; }
  // Sets the calendar without moving any timer, as a person or NTP does.
  void shift_wall_clock(Duration by) { clock_.wall_shift += by; }

 private:
  class VirtualClock final : public Clock {
   public:
    TimePoint now() const override { return TimePoint(kStart) + passed; }
    WallTime wall_now() const override { return WallTime(kWallStart) + passed + wall_shift; }
    Duration passed{0};
    Duration wall_shift{0};

   private:
    // Neither clock begins at zero, so that a forgotten initialisation shows.
    static constexpr Duration kStart = 1000s;
    static constexpr Duration kWallStart = 1767225600s;  // 2026-01-01T00:00:00Z
  };

  VirtualClock clock_;
};

}  // namespace glia
