// EventLoop: one thread's turn-taking. It owns time, timers, sleeping coroutines and the order in
// which things happen.
//
// One turn: wait for the backend; callbacks of readable and writable streams (they only record and
// queue); then, until nothing is left: resume ready tasks, let every marked connection produce its
// output, write each socket once; then destroy what was given to the reaper. Because producing and
// writing come after all tasks have run, everything that one turn made for a connection leaves in
// one system call.
//
// Backends: net/libevent_backend.h (sockets) and test/sim (virtual time). Everything here belongs
// to the loop's thread, except post() and stop().
#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <vector>

#include "proxy/base/bytes.h"
#include "proxy/base/time.h"
#include "proxy/base/waiter.h"

namespace glia {

class EventLoop;

// What waits for the outside world on behalf of a loop.
class LoopBackend {
 public:
  virtual ~LoopBackend() = default;
  // Waits until something happened, wake() was called, or `timeout` has passed (negative: no
  // limit).
  virtual void wait(Duration timeout) = 0;
  // Runs the callbacks of what happened. Apart from wait(), so that the loop can read the clock
  // first.
  virtual void dispatch() = 0;
  // Ends a wait() from any thread.
  virtual void wake() = 0;
  virtual const Clock& clock() const = 0;
};

// A moment at which fire() is called once, from the top of the loop. Intrusive: starting and
// stopping allocate nothing. Destroying a timer stops it.
class Timer {
 public:
  explicit Timer(EventLoop& loop) : loop_(loop) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() { stop(); }

  // (Re)starts: fire() after `delay`, at the earliest in the next turn.
  void start(Duration delay);
  void stop();
  bool running() const { return index_ != kNotRunning; }

 protected:
  virtual void fire() = 0;
  EventLoop& loop_;

 private:
  friend class EventLoop;
  static constexpr std::size_t kNotRunning = static_cast<std::size_t>(-1);
  TimePoint when_;
  uint64_t order_ = 0;               // Timers of the same moment fire in the order of their start.
  std::size_t index_ = kNotRunning;  // Place in the loop's heap.
};

// A timer that calls a function; for the places that are not on the request path.
class CallbackTimer final : public Timer {
 public:
  CallbackTimer(EventLoop& loop, std::function<void()> callback)
      : Timer(loop), callback_(std::move(callback)) {}

 private:
  void fire() override { callback_(); }
  std::function<void()> callback_;
};

// Something with output to make or to write at the end of the turn: a connection.
class Flushable {
 public:
  virtual ~Flushable() { forget(); }
  // Moves what its streams have ready into its output queue. May mark other flushables.
  virtual void produce() = 0;
  // Writes the output queue to the socket, once.
  virtual void flush() = 0;

 protected:
  void forget();

 private:
  friend class EventLoop;
  EventLoop* marked_in_ = nullptr;  // Set while in one of the loop's lists.
  bool to_produce_ = false;
  bool to_flush_ = false;
};

// Something that must not be destroyed inside its own callback.
class Reapable {
 public:
  virtual ~Reapable() = default;
};

class EventLoop {
 public:
  explicit EventLoop(std::unique_ptr<LoopBackend> backend);
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  // Turns until stop().
  void run();
  // One turn; waits at most `longest` (negative: no limit).
  void turn(Duration longest);
  // Makes run() return after the turn in progress. Any thread.
  void stop();
  // Runs `work` on the loop's thread, in order. Any thread.
  void post(std::function<void()> work);

  // The moment this turn began; read once a turn.
  TimePoint now() const { return now_; }
  const Clock& clock() const { return backend_->clock(); }
  ReadyQueue& ready() { return ready_; }
  LoopBackend& backend() { return *backend_; }

  // A turn ends after so many rounds of running, producing and writing, even if more is ready, so
  // that two connections that feed each other cannot keep the rest waiting.
  static constexpr int kRoundsPerTurn = 32;

  // A block for one read of up to `bytes`, kept by the loop and given out again unless a slice
  // still looks at it: an idle connection needs no buffer of its own.
  Block& read_block(std::size_t bytes);

  // How many reads a connection may make in this turn whose first one was full; for each such
  // connection it is asked once. A few for all of them together, in equal parts by how many there were
  // in the last turn: as much as stays in a core's cache until it is written at the end of the turn.
  static constexpr int kFullReadsPerTurn = 4;
  int full_reads() {
    ++full_readers_;
    return full_reads_each_;
  }

  // Has `flushable` produce and flush before the turn ends. Marking twice is marking once.
  void mark(Flushable& flushable);
  // Destroys `thing` before the turn ends, after the next write, when no task or callback is on the
  // stack.
  void reap(std::unique_ptr<Reapable> thing);

 private:
  friend class Timer;
  friend class Flushable;
  static constexpr std::size_t kReadBlockSizes[] = {4096, 16 * 1024, 64 * 1024, 256 * 1024};
  // A block stays shared while its slices are on their way out; the next read takes another.
  static constexpr std::size_t kBlocksPerSize = 4;

  Duration before_wait(Duration longest);
  void run_posted();
  void fire_timers();
  void finish_turn();
  void produce_marked();
  void flush_produced();
  void destroy_reaped();
  Duration time_to_next(Duration longest) const;
  void start_timer(Timer& timer, Duration delay);
  void stop_timer(Timer& timer);
  static bool earlier(const Timer& a, const Timer& b);
  void heap_place(std::size_t index, Timer* timer);
  void heap_up(std::size_t index);
  void heap_down(std::size_t index);

  std::unique_ptr<LoopBackend> backend_;
  TimePoint now_;
  ReadyQueue ready_;
  std::vector<Timer*> timers_;  // A binary heap by when_, then order_.
  uint64_t timers_started_ = 0;
  std::vector<Flushable*> marked_;    // To produce; null where one was forgotten.
  std::vector<Flushable*> produced_;  // To flush; null where one was forgotten.
  std::vector<std::unique_ptr<Reapable>> reaped_;
  Block* read_blocks_[std::size(kReadBlockSizes)][kBlocksPerSize] = {};
  std::size_t next_block_[std::size(kReadBlockSizes)] = {};
  int full_readers_ = 0;  // In this turn.
  int full_reads_each_ = kFullReadsPerTurn;
  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;  // Guarded by posted_mutex_.
  bool stopping_ = false;                      // Guarded by posted_mutex_.
  bool waiting_ = false;                       // Guarded by posted_mutex_: a wake() is needed.
};

// co_await sleep_for(loop, 2s).
class SleepFor final : private Timer {
 public:
  SleepFor(EventLoop& loop, Duration delay) : Timer(loop), delay_(delay) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> sleeper) {
    waiter_.sleeper(sleeper);
    slot_.put(waiter_);
    start(delay_);
  }
  void await_resume() const noexcept {}

 private:
  void fire() override { slot_.wake(loop_.ready()); }
  Duration delay_;
  WaitSlot slot_;
  Waiter waiter_;
};
inline SleepFor sleep_for(EventLoop& loop, Duration delay) { return SleepFor(loop, delay); }

}  // namespace glia
