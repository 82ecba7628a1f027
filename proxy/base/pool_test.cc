#include "proxy/base/pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "proxy/base/random.h"

namespace glia {
namespace {

struct Held {
  unsigned char* block;
  std::size_t bytes;
  unsigned char mark;
};

TEST(Pool, BlocksInUseNeverOverlap) {
  Random random(1);
  std::vector<Held> held;
  for (int i = 0; i < 50'000; ++i) {
    if (held.empty() || random.below(100) < 55) {
      const std::size_t bytes = 1 + random.below(2 * kPoolLargest);
      Held one{static_cast<unsigned char*>(pool_allocate(bytes)), bytes,
               static_cast<unsigned char>(i)};
      ASSERT_EQ(reinterpret_cast<uintptr_t>(one.block) % alignof(std::max_align_t), 0u);
      std::memset(one.block, one.mark, bytes);
      held.push_back(one);
    } else {
      std::swap(held[random.below(held.size())], held.back());
      const Held one = held.back();
      held.pop_back();
      ASSERT_EQ(one.block[0], one.mark);
      ASSERT_EQ(one.block[one.bytes - 1], one.mark);
      pool_free(one.block, one.bytes);
    }
  }
  for (const Held& one : held) pool_free(one.block, one.bytes);
}

TEST(Pool, KeepsNoMoreThanItsLimit) {
  std::vector<void*> blocks;
  for (std::size_t i = 0; i < 2 * kPoolKeep / kPoolLargest; ++i) {
    blocks.push_back(pool_allocate(kPoolLargest));
  }
  for (void* block : blocks) pool_free(block, kPoolLargest);
  EXPECT_LE(pool_kept(), kPoolKeep);
}

#ifndef GLIA_MALLOC_POOLS
TEST(Pool, ServesWhatWasFreedBefore) {
  std::thread fresh([] {
    void* const block = pool_allocate(100);
    EXPECT_EQ(pool_kept(), 0u);
    pool_free(block, 100);
    EXPECT_EQ(pool_kept(), 2 * kPoolGrain);
    EXPECT_EQ(pool_allocate(2 * kPoolGrain), block);
    EXPECT_EQ(pool_kept(), 0u);
    pool_free(block, 2 * kPoolGrain);
  });
  fresh.join();
}
#endif

TEST(Pool, ABlockMayBeFreedByAnotherThread) {
  std::vector<void*> blocks;
  std::thread other([&] {
    for (int i = 0; i < 5000; ++i) blocks.push_back(pool_allocate(100));
  });
  other.join();
  for (void* block : blocks) pool_free(block, 100);
}

}  // namespace
}  // namespace glia
