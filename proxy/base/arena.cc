#include "proxy/base/arena.h"

#include <algorithm>

#include "proxy/base/check.h"
#include "proxy/base/pool.h"

namespace glia {

// A block that was filled and replaced; the chain is freed with the arena.
struct Arena::Spill {
  Spill* next;
  char* block;
  std::size_t room;
};

namespace {
// The first block fits an ordinary request and comes from the pool; later ones grow.
constexpr std::size_t kFirstBlock = 4096;  // bytes, arena header included
}  // namespace

Arena* Arena::create() {
  char* block = static_cast<char*>(pool_allocate(kFirstBlock));
  auto* arena = new (block) Arena();
  arena->block_ = block;
  arena->room_ = kFirstBlock;
  arena->used_ = sizeof(Arena);
  return arena;
}

void* Arena::allocate_slow(std::size_t bytes, std::size_t alignment) {
  const std::size_t room = std::max(2 * room_, bytes + alignment + sizeof(Spill));
  char* block = static_cast<char*>(pool_allocate(room));
  // The chain's node stands at the start of the block that it describes.
  spills_ = new (block) Spill{spills_, block, room};
  spilled_ += used_;
  block_ = block;
  room_ = room;
  used_ = sizeof(Spill);
  return allocate(bytes, alignment);
}

void Arena::release() {
  if (--count_ > 0) return;
  this->~Arena();
  pool_free(this, kFirstBlock);
}

Arena::~Arena() {
  while (spills_ != nullptr) {
    const Spill spill = *spills_;
    spills_ = spill.next;
    pool_free(spill.block, spill.room);
  }
}

}  // namespace glia
