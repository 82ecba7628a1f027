// What the workers of one process tell each other without a lock on the request path: counts, the
// latest value of something, and whose turn it is.
//
// Workers share nothing mutable otherwise. These are for facts of the whole process that each worker
// needs as they are now, such as how many requests the one application behind all of them has.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "proxy/base/time.h"

namespace glia {

class SharedCount {
 public:
  // Returns the new value.
  int64_t add(int64_t number) const {
    return count_.fetch_add(number, std::memory_order_relaxed) + number;
  }
  int64_t value() const { return count_.load(std::memory_order_relaxed); }

 private:
  mutable std::atomic<int64_t> count_{0};
};

// The last thing that was put; null before.
template <class T>
class SharedLatest {
 public:
  void put(std::shared_ptr<const T> value) const {
    const std::lock_guard lock(mutex_);
    value_ = std::move(value);
  }
  std::shared_ptr<const T> get() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const T> value_;
};

// The last N numbers that were added, in no order.
template <std::size_t N>
class SharedSamples {
 public:
  void add(uint64_t value) const {
    const uint64_t place = next_.fetch_add(1, std::memory_order_relaxed);
    values_[place % N].store(value, std::memory_order_relaxed);
  }
  // Those that were added, at most N.
  std::size_t size() const {
    const uint64_t added = next_.load(std::memory_order_relaxed);
    return added < N ? static_cast<std::size_t>(added) : N;
  }
  uint64_t at(std::size_t i) const { return values_[i].load(std::memory_order_relaxed); }

 private:
  mutable std::atomic<uint64_t> next_{0};
  mutable std::array<std::atomic<uint64_t>, N> values_ = {};
};

// One value that is changed by one worker at a time; for steps of well below a microsecond.
template <class T>
class SharedOne {
 public:
  template <class... Arguments>
  explicit SharedOne(Arguments&&... arguments) : value_(std::forward<Arguments>(arguments)...) {}
  // What `change(T&)` returns. It must not come back here.
  template <class Change>
  auto with(Change change) const {
    const std::lock_guard lock(mutex_);
    return change(value_);
  }

 private:
  mutable std::mutex mutex_;
  mutable T value_;
};

// Work that one of the workers does for all, once in a while.
class SharedTurn {
 public:
  // True for one caller only, until `pause` has passed or put_off() says when.
  bool take(TimePoint now, Duration pause) const {
    int64_t due = due_.load(std::memory_order_relaxed);
    const int64_t at = now.time_since_epoch().count();
    return at >= due && due_.compare_exchange_strong(due, at + pause.count());
  }
  void put_off(TimePoint until) const { due_.store(until.time_since_epoch().count()); }

 private:
  mutable std::atomic<int64_t> due_{0};
};

}  // namespace glia
