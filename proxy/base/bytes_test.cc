#include "proxy/base/bytes.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "proxy/base/random.h"

namespace glia {
namespace {

std::string all_of(const ByteQueue& queue) {
  std::array<std::string_view, 64> pieces;
  std::string text;
  for (std::size_t i = 0, count = queue.front(pieces); i < count; ++i) text += pieces[i];
  return text;
}

TEST(Slice, KeepsItsBlockAliveAndSharesIt) {
  Block* block = Block::create(10);
  std::memcpy(block->data(), "0123456789", 10);
  Slice whole(block, block->data(), 10);
  EXPECT_TRUE(block->shared());
  const Slice front = whole.take_front(4);
  block->release();
  EXPECT_EQ(front.view(), "0123");
  EXPECT_EQ(whole.view(), "456789");
  Slice copy = whole;
  whole = Slice();
  copy.drop_front(5);
  EXPECT_EQ(copy.view(), "9");
}

TEST(ByteQueue, SmallWritesLeaveAsOnePiece) {
  ByteQueue queue;
  queue.append_copy("head ");
  queue.append(Slice::copy("first bytes"));
  std::array<std::string_view, 4> pieces;
  EXPECT_EQ(queue.front(pieces), 1u);
  EXPECT_EQ(pieces[0], "head first bytes");
}

TEST(ByteQueue, ALargeSliceIsNotCopied) {
  ByteQueue queue;
  const Slice large = Slice::copy(std::string(ByteQueue::kCopyBelow + 1, 'x'));
  queue.append_copy("a");
  queue.append(large);
  queue.append_copy("b");
  std::array<std::string_view, 4> pieces;
  ASSERT_EQ(queue.front(pieces), 3u);
  EXPECT_EQ(pieces[1].data(), large.data());
  EXPECT_EQ(pieces[2], "b");
}

TEST(ByteQueue, GivesFewerPiecesThanItHoldsIfAskedForFew) {
  ByteQueue queue;
  for (int i = 0; i < 3; ++i) queue.append(Slice::copy(std::string(2000, 'x')));
  std::array<std::string_view, 2> pieces;
  EXPECT_EQ(queue.front(pieces), 2u);
  EXPECT_EQ(queue.size(), 6000u);
}

TEST(ByteQueue, AMovedFromQueueIsEmptyAndUsable) {
  ByteQueue a;
  a.append_copy("abc");
  ByteQueue b(std::move(a));
  EXPECT_EQ(all_of(b), "abc");
  EXPECT_TRUE(a.empty());  // NOLINT: the promise under test
  a.append_copy("d");
  EXPECT_EQ(all_of(a), "d");
}

// The queue against a string that does the same, for many random histories.
TEST(ByteQueue, BehavesAsAStringInEveryOrderOfCalls) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    ByteQueue queue;
    std::string expected;
    for (int step = 0; step < 100; ++step) {
      const std::string text(random.below(3000), static_cast<char>('a' + random.below(26)));
      switch (random.below(5)) {
        case 0: queue.append_copy(text); break;
        case 1: queue.append(Slice::copy(text)); break;
        case 2: {
          char* room = queue.reserve(text.size() + 10);
          std::memcpy(room, text.data(), text.size());
          queue.commit(text.size());
          break;
        }
        case 3: {
          const std::size_t count = random.below(queue.size() + 1);
          queue.drop_front(count);
          expected.erase(0, count);
          continue;
        }
        default: {
          const Slice slice = queue.pop_slice();
          ASSERT_EQ(slice.view(), std::string_view(expected).substr(0, slice.size()));
          ASSERT_EQ(slice.empty(), expected.empty());
          expected.erase(0, slice.size());
          continue;
        }
      }
      expected += text;
      ASSERT_EQ(queue.size(), expected.size());
    }
    std::string rest;
    while (!queue.empty()) rest += queue.pop_slice().view();
    EXPECT_TRUE(rest == expected);
  }
}

}  // namespace
}  // namespace glia
