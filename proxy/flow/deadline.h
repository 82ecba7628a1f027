// Alarm and until(): a task that is cancelled when its time runs out.
#pragma once

#include <optional>
#include <utility>

#include "proxy/base/task.h"
#include "proxy/net/loop.h"

namespace glia {

// A timer that ends an until(). It may be started, moved or stopped while the task runs.
class Alarm : public Timer {
 public:
  using Timer::Timer;
  bool rung() const { return rung_; }

 protected:
  // Ends the until() in progress, or calls rung_late() if there is none.
  void ring() {
    rung_ = true;
    if (slot_.waiting()) return slot_.wake(loop_.ready());
    rung_late();
  }
  virtual void rung_late() {}

 private:
  template <class T>
  friend class Until;
  WaitSlot slot_;
  bool rung_ = false;
};

// co_await until(alarm, task): the task's value, or nothing if the alarm rang first; then the task is
// destroyed, with all that it owns.
template <class T>
class Until {
 public:
  Until(Alarm& alarm, Task<T> task) : alarm_(alarm), task_(std::move(task)) {}

  bool await_ready() { return task_.await_ready(); }
  void await_suspend(std::coroutine_handle<> parent) {
    task_.await_suspend(parent);
    waiter_.sleeper(parent);
    alarm_.slot_.put(waiter_);
  }
  std::optional<T> await_resume() {
    waiter_.unlink();
    if (task_.done()) return task_.await_resume();
    // Woken by the alarm: the task sleeps, so it is not on the stack and may be destroyed.
    task_.cancel();
    return {};
  }

 private:
  Alarm& alarm_;
  Task<T> task_;
  Waiter waiter_;
};

template <class T>
Until<T> until(Alarm& alarm, Task<T> task) {
  return Until<T>(alarm, std::move(task));
}

}  // namespace glia
