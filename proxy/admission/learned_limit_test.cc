#include "proxy/admission/learned_limit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>
#include <vector>

#include "proxy/base/random.h"

namespace glia {
namespace {

// An application with so many slots, and a line inside; always more requests than it can take.
class Application {
 public:
  Application(int slots, double spread, uint64_t seed)
      : slots_(slots), spread_(spread), random_(seed) {}

  // For `seconds`, as many at once as the limit says; returns the work done, in mean services.
  double run(LearnedLimit& limit, double seconds) {
    const double until = now_ + seconds;
    double done = 0;
    while (now_ < until) {
      while (in_flight_ < limit.value()) {
        ++in_flight_;
        line_.push_back(now_);
      }
      start();
      const Running next = running_.top();
      running_.pop();
      now_ = next.ends;
      limit.ended(Duration(static_cast<int64_t>((now_ - next.begun) * 1e9)), in_flight_--);
      ++done;
      limits_.push_back(limit.value());
    }
    return done;
  }
  // Of the last `count` moments.
  uint32_t median(std::size_t count) {
    std::vector<uint32_t> last(limits_.end() - static_cast<std::ptrdiff_t>(count), limits_.end());
    std::ranges::nth_element(last, last.begin() + static_cast<std::ptrdiff_t>(count / 2));
    return last[count / 2];
  }
  void slower(double times) { service_ *= times; }

 private:
  struct Running {
    double ends, begun;
    bool operator<(const Running& other) const { return ends > other.ends; }
  };
  void start() {
    while (!line_.empty() && running_.size() < static_cast<std::size_t>(slots_)) {
      running_.push({now_ + service(), line_.front()});
      line_.pop_front();
    }
  }
  // Lognormal with the mean service_.
  double service() {
    const double angle = 2 * M_PI * random_.unit();
    const double normal = std::sqrt(-2 * std::log(1 - random_.unit())) * std::cos(angle);
    return service_ * std::exp(spread_ * normal - spread_ * spread_ / 2);
  }
  const int slots_;
  const double spread_;
  Random random_;
  double service_ = 1, now_ = 0;
  uint32_t in_flight_ = 0;
  std::deque<double> line_;
  std::priority_queue<Running> running_;
  std::vector<uint32_t> limits_;
};

struct Case {
  int slots;
  double spread;
};

class LearnedLimitTest : public testing::TestWithParam<Case> {};

TEST_P(LearnedLimitTest, FindsWhatTheApplicationWorksOnAtOnceUnderSteadyOverload) {
  const auto [slots, spread] = GetParam();
  Application application(slots, spread, 7);
  LearnedLimit limit(1000);
  application.run(limit, 200);  // Of mean services: a large application is found in longer steps.
  const double seconds = 20'000.0 / slots;
  const double done = application.run(limit, seconds);
  EXPECT_GT(done / (slots * seconds), 0.9);
  const uint32_t median = application.median(10'000);
  EXPECT_GE(median, static_cast<uint32_t>(0.9 * slots));
  EXPECT_LE(median, static_cast<uint32_t>(1.6 * slots) + 2);
  std::printf("%d slots, spread %.1f: %.3f of the work, limit %u\n", slots, spread,
              done / (slots * seconds), median);
}

TEST_P(LearnedLimitTest, KeepsTheApplicationBusyWhenItBecomesSlower) {
  const auto [slots, spread] = GetParam();
  Application application(slots, spread, 11);
  LearnedLimit limit(1000);
  application.run(limit, 200);
  application.slower(3);
  application.run(limit, 600);
  const double seconds = 60'000.0 / slots;
  const double done = application.run(limit, seconds);
  EXPECT_GT(3 * done / (slots * seconds), 0.85);
  std::printf("%d slots, spread %.1f, slower: %.3f of the work, limit %u\n", slots, spread,
              3 * done / (slots * seconds), application.median(10'000));
  EXPECT_LE(application.median(10'000), static_cast<uint32_t>(1.6 * slots) + 2);
}

INSTANTIATE_TEST_SUITE_P(Applications, LearnedLimitTest,
                         testing::Values(Case{4, 0.3}, Case{4, 1.0}, Case{16, 0.3}, Case{16, 1.0},
                                         Case{128, 0.3}, Case{128, 1.0}));

TEST(LearnedLimit, LearnsNothingWhileRequestsDoNotComeUpToIt) {
  LearnedLimit limit(1000);
  for (int i = 0; i < 10'000; ++i) limit.ended(1s * (1 + i % 5), 3);
  EXPECT_EQ(limit.value(), LearnedLimit::kFirst);
}

// Work takes a tenth of a second for each that is at work: more at once brings nobody anything.
TEST(LearnedLimit, DoesNotGrowToWhereWorkTakesAsLongAsCallersWait) {
  const auto after = [](std::optional<Duration> patience) {
    LearnedLimit limit(1000);
    uint32_t most = 0;
    for (int i = 0; i < 20'000; ++i) {
      limit.ended(100ms * limit.value(), limit.value(), patience);
      most = std::max(most, limit.value());
    }
    return most;
  };
  EXPECT_GE(after({}), 18u);
  EXPECT_EQ(after(2s), 16u);
  // Nobody could be answered in that time: nothing is learned of how much is possible.
  EXPECT_EQ(after(1ms), 16u);
  EXPECT_GE(after(10s), 18u);
}

// Work that takes as long however much of it there is, by chance more or less, and callers who wait hardly
// longer.
TEST(LearnedLimit, DoesNotShrinkByChanceWhereCallersWaitHardlyLonger) {
  LearnedLimit limit(1000);
  Random random(5);
  for (int i = 0; i < 20'000; ++i) {
    limit.ended(Duration(random.below(2'000'000'000)), limit.value(), 1100ms);
  }
  EXPECT_GE(limit.value(), 8u);  // Lowered for a look at times.
}

TEST(LearnedLimit, StaysBelowTheMost) {
  LearnedLimit limit(20);
  for (int i = 0; i < 10'000; ++i) limit.ended(1s, limit.value());
  EXPECT_LE(limit.value(), 20u);
  EXPECT_GE(limit.value(), 14u);  // Lowered for a look at times.
  limit.most(5);
  EXPECT_LE(limit.value(), 5u);
}

TEST(LearnedLimit, NeverFallsBelowOne) {
  LearnedLimit limit(1000);
  Duration took = 1ms;
  for (int i = 0; i < 100'000; ++i) {
    limit.ended(took, limit.value());
    if (i % 100 == 0) took = took * 11 / 10;
    if (took > 1h) took = 1ms;
    ASSERT_GE(limit.value(), 1u);
  }
}

}  // namespace
}  // namespace glia
