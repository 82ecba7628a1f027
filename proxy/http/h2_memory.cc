#include "proxy/http/h2_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "proxy/base/check.h"
#include "proxy/base/pool.h"

namespace glia {
namespace {

// The pool wants to be told the size of what it gets back, nghttp2 does not keep it: it stands
// before the block.
struct alignas(std::max_align_t) Prefix {
  std::size_t bytes;  // Prefix included.
};

// bytes: payload of the largest frame, its head, and a length of padding. Were nghttp2 to ask for
// another size, each session would have a buffer of its own again.
constexpr std::size_t kFrameBuffer = 16384 + 9 + 1;
static_assert(kFrameBuffer <= kScratch);

}  // namespace

void* H2Memory::allocate(std::size_t size, void* self) {
  bool& share = static_cast<H2Memory*>(self)->share_;
  if (size == kFrameBuffer && std::exchange(share, false)) return thread_scratch();
  if (size > SIZE_MAX - sizeof(Prefix)) return nullptr;
  auto* const prefix = static_cast<Prefix*>(pool_allocate(sizeof(Prefix) + size));
  prefix->bytes = sizeof(Prefix) + size;
  return prefix + 1;
}

void H2Memory::release(void* block, void*) {
  if (block == nullptr || block == thread_scratch()) return;
  Prefix* const prefix = static_cast<Prefix*>(block) - 1;
  pool_free(prefix, prefix->bytes);
}

void* H2Memory::allocate_zeroed(std::size_t count, std::size_t size, void* self) {
  if (size != 0 && count > SIZE_MAX / size) return nullptr;
  void* const block = allocate(count * size, self);
  if (block != nullptr) std::memset(block, 0, count * size);
  return block;
}

void* H2Memory::reallocate(void* block, std::size_t size, void* self) {
  void* const larger = allocate(size, self);
  if (block == nullptr || larger == nullptr) return larger;
  CHECK(block != thread_scratch());  // It is as large as frames get.
  const std::size_t held = (static_cast<Prefix*>(block) - 1)->bytes - sizeof(Prefix);
  std::memcpy(larger, block, std::min(held, size));
  release(block, self);
  return larger;
}

nghttp2_mem H2Memory::functions() {
  return nghttp2_mem{this, allocate, release, allocate_zeroed, reallocate};
}

}  // namespace glia
