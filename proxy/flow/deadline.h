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
  template <class T>
  friend class Either;
  WaitSlot slot_;
  bool rung_ = false;
};

// An alarm that only limits how long a task may take.
class TimeLimit final : public Alarm {
 public:
  using Alarm::Alarm;

 private:
  void fire() override { ring(); }
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

// co_await either(a, b, alarm): sleeps until one of two tasks, which were started, is done, or the alarm
// has rung. `b` and `alarm` may be null. The tasks stay their owner's, who asks which is done; while
// one of them sleeps, the owner awaits nothing but another either() with it, or cancels it.
template <class T>
class Either {
 public:
  Either(Task<T>& a, Task<T>* b, Alarm* alarm) : a_(a), b_(b), alarm_(alarm) {}

  bool await_ready() const {
    return a_.done() || (b_ != nullptr && b_->done()) || (alarm_ != nullptr && alarm_->rung());
  }
  void await_suspend(std::coroutine_handle<> parent) {
    a_.await_suspend(parent);
    if (b_ != nullptr) b_->await_suspend(parent);
    if (alarm_ == nullptr) return;
    waiter_.sleeper(parent);
    alarm_->slot_.put(waiter_);
  }
  void await_resume() { waiter_.unlink(); }

 private:
  Task<T>& a_;
  Task<T>* b_;
  Alarm* alarm_;
  Waiter waiter_;
};

template <class T>
Either<T> either(Task<T>& a, Task<T>* b, Alarm* alarm) {
  return Either<T>(a, b, alarm);
}

}  // namespace glia
