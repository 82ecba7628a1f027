// Sets of stream numbers: those on which the peer may send, and those that it was told to leave.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace glia {

// A hash set with open addressing. Stream numbers are chosen by the peer, so where they fall
// depends on where the set stands in memory.
class IdSet {
 public:
  void insert(int32_t id);
  // False if it was not there.
  bool erase(int32_t id);
  bool has(int32_t id) const;
  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kFirstSlots = 16;  // a power of two, as every size

  std::size_t home(int32_t id) const;
  std::size_t next(std::size_t slot) const { return (slot + 1) & (slots_.size() - 1); }
  void grow();

  std::vector<int32_t> slots_;  // 0: free. At most three quarters are taken.
  std::size_t size_ = 0;
};

// The numbers that were put in last. Looked through from end to end: only what is late asks.
class IdRing {
 public:
  explicit IdRing(std::size_t most) : most_(most) {}
  void put(int32_t id);
  bool has(int32_t id) const;

 private:
  std::size_t most_;
  std::size_t oldest_ = 0;
  std::vector<int32_t> ids_;
};

}  // namespace glia
