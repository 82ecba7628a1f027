#include "proxy/base/bytes.h"

#include <algorithm>
#include <new>

#include "proxy/base/pool.h"

namespace glia {

Block* Block::create(std::size_t capacity) {
  return new (pool_allocate(sizeof(Block) + capacity)) Block(capacity);
}

void Block::destroy() {
  const std::size_t bytes = sizeof(Block) + capacity_;
  this->~Block();
  pool_free(this, bytes);
}

Slice Slice::copy(std::string_view text) {
  if (text.empty()) return {};
  Block* block = Block::create(text.size());
  std::memcpy(block->data(), text.data(), text.size());
  Slice slice(block, block->data(), text.size());
  block->release();
  return slice;
}

ByteQueue::ByteQueue(ByteQueue&& other) noexcept { *this = std::move(other); }

ByteQueue& ByteQueue::operator=(ByteQueue&& other) noexcept {
  std::swap(slices_, other.slices_);
  std::swap(first_, other.first_);
  std::swap(tail_, other.tail_);
  std::swap(tail_used_, other.tail_used_);
  std::swap(size_, other.size_);
  return *this;
}

ByteQueue::~ByteQueue() {
  if (tail_ != nullptr) tail_->release();
}

void ByteQueue::append(Slice slice) {
  if (slice.empty()) return;
  if (slice.size() <= kCopyBelow) return append_copy(slice.view());
  size_ += slice.size();
  slices_.push_back(std::move(slice));
}

void ByteQueue::append_copy(std::string_view text) {
  if (text.empty()) return;
  std::memcpy(reserve(text.size()), text.data(), text.size());
  commit(text.size());
}

char* ByteQueue::reserve(std::size_t bytes) {
  if (tail_ != nullptr && tail_->capacity() - tail_used_ >= bytes)
    return tail_->data() + tail_used_;
  if (tail_ != nullptr) tail_->release();
  tail_ = Block::create(std::max(bytes, kGatherBlock - sizeof(Block)));
  tail_used_ = 0;
  return tail_->data();
}

void ByteQueue::commit(std::size_t bytes) {
  if (bytes == 0) return;
  const char* start = tail_->data() + tail_used_;
  tail_used_ += bytes;
  size_ += bytes;
  if (first_ < slices_.size() && slices_.back().data() + slices_.back().size() == start) {
    Slice& last = slices_.back();
    last = Slice(tail_, last.data(), last.size() + bytes);  // One longer piece of the same block.
    return;
  }
  slices_.emplace_back(tail_, start, bytes);
}

std::size_t ByteQueue::front(std::span<std::string_view> pieces) const {
  std::size_t count = 0;
  for (std::size_t i = first_; i < slices_.size() && count < pieces.size(); ++i) {
    pieces[count++] = slices_[i].view();
  }
  return count;
}

void ByteQueue::drop_front(std::size_t count) {
  CHECK(count <= size_);
  size_ -= count;
  while (count > 0) {
    Slice& first = slices_[first_];
    if (first.size() > count) return first.drop_front(count);
    count -= first.size();
    pop_front();
  }
  if (size_ == 0) clear();
}

Slice ByteQueue::pop_slice() {
  if (first_ == slices_.size()) return {};
  Slice slice = std::move(slices_[first_]);
  pop_front();
  size_ -= slice.size();
  return slice;
}

// A queue that never runs empty moves its slices to the front once half of them are gone.
void ByteQueue::pop_front() {
  slices_[first_++] = Slice();
  if (first_ < slices_.size() && first_ < slices_.capacity() / 2) return;
  slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(first_));
  first_ = 0;
}

void ByteQueue::clear() {
  slices_.clear();
  if (slices_.capacity() > kIdleSlices) decltype(slices_)().swap(slices_);
  first_ = 0;
  size_ = 0;
  // An idle connection holds no block.
  if (tail_ != nullptr) std::exchange(tail_, nullptr)->release();
}

}  // namespace glia
