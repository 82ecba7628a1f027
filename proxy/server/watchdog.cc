#include "proxy/server/watchdog.h"

#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

Watchdog::Watchdog(EventLoop& main, uint32_t workers, std::function<void(uint32_t)> ask)
    : Timer(main), ask_(std::move(ask)), workers_(workers), looked_at_(main.now()) {
  start(kLook);
}

void Watchdog::fire() {
  const TimePoint now = loop_.now();
  // We ourselves were late (the process was stopped, or gets no time): that says nothing about them.
  const bool late = now - looked_at_ > 2 * kLook;
  looked_at_ = now;
  start(kLook);
  if (late) return;
  for (uint32_t i = 0; i < workers_.size(); ++i) look_at(i, now);
}

void Watchdog::look_at(uint32_t worker, TimePoint now) {
  Watched& watched = workers_[worker];
  if (!watched.waiting) {
    watched.waiting = true;
    watched.asked = now;
    return ask_(worker);
  }
  if (std::exchange(watched.stuck, true)) return;
  ++misses_;
  LOG(error, "worker ", worker, " has not turned its loop for ", to_ms(now - watched.asked),
      " ms: its connections wait, the other workers serve");
}

void Watchdog::heard(uint32_t worker) {
  Watched& watched = workers_[worker];
  watched.waiting = false;
  if (!std::exchange(watched.stuck, false)) return;
  LOG(warning, "worker ", worker, " turns its loop again after ",
      to_ms(loop_.now() - watched.asked), " ms");
}

}  // namespace glia
