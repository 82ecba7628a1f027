// Which endpoint knows how much of a prompt, within the memory there is.
#include "proxy/mesh/prefix_index.h"

#include <gtest/gtest.h>

#include "proxy/base/random.h"

namespace glia {
namespace {

// A chain of `blocks` hashes that begins like every other of the same `seed`.
std::vector<uint64_t> chain(uint64_t seed, std::size_t blocks, uint64_t tail_seed = 0,
                            std::size_t tail = 0) {
  std::vector<uint64_t> hashes;
  Random random(seed);
  for (std::size_t i = 0; i < blocks; ++i) hashes.push_back(random.next());
  Random rest(tail_seed);
  for (std::size_t i = 0; i < tail; ++i) hashes.push_back(rest.next());
  return hashes;
}

void remember(PrefixIndex& index, std::size_t place, const std::vector<uint64_t>& hashes) {
  index.look(hashes);
  index.remember(place);
}

TEST(PrefixIndexTest, SaysHowFarEachKnowsAPrompt) {
  PrefixIndex index(1000);
  const std::size_t a = index.open(), b = index.open(), c = index.open();
  const auto shared = chain(1, 50), longer = chain(1, 50, 2, 30);
  remember(index, a, shared);
  remember(index, b, longer);
  index.look(longer);
  EXPECT_EQ(index.depth(a), 48u) << "the last whole step";
  EXPECT_EQ(index.depth(b), 80u);
  EXPECT_EQ(index.depth(c), 0u);
  index.look(chain(1, 50, 3, 30));
  EXPECT_EQ(index.depth(b), 48u);
  index.look(chain(9, 10));
  EXPECT_EQ(index.depth(a), 0u);
  EXPECT_EQ(index.steps(), 8u + 18);
  EXPECT_EQ(index.blocks(a), 48u);
  EXPECT_EQ(index.blocks(b), 80u);
}

TEST(PrefixIndexTest, ForgetsWhatWasNotSeenForLongestOnceItIsFull) {
  PrefixIndex index(100);
  const std::size_t place = index.open();
  const auto hot = chain(1, 20);
  remember(index, place, hot);
  for (uint64_t seed = 2; seed < 200; ++seed) {
    remember(index, place, chain(seed, 20));
    remember(index, place, hot);
  }
  EXPECT_LE(index.blocks(place), 100u);
  EXPECT_GT(index.blocks(place), 100 - PrefixIndex::kCoarse);
  index.look(hot);
  EXPECT_EQ(index.depth(place), 20u);
  index.look(chain(2, 20));
  EXPECT_EQ(index.depth(place), 0u);
}

TEST(PrefixIndexTest, KeepsTheBeginningOfAPromptThatIsLongerThanItsMemory) {
  PrefixIndex index(10);
  const std::size_t place = index.open();
  const auto prompt = chain(1, 100);
  for (int i = 0; i < 3; ++i) remember(index, place, prompt);
  index.look(prompt);
  EXPECT_EQ(index.depth(place), 8u);
}

// However long a prompt is, what is known of it is off by less than a step.
TEST(PrefixIndexTest, KnowsLongPromptsToWithinAStep) {
  PrefixIndex index(100'000);
  const std::size_t place = index.open();
  for (const std::size_t shared : {1, 7, 8, 9, 11, 12, 63, 64, 65, 71, 72, 1000, 2047, 2048}) {
    remember(index, place, chain(shared + 10, shared, 1, 5));
    index.look(chain(shared + 10, shared, 2, 5));
    EXPECT_EQ(index.depth(place), PrefixIndex::seen(shared));
    EXPECT_GE(static_cast<double>(index.depth(place)), 0.72 * static_cast<double>(shared));
  }
}

TEST(PrefixIndexTest, GivesBackAPlaceWithAllThatWasThere) {
  PrefixIndex index(1000);
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < PrefixIndex::kPlaces; ++i) places.push_back(index.open());
  EXPECT_EQ(index.open(), PrefixIndex::kPlaces);
  const auto prompt = chain(1, 40);
  for (const std::size_t place : places) remember(index, place, prompt);
  EXPECT_EQ(index.steps(), 8u + 8);
  index.close(places[7]);
  EXPECT_EQ(index.open(), places[7]);
  index.look(prompt);
  EXPECT_EQ(index.depth(places[7]), 0u);
  EXPECT_EQ(index.depth(places[8]), 40u);
  for (const std::size_t place : places) index.close(place);
  EXPECT_EQ(index.steps(), 0u);
}

// Against a plain model: sets of blocks without a limit.
TEST(PrefixIndexTest, AgreesWithSetsWhileNothingIsForgotten) {
  Random random(7);
  PrefixIndex index(100'000);
  std::vector<std::vector<bool>> knows(8, std::vector<bool>(64 * 32));
  for (int i = 0; i < 8; ++i) index.open();
  // 64 prompts of 32 blocks that share nothing; beginnings of any length are remembered.
  for (int round = 0; round < 2000; ++round) {
    const std::size_t prompt = random.below(64), length = 1 + random.below(32);
    const std::size_t place = random.below(8);
    const auto hashes = chain(prompt + 1, 32);
    if (random.below(50) == 0) {
      index.close(place);
      ASSERT_LT(index.open(), 8u);
      knows[place].assign(64 * 32, false);
    }
    index.look(std::span(hashes).first(length));
    index.remember(place);
    for (std::size_t i = 0; i < length; ++i) knows[place][prompt * 32 + i] = true;
    index.look(hashes);
    for (std::size_t other = 0; other < 8; ++other) {
      std::size_t depth = 0;
      while (depth < 32 && knows[other][prompt * 32 + depth]) ++depth;
      ASSERT_EQ(index.depth(other), PrefixIndex::seen(depth)) << round;
    }
  }
}

TEST(PrefixIndexTest, NeverHoldsMoreThanItsLimitOfBlocks) {
  PrefixIndex index(31'250);
  std::vector<std::size_t> places;
  for (int i = 0; i < 20; ++i) places.push_back(index.open());
  for (uint64_t seed = 1; seed < 80'000; ++seed) {
    remember(index, places[seed % 20], chain(seed, 8));
  }
  EXPECT_LE(index.steps(), PrefixIndex::kMostBlocks);
  EXPECT_GT(index.steps(), PrefixIndex::kMostBlocks - 10);
  EXPECT_LT(index.bytes(), PrefixIndex::kMostBlocks * 110);
}

}  // namespace
}  // namespace glia
