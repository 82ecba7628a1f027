#include "proxy/flow/kept_body.h"

#include <gtest/gtest.h>

#include <string>

namespace glia {
namespace {

// `pieces` times the same text, then the end.
class Source final : public Body {
 public:
  Source(std::string text, int pieces) : text_(std::move(text)), left_(pieces) {}
  Piece poll() override {
    if (left_ == 0) return {State::kEnd, {}};
    --left_;
    return {State::kData, Slice::copy(text_)};
  }
  void wait(Waiter&) override {}

 private:
  std::string text_;
  int left_;
};

std::string take(Body& body, int pieces = 1000000) {
  std::string all;
  while (pieces-- > 0) {
    const Body::Piece piece = body.poll();
    if (piece.state != Body::State::kData) break;
    all += piece.data.view();
  }
  return all;
}

TEST(KeptBody, GivesTheSameBytesAgainAsOftenAsAsked) {
  KeptBody body(std::make_unique<Source>("abc", 5));
  EXPECT_EQ(take(body, 2), "abcabc");
  for (int pieces : {1, 3, 4}) {
    ASSERT_TRUE(body.rewind());
    EXPECT_EQ(take(body, pieces).size(), 3u * static_cast<std::size_t>(pieces));
  }
  ASSERT_TRUE(body.rewind());
  EXPECT_EQ(take(body), "abcabcabcabcabc");
  ASSERT_TRUE(body.rewind());
  EXPECT_EQ(take(body), "abcabcabcabcabc");
}

TEST(KeptBody, CannotBeginAgainAboveItsLimit) {
  const std::string half(KeptBody::kMost / 2, 'x');
  KeptBody fits(std::make_unique<Source>(half, 2));
  EXPECT_EQ(take(fits).size(), KeptBody::kMost);
  EXPECT_TRUE(fits.rewind());
  EXPECT_EQ(take(fits).size(), KeptBody::kMost);
  KeptBody above(std::make_unique<Source>(half + "x", 2));
  EXPECT_EQ(take(above).size(), KeptBody::kMost + 2);
  EXPECT_FALSE(above.rewind());
}

// A caller that sends single bytes cannot make it hold a block for each of them.
TEST(KeptBody, CountsSmallPiecesAsWhatTheyTake) {
  constexpr int kMostPieces = KeptBody::kMost / KeptBody::kLeastCost;
  KeptBody fits(std::make_unique<Source>("x", kMostPieces));
  take(fits);
  EXPECT_TRUE(fits.rewind());
  KeptBody above(std::make_unique<Source>("x", kMostPieces + 1));
  EXPECT_EQ(take(above).size(), std::size_t{kMostPieces} + 1);
  EXPECT_FALSE(above.rewind());
}

TEST(KeptBody, LosesNothingWhenTheLimitIsReachedTheSecondTime) {
  const std::string half(KeptBody::kMost / 2, 'x');
  KeptBody body(std::make_unique<Source>(half, 5));
  take(body, 2);
  ASSERT_TRUE(body.rewind());
  EXPECT_EQ(take(body).size(), half.size() * 5);
  EXPECT_FALSE(body.rewind());
}

TEST(KeptBody, ForgetsOnlyWhatWasGiven) {
  KeptBody body(std::make_unique<Source>("abc", 4));
  take(body, 3);
  ASSERT_TRUE(body.rewind());
  take(body, 1);
  body.forget();
  EXPECT_EQ(take(body), "abcabcabc");
  EXPECT_FALSE(body.rewind());
}

}  // namespace
}  // namespace glia
