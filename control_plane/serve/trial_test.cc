// Who may stop a change, and who may not.
#include "control_plane/serve/trial.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

using Word = Trial::Word;
using Outcome = Trial::Outcome;

constexpr TimePoint kStart{1000s};

// One letter a sidecar, each of an identity of its own: accepted, refused, silent; "/" begins the
// next namespace.
Trial trial(std::string_view words) {
  Trial trial(kStart);
  int ns = 0, number = 0;
  for (const char letter : words) {
    if (letter == '/') {
      ++ns;
      continue;
    }
    const Word word = letter == 'a'   ? Word::kAccepted
                      : letter == 'r' ? Word::kRefused
                                      : Word::kNothing;
    trial.add({.workload = cat("ns", ns, "/w", ++number),
               .ns = cat("ns", ns),
               .identity = cat("id", number),
               .word = word});
  }
  return trial;
}
Outcome soon(std::string_view words) { return trial(words).outcome(kStart); }
Outcome late(std::string_view words) { return trial(words).outcome(kStart + Trial::kWait); }

TEST(Trial, WhatAllAcceptGoesOn) {
  EXPECT_EQ(soon("a"), Outcome::kPassed);
  EXPECT_EQ(soon("aaa/aa"), Outcome::kPassed);
  EXPECT_EQ(soon("s"), Outcome::kOpen);
  EXPECT_EQ(soon("as"), Outcome::kOpen);
}

TEST(Trial, ARefusalStopsAChange) {
  EXPECT_EQ(soon("r"), Outcome::kStopped);
  EXPECT_EQ(soon("ar"), Outcome::kStopped) << "nobody knows which of the two is right";
  EXPECT_EQ(soon("rr"), Outcome::kStopped);
  EXPECT_EQ(soon("aar/r"), Outcome::kStopped) << "two never lie at once";
  EXPECT_EQ(late("rss"), Outcome::kStopped) << "silence speaks for nothing";
}

TEST(Trial, OneAloneDoesNotStopWhatTwoOthersAccept) {
  EXPECT_EQ(soon("aar"), Outcome::kPassed);
  EXPECT_EQ(soon("r/aa"), Outcome::kPassed);
  EXPECT_EQ(soon("ars"), Outcome::kOpen) << "the third may still accept, or refuse";
}

TEST(Trial, SilenceHoldsNothingUpForLong) {
  EXPECT_EQ(soon("aas"), Outcome::kPassed) << "others of the namespace have spoken";
  EXPECT_EQ(soon("aaa/s"), Outcome::kOpen);
  EXPECT_EQ(late("aaa/s"), Outcome::kPassed);
  EXPECT_EQ(late("sss"), Outcome::kPassed);
}

TEST(Trial, AnIdentityHasOneVoteAndANamespaceAFew) {
  Trial few(kStart);
  for (std::size_t i = 0; i < Trial::kOfNamespace; ++i) {
    const std::string identity = cat("id", i);
    ASSERT_TRUE(few.wants("shop", identity));
    few.add({.workload = cat("shop/w", i), .ns = "shop", .identity = identity});
    EXPECT_FALSE(few.wants("bank", identity)) << "it has its vote";
  }
  EXPECT_FALSE(few.wants("shop", "another"));
  EXPECT_TRUE(few.wants("bank", "another"));
}

TEST(Trial, OnlySoManyAreAsked) {
  Trial many(kStart);
  for (std::size_t i = 0; i < Trial::kMost; ++i) {
    const std::string ns = cat("ns", i);
    ASSERT_TRUE(many.wants(ns, ns));
    many.add({.workload = cat(ns, "/w"), .ns = ns, .identity = ns});
  }
  EXPECT_FALSE(many.wants("more", "more"));
}

}  // namespace
}  // namespace glia
