#include "test/bench/pacer.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "proxy/base/check.h"

namespace glia {

namespace {

int make_timer() {
  const int fd = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  CHECK(fd >= 0);
  return fd;
}

}  // namespace

Pacer::Pacer(EventLoop& loop, std::function<void()> due)
    : FdWatch(static_cast<LibeventBackend&>(loop.backend()), make_timer()), due_(std::move(due)) {
  want(/*reading=*/true, /*writing=*/false);
}

Pacer::~Pacer() {
  unwatch();
  ::close(fd_);
}

void Pacer::start(TimePoint when) {
  const auto ns = std::max<int64_t>(when.time_since_epoch() / Duration(1), 1);  // 0 would disarm.
  itimerspec spec = {};
  spec.it_value.tv_sec = ns / 1'000'000'000;
  spec.it_value.tv_nsec = ns % 1'000'000'000;
  CHECK(::timerfd_settime(fd_, TFD_TIMER_ABSTIME, &spec, nullptr) == 0);
}

void Pacer::stop() {
  const itimerspec never = {};
  CHECK(::timerfd_settime(fd_, 0, &never, nullptr) == 0);
}

void Pacer::on_event(uint8_t) {
  uint64_t times = 0;
  if (::read(fd_, &times, sizeof times) == sizeof times) due_();
}

}  // namespace glia
