// Bytes on their way through the proxy: Slice, a counted view of a block, and ByteQueue, slices in
// order.
//
// A block is filled once by a read and then only looked at, so a slice can travel from the socket of
// one side to the socket of the other without a copy. Counts are plain integers: a slice never
// leaves its thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/check.h"
#include "proxy/base/pool.h"

namespace glia {

// A piece of memory with a count of the slices that look at it.
class Block {
 public:
  // A block with room for `capacity` bytes and a count of one, owned by the caller.
  static Block* create(std::size_t capacity);

  char* data() { return reinterpret_cast<char*>(this + 1); }
  std::size_t capacity() const { return capacity_; }
  bool shared() const { return count_ > 1; }
  void retain() { ++count_; }
  void release() {
    if (--count_ == 0) destroy();
  }

 private:
  explicit Block(std::size_t capacity) : capacity_(capacity) {}
  void destroy();

  std::size_t capacity_;
  std::size_t count_ = 1;
};

// `size` bytes at `data`, kept alive by the block they stand in; or bytes that live for ever.
class Slice {
 public:
  Slice() = default;
  // Shares `block`.
  Slice(Block* block, const char* data, std::size_t size)
      : block_(block), data_(data), size_(size) {
    if (block_ != nullptr) block_->retain();
  }
  // Bytes with static lifetime.
  static Slice literal(std::string_view text) { return Slice(nullptr, text.data(), text.size()); }
  // A copy of `text` in a block of its own.
  static Slice copy(std::string_view text);

  Slice(const Slice& other) : Slice(other.block_, other.data_, other.size_) {}
  Slice(Slice&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Slice& operator=(Slice other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Slice() {
    if (block_ != nullptr) block_->release();
  }

  const char* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data_, size_}; }
  // Bytes of the block that this slice keeps alive; 0 for bytes that live for ever.
  std::size_t bytes_kept() const { return block_ != nullptr ? block_->capacity() : 0; }
  // Whether the block is so much larger than the slice that who keeps this had better keep a copy.
  bool wastes_block() const { return bytes_kept() > 4 * size_; }

  // The first `count` bytes, which this slice loses.
  Slice take_front(std::size_t count) {
    CHECK(count <= size_);
    Slice front(block_, data_, count);
    data_ += count;
    size_ -= count;
    return front;
  }
  void drop_front(std::size_t count) {
    CHECK(count <= size_);
    data_ += count;
    size_ -= count;
  }

 private:
  Block* block_ = nullptr;
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

// Slices in order, written at the back and taken from the front. Small writes are gathered in a
// block of the queue's own, so a head and its first bytes of body leave as one piece.
class ByteQueue {
 public:
  ByteQueue() = default;
  ByteQueue(ByteQueue&&) noexcept;
  ByteQueue& operator=(ByteQueue&&) noexcept;
  ~ByteQueue();

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // Queues a slice as it is; one of at most kCopyBelow bytes is copied, so that it does not keep a
  // large block alive.
  void append(Slice slice);
  void append_copy(std::string_view text);
  // Room for at least `bytes` at the back, to be written at once and then confirmed with commit().
  char* reserve(std::size_t bytes);
  void commit(std::size_t bytes);
  // Up to `pieces.size()` pieces from the front; returns how many were filled.
  std::size_t front(std::span<std::string_view> pieces) const;
  void drop_front(std::size_t count);
  // The first slice, whole, removed from the queue; empty if there is none.
  Slice pop_slice();
  void clear();

  static constexpr std::size_t kCopyBelow = 1024;    // bytes
  static constexpr std::size_t kGatherBlock = 4096;  // bytes, payload of a gathering block

 private:
  // An idle connection keeps room for no more slices than this. Not a deque: that would hold 576 bytes
  // for each queue of each connection before the first byte.
  static constexpr std::size_t kIdleSlices = 4;

  void pop_front();

  std::vector<Slice, PoolAllocator<Slice>> slices_;
  std::size_t first_ = 0;      // Those before it were taken.
  Block* tail_ = nullptr;      // The block that small writes are gathered in; counted.
  std::size_t tail_used_ = 0;  // bytes of tail_ that slices look at
  std::size_t size_ = 0;
};

}  // namespace glia
