#include "proxy/net/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "proxy/base/check.h"

namespace glia {
namespace {

int open_signals(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  const int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  CHECK(fd >= 0);
  return fd;
}

}  // namespace

SignalWatch::SignalWatch(LibeventBackend& backend, std::initializer_list<int> signals,
                         std::function<void(int signal)> told)
    : FdWatch(backend, open_signals(signals)), told_(std::move(told)) {
  want(/*reading=*/true, /*writing=*/false);
}

SignalWatch::~SignalWatch() {
  unwatch();
  ::close(fd_);
}

void SignalWatch::on_event(uint8_t) {
  signalfd_siginfo info;
  while (::read(fd_, &info, sizeof info) == sizeof info) told_(static_cast<int>(info.ssi_signo));
}

}  // namespace glia
