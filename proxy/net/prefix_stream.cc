#include "proxy/net/prefix_stream.h"

#include <utility>

namespace glia {

PrefixStream::PrefixStream(std::unique_ptr<Stream> under, std::string prefix)
    : under_(std::move(under)), prefix_(std::move(prefix)) {
  under_->watch(*this);
}

void PrefixStream::send() {
  const std::string_view piece = prefix_;
  const IoResult wrote = under_->write({&piece, 1});
  if (wrote.state == IoResult::State::kError) return watcher_->on_broken();
  if (wrote.state == IoResult::State::kDone) prefix_.erase(0, wrote.bytes);
  if (!prefix_.empty()) return;  // on_writable follows.
  opened_ = true;
  watcher_->on_open();
}

IoResult PrefixStream::write(std::span<const std::string_view> pieces) {
  if (!opened_) return {IoResult::State::kWait};
  return under_->write(pieces);
}

// Level-triggered: what comes before we have spoken is told again.
void PrefixStream::on_readable() {
  if (opened_) watcher_->on_readable();
}

void PrefixStream::on_writable() {
  if (!opened_) return send();
  watcher_->on_writable();
}

}  // namespace glia
