// Bounds against values from tables and against samples whose truth is known.
#include "control_plane/canary/bounds.h"

#include <gtest/gtest.h>

#include <cmath>

#include "proxy/base/random.h"

namespace glia {
namespace {

TEST(Bounds, TheBinomialDistributionIsThatOfTheTables) {
  EXPECT_NEAR(binomial_up_to(2, 10, 0.5), 56.0 / 1024, 1e-9);
  EXPECT_NEAR(binomial_up_to(0, 20, 0.1), std::pow(0.9, 20), 1e-9);
  EXPECT_NEAR(binomial_up_to(10, 100, 0.1), 0.5831555, 1e-6);
  EXPECT_EQ(binomial_up_to(10, 10, 0.3), 1);
}

TEST(Bounds, AShareHasTheExactBounds) {
  // Clopper and Pearson for 10 of 100, 95 % on both sides together.
  const Bounds ten = share_bounds(10, 100, 0.025);
  EXPECT_NEAR(ten.low, 0.0490, 1e-4);
  EXPECT_NEAR(ten.high, 0.1762, 1e-4);
  const Bounds none = share_bounds(0, 100, 0.05);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.0295, 1e-4);  // The rule of three.
  const Bounds all = share_bounds(100, 100, 0.05);
  EXPECT_NEAR(all.low, 0.9705, 1e-4);
  EXPECT_EQ(all.high, 1);
  const Bounds many = share_bounds(10'000, 1'000'000, 1e-6);
  EXPECT_NEAR(many.low, 0.01 - 4.75e-4, 1e-5);
  EXPECT_NEAR(many.high, 0.01 + 4.75e-4, 2e-5);
}

TEST(Bounds, OfNothingEverythingIsPossible) {
  EXPECT_EQ(share_bounds(0, 0, 0.01).high, 1);
  EXPECT_EQ(quantile_bounds({}, 0.95, 0.01).high, INFINITY);
  const Bounds ratio = ratio_bounds(quantile_bounds({}, 0.95, 0.01), {1, 2, 3});
  EXPECT_LT(ratio.low, 1e-6);
  EXPECT_EQ(ratio.high, INFINITY);
}

TEST(Bounds, AHighPercentileOfFewValuesHasNoUpperBound) {
  Sketch few, enough;
  for (int i = 1; i <= 60; ++i) few.add(i);
  for (int i = 1; i <= 200; ++i) enough.add(i);
  EXPECT_EQ(quantile_bounds(few, 0.95, 0.01).high, INFINITY);
  const Bounds bounds = quantile_bounds(enough, 0.95, 0.01);
  EXPECT_LT(bounds.high, 203);
  EXPECT_GT(bounds.high, bounds.value);
  EXPECT_LT(bounds.low, bounds.value);
}

// Misses more often than `error` would break the promise; hardly ever missing would be useless.
TEST(Bounds, MissTheTruthAsOftenAsTheySay) {
  constexpr double kError = 0.05;
  constexpr int kTimes = 2000;
  Random random(7);
  int share_misses = 0, quantile_misses = 0, ratio_misses = 0;
  for (int i = 0; i < kTimes; ++i) {
    uint64_t a = 0, b = 0;
    Sketch x, y;
    for (int k = 0; k < 400; ++k) {
      a += random.unit() < 0.03 ? 1 : 0;
      b += random.unit() < 0.03 ? 1 : 0;
      x.add(-std::log(1 - random.unit()));
      y.add(-std::log(1 - random.unit()));
    }
    const Bounds of_a = share_bounds(a, 400, kError), of_b = share_bounds(b, 400, kError);
    share_misses += difference_bounds(of_a, of_b).low > 0 ? 1 : 0;
    const Bounds of_x = quantile_bounds(x, 0.9, kError), of_y = quantile_bounds(y, 0.9, kError);
    quantile_misses += of_x.low > std::log(10) ? 1 : 0;
    ratio_misses += ratio_bounds(of_x, of_y).high < 1 ? 1 : 0;
  }
  const auto rate = [](int misses) { return double(misses) / kTimes; };
  EXPECT_LT(rate(share_misses), kError);
  EXPECT_GT(rate(share_misses), kError / 10);
  EXPECT_LT(rate(quantile_misses), kError * 1.3);  // Buckets are 2 % wide.
  EXPECT_GT(rate(quantile_misses), kError / 10);
  EXPECT_LT(rate(ratio_misses), kError * 1.3);
  EXPECT_GT(rate(ratio_misses), kError / 10);
}

}  // namespace
}  // namespace glia
