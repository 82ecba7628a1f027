#include "proxy/admission/token_budget.h"

#include <gtest/gtest.h>

#include "proxy/base/random.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

class TokenBookTest : public testing::Test {
 protected:
  std::optional<TokenBook::Shortage> take(uint64_t tokens) {
    return book_.take(accounts_, tokens, now_);
  }
  uint64_t left(std::size_t i = 0) { return book_.standing(accounts_[i], now_).left; }

  const TokenBudget minute_{.name = "minute", .tokens = 600};
  const TokenBudget hour_{.name = "hour", .tokens = 1000, .per = 1h};
  std::vector<TokenAccount> accounts_ = {{"minute", &minute_}};
  TokenBook book_;
  TimePoint now_ = TimePoint() + 1h;
};

TEST_F(TokenBookTest, GivesWhatItHoldsAndFillsEvenly) {
  EXPECT_FALSE(take(400));
  EXPECT_EQ(left(), 200u);
  const auto shortage = take(300);
  ASSERT_TRUE(shortage);
  EXPECT_EQ(shortage->left, 200u);
  EXPECT_EQ(shortage->enough_in, 10s);  // Ten tokens a second.
  now_ += 10s;
  EXPECT_FALSE(take(300));
  EXPECT_EQ(left(), 0u);
  EXPECT_EQ(book_.standing(accounts_[0], now_).full_in, 60s);
  now_ += 2h;
  EXPECT_EQ(left(), 600u);
  EXPECT_EQ(book_.buckets(), 0u);
}

TEST_F(TokenBookTest, TakesWhatWasNotUsedBackAndOwesWhatWasUsedBeyond) {
  EXPECT_FALSE(take(500));
  book_.charge(accounts_, -450, now_);
  EXPECT_EQ(left(), 550u);
  book_.charge(accounts_, 850, now_);
  EXPECT_EQ(left(), 0u);
  EXPECT_EQ(take(1)->enough_in, 30100ms);
  now_ += 30s;
  EXPECT_EQ(left(), 0u);
  now_ += 1s;
  EXPECT_FALSE(take(10));
}

TEST_F(TokenBookTest, TakesFromAllOrFromNone) {
  accounts_.push_back({"hour", &hour_});
  EXPECT_FALSE(take(600));
  now_ += 60s;
  const auto shortage = take(500);
  ASSERT_TRUE(shortage);
  EXPECT_EQ(shortage->account, 1u);
  EXPECT_EQ(left(0), 600u);
}

TEST_F(TokenBookTest, MoreThanABucketHoldsIsTakenWhenItIsFull) {
  EXPECT_FALSE(take(1500));
  EXPECT_EQ(left(), 0u);
  EXPECT_EQ(take(1)->enough_in, 90100ms);
  now_ += 150s;
  EXPECT_FALSE(take(10));
  EXPECT_TRUE(take(1500));
}

TEST_F(TokenBookTest, ForgetsTheOldestBeyondItsLimit) {
  for (std::size_t i = 0; i < TokenBook::kMostBuckets + 5; ++i) {
    const TokenAccount account{cat("t", i), &minute_};
    EXPECT_FALSE(book_.take({&account, 1}, 100, now_));
  }
  EXPECT_EQ(book_.buckets(), TokenBook::kMostBuckets);
  const TokenAccount first{"t0", &minute_}, last{cat("t", TokenBook::kMostBuckets), &minute_};
  EXPECT_EQ(book_.standing(first, now_).left, 600u);
  EXPECT_EQ(book_.standing(last, now_).left, 500u);
}

// What is given, less what comes back, never passes what flowed in.
TEST_F(TokenBookTest, NeverGivesMoreThanItHoldsAndWhatFlowsIn) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    TokenBook book;
    TimePoint now = now_;
    double used = 0;
    for (int i = 0; i < 5000; ++i) {
      now += Duration(static_cast<int64_t>(random.below(1'000'000'000)));
      const uint64_t most = 1 + random.below(200);
      if (book.take(accounts_, most, now)) continue;
      const uint64_t really = random.below(most + 1);
      used += static_cast<double>(really);
      book.charge(accounts_, static_cast<int64_t>(really) - static_cast<int64_t>(most), now);
      ASSERT_LE(used, 600 + 10 * to_seconds(now - now_) + 1) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace glia
