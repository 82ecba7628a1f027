// How a coroutine sleeps until something happens on its own thread.
//
// A leaf awaiter holds a Waiter and puts it into the WaitSlot of what it waits for. The event calls
// slot.wake(), which moves the waiter to the loop's ReadyQueue; the loop resumes it later in the same
// turn, never from inside the event's callback. A Waiter unlinks itself when it is destroyed, from
// the slot and from the queue, so cancelling a task at any moment leaves nothing behind.
#pragma once

#include <coroutine>

#include "proxy/base/check.h"

namespace glia {

class ReadyQueue;
class WaitSlot;

class Waiter {
 public:
  Waiter() = default;
  explicit Waiter(std::coroutine_handle<> sleeper) : sleeper_(sleeper) {}
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() { unlink(); }

  void sleeper(std::coroutine_handle<> sleeper) { sleeper_ = sleeper; }
  void unlink();

 private:
  friend class ReadyQueue;
  friend class WaitSlot;
  std::coroutine_handle<> sleeper_;
  WaitSlot* slot_ = nullptr;
  ReadyQueue* queue_ = nullptr;  // Set while in a ready queue.
  Waiter* next_ = nullptr;
  Waiter* previous_ = nullptr;
};

// Waiters whose moment has come, resumed by the loop in order. One a loop.
class ReadyQueue {
 public:
  void push(Waiter& waiter);
  bool empty() const { return first_ == nullptr; }
  // Resumes the waiters that are in the queue now and those that they add; returns whether any was.
  bool run();

 private:
  friend class Waiter;
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

// Where at most one coroutine waits for one kind of event.
class WaitSlot {
 public:
  WaitSlot() = default;
  WaitSlot(const WaitSlot&) = delete;
  WaitSlot& operator=(const WaitSlot&) = delete;
  ~WaitSlot() {
    if (waiter_ != nullptr) waiter_->slot_ = nullptr;
  }
  bool waiting() const { return waiter_ != nullptr; }
  void put(Waiter& waiter) {
    CHECK(waiter_ == nullptr);
    waiter_ = &waiter;
    waiter.slot_ = this;
  }
  void wake(ReadyQueue& queue) {
    if (waiter_ == nullptr) return;
    Waiter& waiter = *waiter_;
    waiter_->slot_ = nullptr;
    waiter_ = nullptr;
    queue.push(waiter);
  }

 private:
  friend class Waiter;
  Waiter* waiter_ = nullptr;
};

inline void Waiter::unlink() {
  if (slot_ != nullptr) {
    slot_->waiter_ = nullptr;
    slot_ = nullptr;
  }
  if (queue_ != nullptr) {
    (previous_ != nullptr ? previous_->next_ : queue_->first_) = next_;
    (next_ != nullptr ? next_->previous_ : queue_->last_) = previous_;
    queue_ = nullptr;
    next_ = previous_ = nullptr;
  }
}

inline void ReadyQueue::push(Waiter& waiter) {
  CHECK(waiter.queue_ == nullptr);
  waiter.queue_ = this;
  waiter.previous_ = last_;
  waiter.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &waiter;
  last_ = &waiter;
}

inline bool ReadyQueue::run() {
  const bool any = first_ != nullptr;
  while (first_ != nullptr) {
    Waiter& waiter = *first_;
    const std::coroutine_handle<> sleeper = waiter.sleeper_;
    waiter.unlink();
    sleeper.resume();
  }
  return any;
}

// co_await wait_in(slot): sleeps until slot.wake().
class WaitIn {
 public:
  explicit WaitIn(WaitSlot& slot) : slot_(slot) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> sleeper) {
    waiter_.sleeper(sleeper);
    slot_.put(waiter_);
  }
  void await_resume() const noexcept {}

 private:
  WaitSlot& slot_;
  Waiter waiter_;
};
inline WaitIn wait_in(WaitSlot& slot) { return WaitIn(slot); }

}  // namespace glia
