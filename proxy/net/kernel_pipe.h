// KernelPipe: bytes on their way from one socket to another inside the kernel (splice(2)): they are
// never copied into this process, which is half of what passing on a large flow costs.
//
// Pipes belong to their thread and are borrowed only while bytes are in them: a flow that keeps
// moving needs one for the length of a callback, so a few serve all. Those that hold bytes for a
// slow reader are counted, and when there are too many, or the system gives none, callers copy as
// before.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace glia {

class KernelPipe {
 public:
  // An empty one; nothing if there is none to be had now.
  static std::optional<KernelPipe> borrow();
  KernelPipe(KernelPipe&& other) noexcept
      : read_end_(std::exchange(other.read_end_, -1)),
        write_end_(std::exchange(other.write_end_, -1)),
        held_(std::exchange(other.held_, 0)) {}
  KernelPipe& operator=(KernelPipe&& other) noexcept {
    std::swap(read_end_, other.read_end_);
    std::swap(write_end_, other.write_end_);
    std::swap(held_, other.held_);
    return *this;
  }
  // Gives it back; one that is not empty is closed, and its bytes are lost.
  ~KernelPipe();

  std::size_t held() const { return held_; }  // bytes
  // Moves at most `most` bytes from a non-blocking socket into the pipe, which must be empty, or
  // what it holds to a socket. As recv() and send(): -1 and errno if nothing could be moved.
  long fill(int socket, std::size_t most);
  long drain(int socket);
  // The same for a stream that is not a socket, as in test/sim: at most kPutAtMost bytes into the
  // pipe, and everything that it holds.
  void put(std::string_view bytes);
  std::string take();

  // Of one thread, in use at one time.
  static constexpr std::size_t kMost = 128;
  // Of one thread, kept for the next who asks.
  static constexpr std::size_t kSpare = 4;
  // Bytes that are asked of the system for each; it may give less.
  static constexpr int kCapacity = 256 * 1024;
  static constexpr std::size_t kPutAtMost = 32 * 1024;  // bytes

 private:
  KernelPipe(int read_end, int write_end) : read_end_(read_end), write_end_(write_end) {}

  int read_end_;  // -1: moved from.
  int write_end_;
  std::size_t held_ = 0;
};

}  // namespace glia
