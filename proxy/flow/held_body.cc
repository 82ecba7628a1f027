#include "proxy/flow/held_body.h"

#include <algorithm>
#include <utility>

namespace glia {

Task<Result<void>> HeldBody::hold() {
  while (!over_ && taken_ < most_ && !reader_->settled()) {
    const Piece piece = co_await next(*from_);
    switch (piece.state) {
      case State::kPending: break;
      case State::kError: co_return from_->error();
      case State::kData:
        keep(piece.data);
        if (!reader_->push(piece.data.view())) co_return reader_->refusal();
        break;
      case State::kEnd:
        over_ = true;
        if (!reader_->finish()) co_return reader_->refusal();
        break;
    }
  }
  co_return Result<void>();
}

void HeldBody::keep(const Slice& data) {
  taken_ += data.size();
  if (data.wastes_block()) return held_.append_copy(data.view());
  held_.append(data);
}

uint64_t HeldBody::rest() const {
  const uint64_t length = from_->length().value_or(taken_);
  return over_ || length < taken_ ? 0 : length - taken_;
}

void HeldBody::edit(std::span<const BodyEdit> edits) {
  for (const BodyEdit& edit : edits) {
    edits_.push_back(edit);
    growth_ += static_cast<int64_t>(edit.put.size()) - static_cast<int64_t>(edit.removed);
  }
}

void HeldBody::apply_edits() {
  std::vector<BodyEdit> edits = std::exchange(edits_, {});
  std::ranges::sort(edits, {}, &BodyEdit::at);
  ByteQueue edited;
  Slice slice;
  uint64_t at = 0;  // In the body as it came.
  // Takes the bytes up to `end` out of what is held.
  const auto pass = [&](uint64_t end, bool stays) {
    while (at < end) {
      if (slice.empty()) slice = held_.pop_slice();
      CHECK(!slice.empty());
      Slice part = slice.take_front(std::min<uint64_t>(slice.size(), end - at));
      at += part.size();
      if (stays) edited.append(std::move(part));
    }
  };
  for (const BodyEdit& edit : edits) {
    pass(edit.at, true);
    pass(edit.at + edit.removed, false);
    edited.append_copy(edit.put);
  }
  edited.append(std::move(slice));
  while (!held_.empty()) edited.append(held_.pop_slice());
  held_ = std::move(edited);
}

std::optional<uint64_t> HeldBody::length() const {
  const auto length = from_->length();
  if (!length) return {};
  return static_cast<uint64_t>(static_cast<int64_t>(*length) + growth_);
}

Body::Piece HeldBody::poll() {
  if (!edits_.empty()) apply_edits();
  if (!held_.empty()) return {State::kData, held_.pop_slice()};
  if (over_) return {State::kEnd, {}};
  Piece piece = from_->poll();
  if (piece.state == State::kData && !reader_->push(piece.data.view())) return {State::kError, {}};
  if (piece.state == State::kEnd && !reader_->finish()) return {State::kError, {}};
  return piece;
}

}  // namespace glia
