// Watchdog: finds out that a worker's loop does not turn any more, and says so.
//
// A worker that is stuck (a defect, or a machine that gives it no time) holds its own connections and
// nobody else's; without a word about it that looks like a slow upstream.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "proxy/net/loop.h"

namespace glia {

class Watchdog final : private Timer {
 public:
  // `ask(i)` has worker i answer with heard(i), on the thread of `main`, when its loop next turns.
  Watchdog(EventLoop& main, uint32_t workers, std::function<void(uint32_t)> ask);

  void heard(uint32_t worker);
  // How often a worker was found stuck.
  uint64_t misses() const { return misses_; }

  // How often workers are asked; one that has not answered by the next time is stuck.
  static constexpr Duration kLook = 1s;

 private:
  struct Watched {
    TimePoint asked;
    bool waiting = false;  // It has not answered yet.
    bool stuck = false;
  };

  void fire() override;
  void look_at(uint32_t worker, TimePoint now);

  const std::function<void(uint32_t)> ask_;
  std::vector<Watched> workers_;
  TimePoint looked_at_;
  uint64_t misses_ = 0;
};

}  // namespace glia
