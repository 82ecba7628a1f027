// What is said of a candidate, in words and as a verdict.
#include "control_plane/canary/assess.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

using Measure = Canary::Measure;

// `requests` of which `errors` failed, each as long as the next but for a slow twentieth.
Observed observed(uint64_t requests, uint64_t errors, double ms = 100) {
  Observed all{{.requests = requests, .errors = errors}, 1};
  for (uint64_t i = 0; i < requests; ++i) {
    all.latency_ms.add(ms * (0.9 + 0.2 * double(i % 97) / 97));
  }
  return all;
}

TEST(Assess, ACandidateLikeTheStableVersionGoesOn) {
  const Assessment said = assess({}, observed(9000, 90), observed(1000, 10), {});
  EXPECT_EQ(said.verdict, Verdict::kAdvance) << said.reason;
  ASSERT_EQ(said.findings.size(), 3u);  // Nobody streams.
  EXPECT_EQ(said.findings[0].sentence,
            "Errors 1.00 % of 1000 against 1.00 % of 9000: worse by at most 1.12 points, 2.00 "
            "tolerated");
}

TEST(Assess, MoreErrorsThanToleratedAreNamedWithTheirNumbers) {
  const Assessment said = assess({}, observed(9000, 90), observed(1000, 80), {});
  EXPECT_EQ(said.verdict, Verdict::kRollBack);
  EXPECT_EQ(said.reason,
            "Errors 8.00 % of 1000 against 1.00 % of 9000: worse by at least 4.71 points, 2.00 "
            "tolerated");
}

TEST(Assess, FewRequestsTellNothingEitherWay) {
  const Assessment said = assess({}, observed(900, 9), observed(100, 3), {});
  EXPECT_EQ(said.verdict, Verdict::kHold);
  EXPECT_TRUE(said.reason.ends_with("not enough to tell")) << said.reason;
}

TEST(Assess, ASlowCandidateIsTakenBackAndALittleSlowerOneIsNot) {
  EXPECT_EQ(assess({}, observed(9000, 0), observed(1000, 0, 150), {}).verdict, Verdict::kRollBack);
  EXPECT_EQ(assess({}, observed(9000, 0), observed(1000, 0, 105), {}).verdict, Verdict::kAdvance);
  EXPECT_EQ(assess({}, observed(9000, 0), observed(1000, 0, 60), {}).verdict, Verdict::kAdvance);
}

TEST(Assess, ManyLooksMustBeSurerThanOne) {
  const Observed stable = observed(2000, 20), candidate = observed(500, 30);
  EXPECT_EQ(assess({}, stable, candidate, {.number = 1}).verdict, Verdict::kRollBack);
  EXPECT_EQ(assess({}, stable, candidate, {.number = 400}).verdict, Verdict::kHold);
}

TEST(Assess, AnAbsoluteBoundHoldsWhateverTheStableVersionDoes) {
  Canary::Analysis analysis;
  analysis.metrics = {{.name = Measure::kLatency, .maximum = 120}};
  const Observed slow = observed(9000, 0, 200);
  const Assessment broken = assess(analysis, slow, observed(1000, 0, 200), {});
  EXPECT_EQ(broken.verdict, Verdict::kRollBack);
  EXPECT_TRUE(broken.reason.ends_with(": the most is 120 ms")) << broken.reason;
  EXPECT_EQ(assess(analysis, slow, observed(1000, 0, 100), {}).verdict, Verdict::kAdvance);
}

TEST(Assess, FewerTokensASecondAreWorse) {
  Canary::Analysis analysis;
  analysis.metrics = {{.name = Measure::kTokensPerSecond, .percentile = 50, .minimum = 10}};
  const auto tokens = [](double speed) {
    Observed all{{.requests = 1000}, 1};
    for (int i = 0; i < 1000; ++i) all.tokens_per_second.add(speed * (0.9 + 0.0002 * i));
    return all;
  };
  EXPECT_EQ(assess(analysis, tokens(50), tokens(25), {}).verdict, Verdict::kRollBack);
  EXPECT_EQ(assess(analysis, tokens(50), tokens(90), {}).verdict, Verdict::kAdvance);
  const Assessment low = assess(analysis, tokens(5), tokens(5), {});
  EXPECT_EQ(low.verdict, Verdict::kRollBack);
  EXPECT_TRUE(low.reason.ends_with(": the least is 10.0 tokens/s")) << low.reason;
}

TEST(Assess, ACandidateThatHasStoppedToStreamDoesNotPass) {
  Observed stable = observed(9000, 0);
  for (int i = 0; i < 9000; ++i) stable.first_token_ms.add(50 + i % 10);
  const Assessment said = assess({}, stable, observed(1000, 0), {});
  EXPECT_EQ(said.verdict, Verdict::kHold);
  EXPECT_EQ(said.reason, "FirstToken p95 0.00 ms of 0 against 59.3 ms of 9000: too few to compare");
}

TEST(Assess, CopiesThatDifferTakeACandidateBackBeforeAnyoneIsAnsweredByIt) {
  Observed same{{}, 1}, other{{}, 1};
  same.shadow = {.sent = 1000, .compared = 1000};
  other.shadow = {.sent = 1000, .compared = 1000, .different = 100};
  // Keys of a stranger's JSON, on somebody's terminal.
  other.shadow.fields = {{"a", 1}, {"b", 2}, {"label", 99}, {"\x1b[2J", 40}};
  for (Observed* version : {&same, &other}) {
    for (int i = 0; i < 1000; ++i) {
      version->shadow.latency_ms.add(100 + i % 7);
      version->shadow.answered_latency_ms.add(100 + i % 7);
    }
  }
  const Look look{.shadow = true};
  EXPECT_EQ(assess({}, {}, same, look).verdict, Verdict::kAdvance);
  const Assessment wrong = assess({}, {}, other, look);
  EXPECT_EQ(wrong.verdict, Verdict::kRollBack);
  EXPECT_TRUE(wrong.reason.starts_with("ShadowDifferences 10.0 % of 1000: worse by at least"))
      << wrong.reason;
  EXPECT_TRUE(wrong.reason.ends_with("; they differ in label (99), \\u001b[2J (40), b (2)"))
      << wrong.reason;
  // Also if only another metric is named, which copies do not have.
  Canary::Analysis analysis;
  analysis.metrics = {{.name = Measure::kFirstToken}};
  EXPECT_EQ(assess(analysis, {}, other, look).verdict, Verdict::kRollBack);
}

// Ten sidecars, each with the same number of requests to a version of which `errors` of a thousand
// fail; the first one tells what `lie` makes of its own.
Observed told_by_ten(uint64_t errors, const Observed* lie) {
  Observed all{{}, 10};
  for (std::size_t sidecar = 0; sidecar < 10; ++sidecar) {
    const bool lies = sidecar == 0 && lie != nullptr;
    all.add_part(sidecar % Observed::kParts, lies ? *lie : observed(1000, errors));
  }
  return all;
}

TEST(Assess, OneSidecarThatTellsOfManyGoodRequestsDoesNotHideABadCandidate) {
  const Observed praise = observed(200'000, 0);
  const Observed stable = told_by_ten(10, nullptr), candidate = told_by_ten(100, &praise);
  // All in all there is next to nothing to see of it.
  ASSERT_LT(candidate.errors * 100, candidate.requests);
  const Assessment said = assess({}, stable, candidate, {});
  EXPECT_EQ(said.verdict, Verdict::kRollBack);
  EXPECT_TRUE(said.reason.starts_with("what a part of the sidecars tells hides it: Errors 10.0 %"))
      << said.reason;
  // Nor by a stable version that it makes as bad.
  const Observed slander = observed(200'000, 20'000);
  EXPECT_EQ(assess({}, told_by_ten(10, &slander), told_by_ten(100, nullptr), {}).verdict,
            Verdict::kRollBack);
}

TEST(Assess, OneSidecarAloneThatFindsAGoodCandidateBadHoldsIt) {
  const Observed slander = observed(5000, 5000);
  const Assessment said = assess({}, told_by_ten(10, nullptr), told_by_ten(10, &slander), {});
  EXPECT_EQ(said.verdict, Verdict::kHold);
  EXPECT_TRUE(
      said.reason.starts_with("a part of the sidecars contradicts all others, which find "
                              "no fault: Errors 3"))
      << said.reason;
}

TEST(Assess, HonestSidecarsAreJudgedAsOne) {
  EXPECT_EQ(assess({}, told_by_ten(10, nullptr), told_by_ten(10, nullptr), {}).verdict,
            Verdict::kAdvance);
  EXPECT_EQ(assess({}, told_by_ten(10, nullptr), told_by_ten(80, nullptr), {}).verdict,
            Verdict::kRollBack);
}

// Nearly all requests come from one caller, as from a gateway.
TEST(Assess, AGatewayIsBelievedAsLongAsTheOthersHaveTooFewRequestsToContradictIt) {
  Observed stable{{}, 3}, good{{}, 3}, bad{{}, 3};
  for (const std::size_t part : {1u, 2u}) {
    for (Observed* version : {&stable, &good, &bad}) version->add_part(part, observed(20, 0));
  }
  stable.add_part(0, observed(9000, 90));
  good.add_part(0, observed(2000, 20));
  bad.add_part(0, observed(2000, 200));
  EXPECT_EQ(assess({}, stable, good, {}).verdict, Verdict::kAdvance);
  EXPECT_EQ(assess({}, stable, bad, {}).verdict, Verdict::kRollBack);
}

}  // namespace
}  // namespace glia
