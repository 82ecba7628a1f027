// Thread-local free lists for the small blocks of the request path: coroutine frames, nghttp2's
// allocations, exchanges.
//
// Nothing here is shared between threads and a block goes back to the list of the thread that frees
// it. Built with GLIA_MALLOC_POOLS (the sanitizer builds) every block is malloc's, because
// AddressSanitizer cannot see inside a pool.
#pragma once

#include <cstddef>

namespace glia {

// At least `bytes`, aligned for any type. Sizes above kPoolLargest come from malloc.
void* pool_allocate(std::size_t bytes);
// `bytes` is what was asked of pool_allocate.
void pool_free(void* block, std::size_t bytes) noexcept;

inline constexpr std::size_t kPoolGrain = 64;      // bytes; size classes are multiples of it
inline constexpr std::size_t kPoolLargest = 4096;  // bytes
// The free lists of a thread keep at most this much together; the rest goes back to malloc. What a
// few hundred exchanges need, so that a worker in the middle of its work asks malloc for nothing.
inline constexpr std::size_t kPoolKeep = 4 * 1024 * 1024;  // bytes
// What the calling thread's free lists keep.
std::size_t pool_kept();

// Room of the calling thread's for what is written and read again within one call of somebody: the
// next call, of whomever, may write over it.
inline constexpr std::size_t kScratch = 17 * 1024;  // bytes
char* thread_scratch();

// For the containers of the request path.
template <class T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(pool_allocate(count * sizeof(T))); }
  void deallocate(T* at, std::size_t count) noexcept { pool_free(at, count * sizeof(T)); }
  friend bool operator==(const PoolAllocator&, const PoolAllocator&) = default;
};

}  // namespace glia
