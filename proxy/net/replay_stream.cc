#include "proxy/net/replay_stream.h"

#include <algorithm>
#include <cstring>

namespace glia {

ReplayStream::ReplayStream(EventLoop& loop, std::unique_ptr<Stream> under, Slice beginning)
    : Timer(loop), under_(std::move(under)), beginning_(std::move(beginning)) {}

void ReplayStream::watch(Stream::Watcher& watcher) {
  watcher_ = &watcher;
  under_->watch(*this);
  // Until the beginning is read again, what follows it waits in the kernel.
  under_->pause_reading(true);
  start(0s);
}

void ReplayStream::fire() {
  if (!opened_) {
    opened_ = true;
    watcher_->on_open();
  }
  if (!beginning_.empty() && !paused_) watcher_->on_readable();
  if (beginning_.empty()) return under_->pause_reading(paused_);
  if (!paused_) start(0s);
}

void ReplayStream::on_readable() { watcher_->on_readable(); }

IoResult ReplayStream::read(std::span<char> into) {
  if (beginning_.empty()) return under_->read(into);
  const std::size_t count = std::min(into.size(), beginning_.size());
  std::memcpy(into.data(), beginning_.data(), count);
  beginning_.drop_front(count);
  return {IoResult::State::kDone, count};
}

void ReplayStream::pause_reading(bool paused) {
  paused_ = paused;
  if (!beginning_.empty()) {
    if (!paused && opened_ && !running()) start(0s);
    return;
  }
  if (!running()) under_->pause_reading(paused);
}

}  // namespace glia
