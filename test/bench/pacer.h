// Pacer: calls back at moments of its owner's choice, to the microsecond. The loop's own timers wait
// in whole milliseconds, which is fine for limits and too coarse for offering 20,000 requests a second.
#pragma once

#include <functional>

#include "proxy/net/libevent_backend.h"

namespace glia {

// Lives on the loop's thread and ends before the loop.
class Pacer final : private FdWatch {
 public:
  // `due` is called from the top of the loop, at the moment of start() or later; it may start again.
  Pacer(EventLoop& loop, std::function<void()> due);
  ~Pacer() override;
  void start(TimePoint when);
  void stop();

 private:
  void on_event(uint8_t) override;
  std::function<void()> due_;
};

}  // namespace glia
