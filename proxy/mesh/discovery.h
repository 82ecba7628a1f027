// Discovery: requests of one worker that wait for a host which the drawing does not have, while the
// control plane is asked for it (glia.v1.DiscoverHost).
//
// The worker only waits: the main thread asks, knows when it is too late and why, and says so by refused().
// What is found comes with the next drawing. Where neither comes (the main thread takes a host to be held
// that another table of routes has), the wait ends by itself.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/net/loop.h"

namespace glia {

class Discovery {
 public:
  static constexpr std::size_t kMostWaiting = 1000;  // Requests of this worker.
  // The main thread, which can say why, speaks first.
  static constexpr Duration kGrace = 100ms;
  // Called on the worker; ends in a drawing or in refused().
  using Ask = std::function<void(const std::string& host, Duration limit)>;

  explicit Discovery(EventLoop& loop) : loop_(loop) {}
  Discovery(const Discovery&) = delete;
  // Before the first request. Without it nobody can be asked.
  void ask_by(Ask ask) { ask_ = std::move(ask); }
  bool possible() const { return ask_ != nullptr; }

  // Asks for `host`, if nobody here does so already, and sleeps until another drawing is in force, or
  // kGrace after `limit`. The error is why there will be none.
  Task<Result<void>> next_drawing(std::string host, Duration limit);
  void drawing_changed();
  void refused(std::string_view host, const Error& error);
  std::size_t waiting() const { return waiting_.size(); }

 private:
  class Waiting;

  EventLoop& loop_;
  Ask ask_;
  std::multimap<std::string, Waiting*, std::less<>> waiting_;  // In the frames of who waits.
};

}  // namespace glia
