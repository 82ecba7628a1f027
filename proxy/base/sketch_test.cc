#include "proxy/base/sketch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace glia {
namespace {

TEST(Sketch, QuantilesAreOffByOnePercentAtMost) {
  for (const double scale : {1e-6, 0.37, 1.0, 12.6}) {
    Sketch sketch;
    for (int n = 1; n <= 10'000; ++n) sketch.add(scale * n * n);
    for (const double share : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const double n = 1 + std::floor(share * 9'999), exact = scale * n * n;
      EXPECT_NEAR(sketch.quantile(share), exact, 0.011 * exact) << scale << " " << share;
    }
  }
}

TEST(Sketch, ASumIsAsIfAllHadBeenAddedToOne) {
  Sketch all, one, other;
  for (int n = 0; n < 1'000; ++n) {
    const double value = 1'000.0 / (n + 1);
    all.add(value);
    (n % 3 == 0 ? one : other).add(value);
  }
  one.add(0);
  all.add(0);
  one.add(other);
  EXPECT_EQ(one.count(), all.count());
  EXPECT_EQ(one.zeros(), 1u);
  EXPECT_EQ(one.first(), all.first());
  EXPECT_TRUE(std::ranges::equal(one.counts(), all.counts()));
  EXPECT_NEAR(one.sum(), all.sum(), 1e-9 * all.sum());
}

TEST(Sketch, CountsWhatDoesNotExceedAValue) {
  Sketch sketch;
  for (int n = 0; n <= 100; ++n) sketch.add(n);
  EXPECT_EQ(sketch.count_up_to(-1), 0u);
  EXPECT_EQ(sketch.count_up_to(0), 1u);
  EXPECT_EQ(sketch.count_up_to(16), 17u);
  EXPECT_EQ(sketch.count_up_to(1e9), 101u);
}

TEST(Sketch, OddValuesHavePlaces) {
  Sketch sketch;
  sketch.add(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(sketch.count(), 0u);
  sketch.add(-5);
  sketch.add(std::numeric_limits<double>::infinity());
  sketch.add(1e300);
  EXPECT_EQ(sketch.count(), 3u);
  EXPECT_EQ(sketch.zeros(), 1u);
  EXPECT_EQ(sketch.first(), Sketch::kMost);
  EXPECT_TRUE(std::isfinite(sketch.sum()));
  EXPECT_EQ(Sketch().quantile(0.5), 0);
}

TEST(Sketch, RefusesBucketsThatDoNotExist) {
  const std::vector<uint64_t> two = {1, 1};
  Sketch sketch;
  EXPECT_FALSE(sketch.add(0, Sketch::kMost, two, 1));
  EXPECT_FALSE(sketch.add(0, Sketch::kLeast, two, 1));
  EXPECT_FALSE(sketch.add(0, std::numeric_limits<int>::max(), two, 1));
  EXPECT_FALSE(sketch.add(0, 0, two, std::nan("")));
  EXPECT_EQ(sketch.count(), 0u);
  EXPECT_TRUE(sketch.add(1, Sketch::kMost - 1, two, 1));
  EXPECT_EQ(sketch.count(), 3u);
}

}  // namespace
}  // namespace glia
