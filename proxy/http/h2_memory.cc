#include "proxy/http/h2_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "proxy/base/pool.h"

namespace glia {
namespace {

// The pool wants to be told the size of what it gets back, nghttp2 does not keep it: it stands
// before the block.
struct alignas(std::max_align_t) Prefix {
  std::size_t bytes;  // Prefix included.
};

void* allocate(std::size_t size, void*) {
  if (size > SIZE_MAX - sizeof(Prefix)) return nullptr;
  auto* const prefix = static_cast<Prefix*>(pool_allocate(sizeof(Prefix) + size));
  prefix->bytes = sizeof(Prefix) + size;
  return prefix + 1;
}

void release(void* block, void*) {
  if (block == nullptr) return;
  Prefix* const prefix = static_cast<Prefix*>(block) - 1;
  pool_free(prefix, prefix->bytes);
}

void* allocate_zeroed(std::size_t count, std::size_t size, void* user) {
  if (size != 0 && count > SIZE_MAX / size) return nullptr;
  void* const block = allocate(count * size, user);
  if (block != nullptr) std::memset(block, 0, count * size);
  return block;
}

void* reallocate(void* block, std::size_t size, void* user) {
  void* const larger = allocate(size, user);
  if (block == nullptr || larger == nullptr) return larger;
  const std::size_t held = (static_cast<Prefix*>(block) - 1)->bytes - sizeof(Prefix);
  std::memcpy(larger, block, std::min(held, size));
  release(block, user);
  return larger;
}

}  // namespace

nghttp2_mem h2_pool_memory() {
  return nghttp2_mem{nullptr, allocate, release, allocate_zeroed, reallocate};
}

}  // namespace glia
