// Preloaded into a proxy by test/e2e/proxy_fault_test.py: makes one system call fail, the n-th of its
// kind from the moment at which the test says so (row K5 of the checklist of faults).
//
// What to do stands in a file that both map, named by GLIA_FAULTS.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

enum Call : uint32_t {
  kRecv = 1,
  kSend,
  kSendmsg,
  kAccept,
  kConnect,
  kSocket,
  kEpollCtl,
  kSetsockopt
};

// The layout that the test writes.
struct Plan {
  std::atomic<uint32_t> call;    // Of Call; 0: nothing fails.
  std::atomic<uint32_t> after;   // So many calls pass first.
  std::atomic<int32_t> error;    // errno; 0: one byte is moved instead of all.
  std::atomic<uint32_t> struck;  // How often it failed.
};

Plan* plan() {
  static Plan* const mapped = [] {
    const char* const path = std::getenv("GLIA_FAULTS");
    const int fd = path == nullptr ? -1 : ::open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) std::abort();
    void* const at = ::mmap(nullptr, sizeof(Plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) std::abort();
    ::close(fd);
    return static_cast<Plan*>(at);
  }();
  return mapped;
}

// Whether this call is the one that fails.
bool strikes(Call call) {
  Plan& wanted = *plan();
  if (wanted.call.load() != call) return false;
  if (wanted.after.fetch_sub(1) != 0) return false;
  wanted.call.store(0);
  wanted.struck.fetch_add(1);
  return true;
}

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

// The failing call, which moved nothing.
int fails() {
  errno = plan()->error.load();
  return -1;
}

bool moves_one_byte() { return plan()->error.load() == 0; }

}  // namespace

extern "C" {

ssize_t recv(int fd, void* into, size_t size, int flags) {
  static const auto real = next<ssize_t (*)(int, void*, size_t, int)>("recv");
  if (!strikes(kRecv)) return real(fd, into, size, flags);
  return moves_one_byte() ? real(fd, into, 1, flags) : fails();
}

ssize_t send(int fd, const void* from, size_t size, int flags) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, int)>("send");
  if (!strikes(kSend)) return real(fd, from, size, flags);
  return moves_one_byte() ? real(fd, from, 1, flags) : fails();
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto real = next<ssize_t (*)(int, const msghdr*, int)>("sendmsg");
  if (!strikes(kSendmsg)) return real(fd, message, flags);
  if (!moves_one_byte()) return fails();
  static const auto one = next<ssize_t (*)(int, const void*, size_t, int)>("send");
  return one(fd, message->msg_iov[0].iov_base, 1, flags);
}

int accept4(int fd, sockaddr* from, socklen_t* size, int flags) {
  static const auto real = next<int (*)(int, sockaddr*, socklen_t*, int)>("accept4");
  return strikes(kAccept) ? fails() : real(fd, from, size, flags);
}

int connect(int fd, const sockaddr* to, socklen_t size) {
  static const auto real = next<int (*)(int, const sockaddr*, socklen_t)>("connect");
  return strikes(kConnect) ? fails() : real(fd, to, size);
}

int socket(int family, int type, int protocol) {
  static const auto real = next<int (*)(int, int, int)>("socket");
  return strikes(kSocket) ? fails() : real(family, type, protocol);
}

int epoll_ctl(int epoll, int what, int fd, epoll_event* event) {
  static const auto real = next<int (*)(int, int, int, epoll_event*)>("epoll_ctl");
  return strikes(kEpollCtl) ? fails() : real(epoll, what, fd, event);
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  static const auto real = next<int (*)(int, int, int, const void*, socklen_t)>("setsockopt");
  return strikes(kSetsockopt) ? fails() : real(fd, level, name, value, size);
}

}  // extern "C"
