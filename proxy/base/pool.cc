#include "proxy/base/pool.h"

#include <cstdlib>
#include <new>
#include <utility>

#include "proxy/base/check.h"

namespace glia {
namespace {

void* allocate_or_die(std::size_t bytes) {
  void* block = std::malloc(bytes);
  if (block != nullptr) [[likely]]
    return block;
  // As `new` does it: the program may have said how it ends.
  if (const auto handler = std::get_new_handler()) handler();
  CHECK(block != nullptr);
  return block;
}

#ifndef GLIA_MALLOC_POOLS
struct FreeBlock {
  FreeBlock* next;
};

constexpr std::size_t kClasses = kPoolLargest / kPoolGrain;

// Without a destructor, so that reaching it costs no more than an offset to the thread's pointer.
struct FreeLists {
  FreeBlock* head[kClasses];
  std::size_t kept;  // bytes
};
constinit thread_local FreeLists lists = {};

// Gives everything back when its thread ends.
struct AtEnd {
  ~AtEnd() {
    for (FreeBlock*& block : lists.head) {
      while (block != nullptr) std::free(std::exchange(block, block->next));
    }
    lists.kept = kPoolKeep;  // Nothing is kept from here on.
  }
  void see_to_it() { begun = true; }
  bool begun = false;
};
thread_local AtEnd at_end;
#endif

constinit thread_local std::max_align_t scratch[kScratch / sizeof(std::max_align_t)] = {};

}  // namespace

char* thread_scratch() { return reinterpret_cast<char*>(scratch); }

#ifdef GLIA_MALLOC_POOLS

void* pool_allocate(std::size_t bytes) { return allocate_or_die(bytes); }
void pool_free(void* block, std::size_t) noexcept { std::free(block); }
std::size_t pool_kept() { return 0; }

#else

void* pool_allocate(std::size_t bytes) {
  const std::size_t size_class = (bytes - 1) / kPoolGrain;  // Of no bytes: beyond the last.
  if (size_class >= kClasses) return allocate_or_die(bytes);
  const std::size_t size = (size_class + 1) * kPoolGrain;
  FreeLists& mine = lists;
  FreeBlock* const block = mine.head[size_class];
  if (block == nullptr) return allocate_or_die(size);
  mine.head[size_class] = block->next;
  mine.kept -= size;
  return block;
}

void pool_free(void* block, std::size_t bytes) noexcept {
  const std::size_t size_class = (bytes - 1) / kPoolGrain;
  const std::size_t size = (size_class + 1) * kPoolGrain;
  FreeLists& mine = lists;
  if (size_class >= kClasses || mine.kept + size > kPoolKeep) return std::free(block);
  if (mine.kept == 0) at_end.see_to_it();
  mine.kept += size;
  auto* const free_block = static_cast<FreeBlock*>(block);
  free_block->next = mine.head[size_class];
  mine.head[size_class] = free_block;
}

std::size_t pool_kept() { return lists.kept; }

#endif

}  // namespace glia
