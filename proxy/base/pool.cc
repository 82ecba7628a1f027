#include "proxy/base/pool.h"

#include <cstdlib>
#include <utility>

#include "proxy/base/check.h"

namespace glia {
namespace {

void* allocate_or_die(std::size_t bytes) {
  void* block = std::malloc(bytes);
  CHECK(block != nullptr);
  return block;
}

#ifndef GLIA_MALLOC_POOLS
struct FreeBlock {
  FreeBlock* next;
};

constexpr std::size_t kClasses = kPoolLargest / kPoolGrain;

struct FreeLists {
  FreeBlock* head[kClasses] = {};
  std::size_t count[kClasses] = {};

  ~FreeLists() {
    for (FreeBlock* block : head) {
      while (block != nullptr) std::free(std::exchange(block, block->next));
    }
  }
};

thread_local FreeLists lists;
#endif

}  // namespace

#ifdef GLIA_MALLOC_POOLS

void* pool_allocate(std::size_t bytes) { return allocate_or_die(bytes); }
void pool_free(void* block, std::size_t) noexcept { std::free(block); }

#else

void* pool_allocate(std::size_t bytes) {
  if (bytes == 0 || bytes > kPoolLargest) return allocate_or_die(bytes);
  const std::size_t size_class = (bytes - 1) / kPoolGrain;
  FreeBlock*& head = lists.head[size_class];
  if (head == nullptr) return allocate_or_die((size_class + 1) * kPoolGrain);
  --lists.count[size_class];
  FreeBlock* block = head;
  head = block->next;
  return block;
}

void pool_free(void* block, std::size_t bytes) noexcept {
  const std::size_t size_class = (bytes - 1) / kPoolGrain;
  if (bytes == 0 || bytes > kPoolLargest ||
      lists.count[size_class] * (size_class + 1) * kPoolGrain >= kPoolKeepPerClass) {
    std::free(block);
    return;
  }
  ++lists.count[size_class];
  auto* free_block = static_cast<FreeBlock*>(block);
  free_block->next = lists.head[size_class];
  lists.head[size_class] = free_block;
}

#endif

}  // namespace glia
