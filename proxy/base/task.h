// Task: a lazy coroutine with one owner. Awaiting it runs it; destroying it cancels it.
//
// The child is started inline, inside the parent's await_ready, and the parent sleeps only if the
// child did. A loop that awaits a million tasks which finish at once therefore uses no stack, with
// both compilers, at every optimisation level and under AddressSanitizer, which textbook symmetric
// transfer does not (task_test.cc). Symmetric transfer is used only where a child that did sleep
// ends and hands control back to its parent.
//
// Frames come from the thread-local pool. Rules that keep this safe (ARCHITECTURE.md, "Ownership"):
// parameters are values, or references to what outlives the task; no capturing lambda coroutines; a
// task is never destroyed from inside its own resume.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

#include "proxy/base/check.h"
#include "proxy/base/pool.h"

namespace glia {

template <class T = void>
class Task;

namespace task_detail {

struct PromiseBase {
  std::coroutine_handle<> parent;

  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept { pool_free(frame, bytes); }

  struct ReturnToParent {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      const std::coroutine_handle<> parent = self.promise().parent;
      return parent ? parent : std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  ReturnToParent final_suspend() const noexcept { return {}; }
  // A library that throws is wrapped where it is called; an exception that gets here is a bug.
  void unhandled_exception() { CHECK(!"exception left a Task"); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void take() const noexcept {}
};

}  // namespace task_detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = task_detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      cancel();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~Task() { cancel(); }

  explicit operator bool() const { return static_cast<bool>(handle_); }
  bool done() const { return handle_ && handle_.done(); }

  // Runs a root task until it first sleeps. A task that is awaited is started by the await.
  void start() {
    CHECK(handle_ && !handle_.done());
    handle_.resume();
  }
  // The value of a root task that is done.
  T take() {
    CHECK(done());
    return handle_.promise().take();
  }
  // Destroys the frame, and with it everything the coroutine owns.
  void cancel() {
    if (handle_) std::exchange(handle_, {}).destroy();
  }

  bool await_ready() {
    handle_.resume();
    return handle_.done();
  }
  void await_suspend(std::coroutine_handle<> parent) { handle_.promise().parent = parent; }
  T await_resume() { return handle_.promise().take(); }

 private:
  Handle handle_;
};

namespace task_detail {

template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

}  // namespace task_detail
}  // namespace glia
