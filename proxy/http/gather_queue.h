// GatherQueue: bytes of one message that wait for whoever takes them, on the way in or out.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "proxy/base/bytes.h"
#include "proxy/base/pool.h"

namespace glia {

// Slices in order. Unlike ByteQueue it costs nothing while it is empty, and most streams' are: a
// small message passes through in one piece. Pieces of at most 1 KiB are copied, so that they do
// not keep the block of a whole read alive, and gathered, so that a peer that sends single bytes
// cannot make us hold a block for each; the first is not, if it already has a block to itself.
class GatherQueue {
 public:
  GatherQueue() = default;
  GatherQueue(const GatherQueue&) = delete;
  GatherQueue& operator=(const GatherQueue&) = delete;
  ~GatherQueue() { clear(); }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void append(Slice slice);
  // At most `most` bytes from the front, in one piece; needs !empty().
  Slice take(std::size_t most);
  Slice pop() { return take(size_); }  // The first piece, whole.
  void clear();

 private:
  void append_copy(std::string_view text);

  std::vector<Slice, PoolAllocator<Slice>> slices_;
  std::size_t first_ = 0;      // Those before it were taken.
  std::size_t size_ = 0;       // bytes
  Block* tail_ = nullptr;      // The block that small pieces are gathered in; counted.
  std::size_t tail_used_ = 0;  // bytes
};

}  // namespace glia
