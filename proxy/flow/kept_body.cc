#include "proxy/flow/kept_body.h"

#include <algorithm>

namespace glia {
namespace {

// Pieces that are all there.
class PiecesBody final : public Body {
 public:
  PiecesBody(std::vector<Slice> pieces, std::optional<uint64_t> length)
      : pieces_(std::move(pieces)), length_(length) {}
  Piece poll() override {
    if (next_ == pieces_.size()) return {State::kEnd, {}};
    return {State::kData, pieces_[next_++]};
  }
  void wait(Waiter&) override {}
  std::optional<uint64_t> length() const override { return length_; }

 private:
  std::vector<Slice> pieces_;
  std::size_t next_ = 0;
  std::optional<uint64_t> length_;
};

}  // namespace

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
  if (piece.state == State::kEnd) ended_ = true;
  return piece;
}

std::unique_ptr<Body> KeptBody::copy() const {
  return std::make_unique<PiecesBody>(std::vector<Slice>(kept_.begin(), kept_.end()),
                                      from_->length());
}

std::optional<KernelPipe> KeptBody::poll_pipe() {
  if (keeping_ || next_ < kept_.size()) return {};
  return from_->poll_pipe();
}

void KeptBody::keep(const Slice& data) {
  const std::size_t cost = std::max(data.size(), kLeastCost);
  if (cost_ + cost > most_) return forget();
  kept_.push_back(data.wastes_block() ? Slice::copy(data.view()) : data);
  cost_ += cost;
  ++next_;
}

}  // namespace glia
