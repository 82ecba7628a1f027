#include "proxy/base/random.h"

#include <gtest/gtest.h>

#include <array>

namespace glia {
namespace {

TEST(Random, TheSameSeedGivesTheSameNumbers) {
  Random a(7), b(7), c(8);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t number = a.next();
    EXPECT_EQ(number, b.next());
    differs |= number != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, IsUniformBelowABound) {
  Random random(1);
  std::array<int, 10> seen = {};
  for (int i = 0; i < 100'000; ++i) ++seen[random.below(10)];
  // Ten standard deviations; the seed is fixed, so this either holds or never does.
  for (const int count : seen) EXPECT_NEAR(count, 10'000, 950);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(random.below(1), 0u);
  for (int i = 0; i < 1000; ++i) {
    const double unit = random.unit();
    EXPECT_TRUE(unit >= 0 && unit < 1);
  }
}

}  // namespace
}  // namespace glia
