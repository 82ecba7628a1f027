#include "proxy/net/kernel_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "proxy/base/check.h"

namespace glia {
namespace {

void close_both(int read_end, int write_end) {
  close(read_end);
  close(write_end);
}

struct Ends {
  int read = -1, write = -1;
};

// Of one thread.
struct Spare {
  ~Spare() {
    while (count > 0) {
      --count;
      close_both(pipes[count].read, pipes[count].write);
    }
  }
  std::array<Ends, KernelPipe::kSpare> pipes;
  std::size_t count = 0;
  std::size_t borrowed = 0;
  bool refused = false;  // The system does not let us splice, so nobody need try again.
};
thread_local Spare spare;

constexpr unsigned kHow = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

long again_if_interrupted(auto call) {
  for (;;) {
    const long count = call();
    if (count >= 0 || errno != EINTR) return count;
  }
}

// No word about the socket: sandboxes leave the call out.
bool is_refusal(int error_number) {
  return error_number == EINVAL || error_number == ENOSYS || error_number == EPERM;
}

}  // namespace

std::optional<KernelPipe> KernelPipe::borrow() {
  if (spare.refused || spare.borrowed == kMost) return {};
  if (spare.count > 0) {
    ++spare.borrowed;
    const Ends ends = spare.pipes[--spare.count];
    return KernelPipe(ends.read, ends.write);
  }
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return {};
  // Refused to a user whose pipes hold much already; the smaller pipe that it has then will do.
  fcntl(ends[1], F_SETPIPE_SZ, kCapacity);
  ++spare.borrowed;
  return KernelPipe(ends[0], ends[1]);
}

KernelPipe::~KernelPipe() {
  if (read_end_ < 0) return;
  --spare.borrowed;
  if (held_ > 0 || spare.count == kSpare) {
    close_both(read_end_, write_end_);
  } else {
    spare.pipes[spare.count++] = {read_end_, write_end_};
  }
}

long KernelPipe::fill(int socket, std::size_t most) {
  const long count = again_if_interrupted(
      [&] { return splice(socket, nullptr, write_end_, nullptr, most, kHow); });
  if (count > 0) held_ = static_cast<std::size_t>(count);
  if (count < 0 && is_refusal(errno)) {
    spare.refused = true;
    errno = EAGAIN;
  }
  return count;
}

long KernelPipe::drain(int socket) {
  const long count = again_if_interrupted(
      [&] { return splice(read_end_, nullptr, socket, nullptr, held_, kHow); });
  if (count > 0) held_ -= static_cast<std::size_t>(count);
  return count;
}

void KernelPipe::put(std::string_view bytes) {
  CHECK(held_ == 0 && bytes.size() <= kPutAtMost);
  CHECK(write(write_end_, bytes.data(), bytes.size()) == static_cast<long>(bytes.size()));
  held_ = bytes.size();
}

std::string KernelPipe::take() {
  std::string bytes(std::exchange(held_, 0), '\0');
  CHECK(read(read_end_, bytes.data(), bytes.size()) == static_cast<long>(bytes.size()));
  return bytes;
}

}  // namespace glia
