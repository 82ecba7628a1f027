#include "proxy/http/gather_queue.h"

#include <cstring>
#include <utility>

namespace glia {
namespace {

// Taken slices that may stand before the first; then the rest moves down.
constexpr std::size_t kTakenAtMost = 32;

}  // namespace

void GatherQueue::append(Slice slice) {
  if (slice.empty()) return;
  const bool small = slice.size() <= ByteQueue::kCopyBelow;
  const bool alone = empty() && slice.bytes_kept() <= 2 * slice.size();
  if (small && !alone) return append_copy(slice.view());
  size_ += slice.size();
  slices_.push_back(std::move(slice));
}

void GatherQueue::append_copy(std::string_view text) {
  if (tail_ == nullptr || tail_->capacity() - tail_used_ < text.size()) {
    // The first piece gets a block of its size: mostly it is the only one.
    const std::size_t room = empty() ? text.size() : ByteQueue::kGatherBlock;
    if (tail_ != nullptr) tail_->release();
    tail_ = Block::create(room);
    tail_used_ = 0;
  }
  char* const to = tail_->data() + tail_used_;
  std::memcpy(to, text.data(), text.size());
  tail_used_ += text.size();
  const bool continues = !empty() && slices_.back().data() + slices_.back().size() == to;
  size_ += text.size();
  if (!continues) {
    slices_.emplace_back(tail_, to, text.size());
    return;
  }
  Slice& last = slices_.back();
  last = Slice(tail_, last.data(), last.size() + text.size());
}

Slice GatherQueue::take(std::size_t most) {
  Slice& front = slices_[first_];
  if (front.size() > most) {
    size_ -= most;
    return front.take_front(most);
  }
  Slice whole = std::move(front);
  ++first_;
  size_ -= whole.size();
  if (size_ == 0) {
    clear();
  } else if (first_ > kTakenAtMost) {
    slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  return whole;
}

void GatherQueue::clear() {
  slices_.clear();
  first_ = size_ = 0;
  if (tail_ != nullptr) std::exchange(tail_, nullptr)->release();
}

}  // namespace glia
