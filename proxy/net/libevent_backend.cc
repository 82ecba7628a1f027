#include "proxy/net/libevent_backend.h"

#include <event2/event.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace glia {
namespace {

event_base* make_base() {
  event_config* config = event_config_new();
  CHECK(config != nullptr);
  // One thread uses the base; other threads reach it through the eventfd alone.
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
  event_base* base = event_base_new_with_config(config);
  event_config_free(config);
  CHECK(base != nullptr);
  return base;
}

void on_timeout(int, short, void*) {}

void remove(event*& registered) {
  if (registered != nullptr) event_free(std::exchange(registered, nullptr));
}

}  // namespace

FdWatch::~FdWatch() { unwatch(); }

void FdWatch::unwatch() {
  remove(read_event_);
  remove(second_event_);
  second_ = Second::kOff;
  reading_ = false;
  if (std::exchange(what_, uint8_t{0}) != 0) backend_.batch_[batch_index_] = nullptr;
}

void FdWatch::want(bool reading, bool writing) {
  if (reading != reading_) {
    reading_ = reading;
    if (reading && read_event_ == nullptr) {
      read_event_ = event_new(backend_.base_, fd_, EV_READ | EV_PERSIST, on_read_event, this);
      CHECK(read_event_ != nullptr);
    }
    // An edge-triggered event cannot stand beside a level-triggered one of the same descriptor.
    if (second_ == Second::kHangUp) second(Second::kOff);
    if (reading) {
      if (event_add(read_event_, nullptr) != 0) happened(kUnwatched);
    } else {
      event_del(read_event_);
    }
  }
  if (writing) return second(Second::kWritable);
  second(reading ? Second::kOff : Second::kHangUp);
}

void FdWatch::second(Second wanted) {
  if (wanted == second_) return;
  second_ = wanted;
  remove(second_event_);
  if (wanted == Second::kOff) return;
  // Edge-triggered, because a break is a level that nobody can read away.
  const short what =
      wanted == Second::kWritable ? EV_WRITE | EV_PERSIST : EV_WRITE | EV_PERSIST | EV_ET;
  second_event_ = event_new(backend_.base_, fd_, what, on_second_event, this);
  CHECK(second_event_ != nullptr);
  if (event_add(second_event_, nullptr) != 0) happened(kUnwatched);
}

void FdWatch::on_read_event(int, short, void* self) {
  static_cast<FdWatch*>(self)->happened(kReadable);
}

void FdWatch::on_second_event(int, short, void* self) {
  auto& watch = *static_cast<FdWatch*>(self);
  watch.happened(watch.second_ == Second::kHangUp ? kHungUp : kWritable);
}

void FdWatch::happened(uint8_t what) {
  if (what_ == 0) {
    batch_index_ = backend_.batch_.size();
    backend_.batch_.push_back(this);
  }
  what_ |= what;
}

LibeventBackend::LibeventBackend()
    : base_(make_base()),
      timeout_(event_new(base_, -1, 0, on_timeout, nullptr)),
      wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  CHECK(timeout_ != nullptr && wake_fd_ >= 0);
  woken_ = event_new(base_, wake_fd_, EV_READ | EV_PERSIST, on_wake, this);
  CHECK(woken_ != nullptr && event_add(woken_, nullptr) == 0);
}

LibeventBackend::~LibeventBackend() {
  event_free(timeout_);
  event_free(woken_);
  event_base_free(base_);
  close(wake_fd_);
}

void LibeventBackend::wait(Duration timeout) {
  if (!batch_.empty() || timeout == Duration(0)) {
    event_base_loop(base_, EVLOOP_ONCE | EVLOOP_NONBLOCK);  // Without ONCE: until nothing is ready.
    return;
  }
  if (timeout > Duration(0)) {
    const auto us = std::chrono::ceil<std::chrono::microseconds>(timeout).count();
    const timeval limit = {us / 1'000'000, us % 1'000'000};
    event_add(timeout_, &limit);
  } else if (event_pending(timeout_, EV_TIMEOUT, nullptr) != 0) {
    event_del(timeout_);
  }
  event_base_loop(base_, EVLOOP_ONCE);
}

void LibeventBackend::dispatch() {
  // Watches that are activated meanwhile are appended, and called in this turn as well.
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    FdWatch* watch = batch_[i];
    if (watch == nullptr) continue;
    batch_[i] = nullptr;
    watch->on_event(std::exchange(watch->what_, uint8_t{0}));
  }
  batch_.clear();
}

void LibeventBackend::wake() {
  const uint64_t one = 1;
  // The only failure is a full counter, and then the loop is awake already.
  [[maybe_unused]] const auto written = write(wake_fd_, &one, sizeof one);
}

void LibeventBackend::on_wake(int fd, short, void*) {
  uint64_t count;
  [[maybe_unused]] const auto taken = read(fd, &count, sizeof count);
}

}  // namespace glia
