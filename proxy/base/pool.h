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
// A free list keeps at most this much of each size class; the rest goes back to malloc.
inline constexpr std::size_t kPoolKeepPerClass = 128 * 1024;  // bytes

}  // namespace glia
