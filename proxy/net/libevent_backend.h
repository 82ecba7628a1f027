// LibeventBackend: what waits for sockets on behalf of an EventLoop; and FdWatch, the door through
// which net/tcp asks it to.
//
// libevent does the one thing it is best at, knowing which descriptors are ready on any system. Raw
// level-triggered events only: bufferevent costs an ioctl and two epoll_ctl a message. Timers are
// the loop's own heap, so no timer is ever registered here but the one that bounds a wait, which
// libevent turns into epoll_wait's argument.
#pragma once

#include <cstdint>
#include <vector>

#include "proxy/net/loop.h"

struct event;
struct event_base;

namespace glia {

class LibeventBackend;

// Tells when one descriptor is readable or writable. Owned by whoever owns the descriptor, and
// destroyed before it is closed; events that were already waiting are then forgotten.
class FdWatch {
 public:
  FdWatch(LibeventBackend& backend, int fd) : fd_(fd), backend_(backend) {}
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;
  virtual ~FdWatch();

 protected:
  // kUnwatched: the system has no room to watch for what was wanted (memory, or
  // fs.epoll.max_user_watches); nothing of that will be told.
  enum What : uint8_t {
    kReadable = 1,
    kWritable = 2,
    kActivated = 4,
    kHungUp = 8,
    kUnwatched = 16
  };
  // What to watch for, level-triggered. Nothing of both: only whether the connection broke.
  void want(bool reading, bool writing);
  // Forgets everything, for a descriptor that is about to be closed or is of no more use.
  void unwatch();
  bool wants_reading() const { return reading_; }
  // Has on_event(kActivated) called from the top of the loop, in this turn or the next.
  void activate() { happened(kActivated); }
  // `what`: the sum of everything that happened since the last call. From the top of the loop.
  virtual void on_event(uint8_t what) = 0;

  const int fd_;

 private:
  friend class LibeventBackend;
  enum class Second : uint8_t { kOff, kWritable, kHangUp };
  static void on_read_event(int fd, short what, void* self);
  static void on_second_event(int fd, short what, void* self);
  void second(Second wanted);
  void happened(uint8_t what);

  LibeventBackend& backend_;
  event* read_event_ = nullptr;
  event* second_event_ = nullptr;  // For writing, or for breaks while reading is off.
  Second second_ = Second::kOff;
  bool reading_ = false;
  uint8_t what_ = 0;  // Non-zero while in the backend's batch.
  std::size_t batch_index_ = 0;
};

class LibeventBackend final : public LoopBackend {
 public:
  LibeventBackend();
  ~LibeventBackend() override;
  void wait(Duration timeout) override;
  void dispatch() override;
  void wake() override;
  const Clock& clock() const override { return clock_; }

 private:
  friend class FdWatch;
  static void on_wake(int fd, short what, void* self);

  SystemClock clock_;
  event_base* base_;
  event* timeout_;
  event* woken_;
  int wake_fd_;
  std::vector<FdWatch*> batch_;  // Null where a watch was destroyed.
};

}  // namespace glia
