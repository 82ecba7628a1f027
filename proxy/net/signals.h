// SignalWatch: signals of the process, told from the top of a loop.
#pragma once

#include <functional>
#include <initializer_list>

#include "proxy/net/libevent_backend.h"

namespace glia {

// Blocks the signals for this thread and those it starts later, so it is made on the main thread
// before any other runs. One a process.
class SignalWatch final : private FdWatch {
 public:
  SignalWatch(LibeventBackend& backend, std::initializer_list<int> signals,
              std::function<void(int signal)> told);
  ~SignalWatch() override;

 private:
  void on_event(uint8_t what) override;
  std::function<void(int)> told_;
};

}  // namespace glia
