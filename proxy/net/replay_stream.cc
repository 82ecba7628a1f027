#include "proxy/net/replay_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace glia {

ReplayStream::ReplayStream(EventLoop& loop, std::unique_ptr<Stream> under, Beginning beginning)
    : Timer(loop),
      under_(std::move(under)),
      bytes_(std::move(beginning.bytes)),
      info_(under_->info()),
      ended_(beginning.ended) {
  preamble_.server_name = std::move(beginning.server_name);
  if (beginning.source) preamble_.peer = std::exchange(info_.remote, *beginning.source);
  if (beginning.destination) info_.local = *beginning.destination;
  info_.preamble = &preamble_;
}

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
  if (leftover() && !paused_) watcher_->on_readable();
  if (leftover()) {
    if (!paused_) start(0s);
    return;
  }
  if (!ended_) under_->pause_reading(paused_);
}

void ReplayStream::on_readable() { watcher_->on_readable(); }

IoResult ReplayStream::read(std::span<char> into) {
  if (!bytes_.empty()) {
    const std::size_t count = std::min(into.size(), bytes_.size());
    std::memcpy(into.data(), bytes_.data(), count);
    bytes_.drop_front(count);
    if (bytes_.empty()) bytes_ = Slice();
    return {IoResult::State::kDone, count};
  }
  if (!ended_) return under_->read(into);
  end_told_ = true;
  return {IoResult::State::kEnd};
}

void ReplayStream::pause_reading(bool paused) {
  paused_ = paused;
  if (leftover()) {
    if (!paused && opened_ && !running()) start(0s);
    return;
  }
  if (!running() && !ended_) under_->pause_reading(paused);
}

}  // namespace glia
