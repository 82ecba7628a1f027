#include "proxy/flow/kept_body.h"

#include <algorithm>

namespace glia {

bool KeptBody::rewind() {
  next_ = 0;
  return keeping_;
}

void KeptBody::forget() {
  if (!keeping_) return;
  keeping_ = false;
  // What was not given again yet still is.
  kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(next_));
  next_ = 0;
}

Body::Piece KeptBody::poll() {
  if (next_ < kept_.size()) return {State::kData, kept_[next_++]};
  Piece piece = from_->poll();
  if (piece.state == State::kData && keeping_) keep(piece.data);
  return piece;
}

std::optional<KernelPipe> KeptBody::poll_pipe() {
  if (keeping_ || next_ < kept_.size()) return {};
  return from_->poll_pipe();
}

void KeptBody::keep(const Slice& data) {
  const std::size_t cost = std::max(data.size(), kLeastCost);
  if (cost_ + cost > kMost) return forget();
  kept_.push_back(data.wastes_block() ? Slice::copy(data.view()) : data);
  cost_ += cost;
  ++next_;
}

}  // namespace glia
