// One canary step by step: what it waits for, and why it goes on or back.
#include "control_plane/canary/canary_run.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

constexpr WallTime kStart{std::chrono::hours(500'000)};

Canary canary() {
  Canary made;
  made.metadata.name = "c";
  made.spec.target_ref.name = "classify";
  made.spec.candidate.service = "classify-v2";
  made.spec.steps = {{.weight = 10}, {.weight = 50}};
  return made;
}

Observed observed(uint64_t requests, uint64_t errors) {
  Observed all{{.requests = requests, .errors = errors}, 2};
  for (uint64_t i = 0; i < requests; ++i) all.latency_ms.add(100 + double(i % 20));
  return all;
}

CanaryRun::Observation good(uint64_t requests = 1000) {
  return {.passed = 10s,
          .now = kStart + 1h,
          .stable = observed(requests, requests / 100),
          .candidate = observed(requests, requests / 100)};
}
CanaryRun::Observation bad() {
  CanaryRun::Observation seen = good();
  seen.candidate = observed(1000, 100);
  return seen;
}

TEST(CanaryRun, AGoodVersionGoesStepByStepToAllRequests) {
  CanaryRun run(canary(), kStart);
  EXPECT_EQ(run.split(), (Canary::Split{.weight = 10, .open = true}));
  run.observe(good());
  EXPECT_EQ(run.split(), (Canary::Split{.weight = 50, .open = true}));
  EXPECT_TRUE(run.state().reason.starts_with("passed 10 %: Errors 1.00 % of 1000 against"))
      << run.state().reason;
  run.observe(good());
  EXPECT_EQ(run.state().phase, CanaryPhase::kPromoted);
  EXPECT_EQ(run.split(), (Canary::Split{.weight = 100, .open = true}));
  EXPECT_EQ(run.state().touched, 2000u);
  EXPECT_FALSE(run.is_open());
}

TEST(CanaryRun, ABadVersionIsTakenBackAtOnceWithTheNumbers) {
  CanaryRun run(canary(), kStart);
  run.observe(bad());
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
  EXPECT_EQ(run.split(), Canary::Split{});
  EXPECT_TRUE(run.state().reason.starts_with("Errors 10.0 % of 1000 against 1.00 % of 1000: worse"))
      << run.state().reason;
}

TEST(CanaryRun, WaitsForTheLeastNumberOfRequestsToEachVersion) {
  CanaryRun run(canary(), kStart);
  run.observe(good(40));
  EXPECT_EQ(run.state().reason, "the candidate has had 40 of at least 100 requests");
  CanaryRun::Observation seen = good(10);
  seen.candidate = observed(500, 5);
  run.observe(seen);
  EXPECT_EQ(run.state().reason, "the stable version has had 50 of at least 100 requests");
  EXPECT_EQ(run.state().stage, 0u);
}

TEST(CanaryRun, WithoutReportsItHolds) {
  CanaryRun run(canary(), kStart);
  CanaryRun::Observation seen = good();
  seen.candidate = {};
  run.observe(seen);
  EXPECT_EQ(run.state().phase, CanaryPhase::kProgressing);
  EXPECT_EQ(run.state().reason, "no sidecar reports of the candidate");
}

TEST(CanaryRun, ALateSidecarHoldsItButDoesNotSaveABadOne) {
  CanaryRun run(canary(), kStart);
  CanaryRun::Observation seen = good();
  seen.stable.late = 1;
  run.observe(seen);
  EXPECT_EQ(run.state().stage, 0u);
  EXPECT_EQ(run.state().reason, "1 sidecar has not reported in time");
  seen = bad();
  seen.candidate = observed(3000, 300);
  seen.stable.late = 1;
  run.observe(seen);
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
}

TEST(CanaryRun, OneSidecarThatCannotBeBelievedNeitherHoldsItNorSavesABadOne) {
  CanaryRun run(canary(), kStart);
  CanaryRun::Observation seen = good();
  seen.candidate.disbelieved = seen.stable.disbelieved = 1;
  run.observe(seen);
  EXPECT_EQ(run.state().stage, 1u);
  seen = bad();
  seen.candidate.disbelieved = 1;
  run.observe(seen);
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
}

TEST(CanaryRun, WithAsManyLiarsAsOthersItDoesNotGoOn) {
  CanaryRun run(canary(), kStart);
  CanaryRun::Observation seen = good();
  seen.candidate.disbelieved = 2;
  run.observe(seen);
  EXPECT_EQ(run.state().stage, 0u);
  EXPECT_EQ(run.state().reason,
            "only 2 of 4 sidecars can be believed; 2 reported what cannot be true");
  seen = good();
  seen.candidate = {};
  seen.candidate.disbelieved = 1;
  run.observe(seen);
  EXPECT_EQ(run.state().reason,
            "no sidecar reports of the candidate; 1 reported what cannot be true");
  CanaryRun::Observation worse = bad();
  worse.candidate = observed(3000, 300);
  worse.candidate.disbelieved = 2;
  run.observe(worse);
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
}

TEST(CanaryRun, WhatIsForgottenTakesWhatIsKnownWithIt) {
  CanaryRun run(canary(), kStart);
  CanaryRun::Observation seen = bad();
  seen.candidate.forgotten = true;
  run.observe(seen);
  EXPECT_EQ(run.state().phase, CanaryPhase::kProgressing);
  EXPECT_EQ(run.state().reason, "more was reported than can be kept");
  EXPECT_EQ(run.candidate().requests, 0u);
  run.observe(good());
  EXPECT_EQ(run.state().stage, 1u);
}

TEST(CanaryRun, AStepThatPausesLastsSoLong) {
  Canary made = canary();
  made.spec.steps[0].pause = 25s;
  CanaryRun run(made, kStart);
  run.observe(good());
  run.observe(good());
  EXPECT_EQ(run.state().stage, 0u);
  run.observe(good());
  EXPECT_EQ(run.state().stage, 1u);
}

TEST(CanaryRun, AStepUntilResumedWaitsForAPersonAndIsStillJudged) {
  Canary made = canary();
  made.spec.steps[0].until_resumed = true;
  CanaryRun run(made, kStart);
  run.observe(good());
  EXPECT_EQ(run.state().phase, CanaryPhase::kPassed);
  EXPECT_EQ(run.split().weight, 10u);
  CanaryRun resumed = run;
  ASSERT_TRUE(resumed.command(CanaryCommand::kResume, kStart).ok());
  EXPECT_EQ(resumed.split().weight, 50u);
  CanaryRun::Observation seen = bad();
  seen.candidate = observed(4000, 400);
  seen.stable = observed(4000, 40);
  run.observe(seen);
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
}

TEST(CanaryRun, OnSuccessWaitLeavesTheLastWordToAPerson) {
  Canary made = canary();
  made.spec.on_success = Canary::OnSuccess::kWait;
  CanaryRun run(made, kStart);
  run.observe(good());
  run.observe(good());
  EXPECT_EQ(run.state().phase, CanaryPhase::kPassed);
  ASSERT_TRUE(run.command(CanaryCommand::kPromote, kStart).ok());
  EXPECT_EQ(run.split().weight, 100u);
}

TEST(CanaryRun, OnFailureHoldStaysAndBeginsAnewWhenResumed) {
  Canary made = canary();
  made.spec.on_failure = Canary::OnFailure::kHold;
  CanaryRun run(made, kStart);
  run.observe(bad());
  EXPECT_EQ(run.state().phase, CanaryPhase::kFailed);
  EXPECT_EQ(run.split().weight, 10u);
  ASSERT_TRUE(run.command(CanaryCommand::kResume, kStart).ok());
  run.observe(good());
  EXPECT_EQ(run.split().weight, 50u);
}

TEST(CanaryRun, APausedOneStaysWhereItIsAndItsTimeDoesNotPass) {
  CanaryRun run(canary(), kStart);
  ASSERT_TRUE(run.command(CanaryCommand::kPause, kStart).ok());
  for (int i = 0; i < 2000; ++i) run.observe(good(200));
  EXPECT_EQ(run.state().phase, CanaryPhase::kPaused);
  EXPECT_EQ(run.state().spent, 0s);
  ASSERT_TRUE(run.command(CanaryCommand::kResume, kStart).ok());
  run.observe(good());
  EXPECT_EQ(run.split().weight, 50u);
}

TEST(CanaryRun, WhoHasNotShownToBeGoodInTimeIsTakenBack) {
  Canary made = canary();
  made.spec.time_limit = 1min;
  CanaryRun run(made, kStart);
  for (int i = 0; i < 6; ++i) run.observe(good(10));
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
  EXPECT_EQ(run.state().reason,
            "no verdict within 1m: the candidate has had 60 of at least 100 requests");
}

TEST(CanaryRun, APersonMayEndItEitherWayAndBeginAnew) {
  CanaryRun run(canary(), kStart);
  ASSERT_TRUE(run.command(CanaryCommand::kAbort, kStart).ok());
  EXPECT_EQ(run.split(), Canary::Split{});
  const Result<void> again = run.command(CanaryCommand::kAbort, kStart);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().message(),
            "canary default/c is rolled back, so there is nothing to abort");
  ASSERT_TRUE(run.command(CanaryCommand::kResume, kStart).ok());
  EXPECT_EQ(run.split().weight, 10u);
  ASSERT_TRUE(run.command(CanaryCommand::kPromote, kStart).ok());
  EXPECT_EQ(run.split().weight, 100u);
  EXPECT_FALSE(run.command(CanaryCommand::kPause, kStart).ok());
}

TEST(CanaryRun, CopiesAreJudgedBeforeTheFirstStep) {
  Canary made = canary();
  made.spec.shadow.emplace();
  CanaryRun run(made, kStart);
  EXPECT_EQ(run.split(), (Canary::Split{.weight = 0, .shadow = 10, .open = true}));
  CanaryRun::Observation seen{.passed = 10s, .now = kStart};
  seen.candidate.sidecars = 1;
  seen.candidate.shadow = {.sent = 50, .compared = 50};
  run.observe(seen);
  EXPECT_EQ(run.state().reason, "50 of at least 100 copies were answered");
  seen.candidate.shadow = {.sent = 1000, .compared = 1000};
  for (int i = 0; i < 1000; ++i) {
    seen.candidate.shadow.latency_ms.add(100 + i % 7);
    seen.candidate.shadow.answered_latency_ms.add(100 + i % 7);
  }
  run.observe(seen);
  EXPECT_EQ(run.split(), (Canary::Split{.weight = 10, .open = true}));
  EXPECT_TRUE(run.state().reason.starts_with("passed copies of 10 %: ")) << run.state().reason;
}

TEST(CanaryRun, ARestartGoesOnAtItsStepAndCountsAnew) {
  CanaryRun before(canary(), kStart);
  before.observe(good());
  before.observe(good(90));
  const CanaryState state = before.state();
  CanaryRun after(canary(), kStart + 5h, &state);
  EXPECT_EQ(after.split().weight, 50u);
  EXPECT_EQ(after.state().spent, 20s);
  after.observe(good(90));
  EXPECT_EQ(after.state().reason, "the candidate has had 90 of at least 100 requests");
  // Another version is another canary.
  Canary next = canary();
  next.spec.candidate.service = "classify-v3";
  EXPECT_EQ(CanaryRun(next, kStart, &state).split().weight, 10u);
}

TEST(CanaryRun, AnEditOfOtherStepsKeepsWhatIsKnown) {
  CanaryRun run(canary(), kStart);
  run.observe(good(60));
  Canary edited = canary();
  edited.spec.steps[1].weight = 60;
  run.edit(edited, kStart);
  run.observe(good(60));
  EXPECT_EQ(run.candidate().requests, 120u);
  edited.spec.steps = {{.weight = 5}};
  run.edit(edited, kStart);
  EXPECT_EQ(run.split().weight, 5u);
  EXPECT_EQ(run.candidate().requests, 0u);
}

// Copies that all were answered alike.
CanaryRun::Observation copies(uint64_t sent) {
  CanaryRun::Observation seen{.passed = 10s, .now = kStart};
  seen.candidate.sidecars = 1;
  seen.candidate.shadow = {.sent = sent, .compared = sent};
  for (uint64_t i = 0; i < sent; ++i) {
    seen.candidate.shadow.latency_ms.add(100 + double(i % 7));
    seen.candidate.shadow.answered_latency_ms.add(100 + double(i % 7));
  }
  return seen;
}

TEST(CanaryRun, ATightenedMetricIsNotPassedByTheVerdictBefore) {
  Canary made = canary();
  made.spec.steps[0].pause = 15s;
  CanaryRun run(made, kStart);
  run.observe(good());
  ASSERT_EQ(run.assessment().verdict, Verdict::kAdvance);
  made.spec.analysis.metrics = {{.name = Canary::Measure::kErrors, .tolerance = 0.1}};
  run.edit(made, kStart);
  EXPECT_TRUE(run.assessment().findings.empty());
  run.observe(good(10));
  EXPECT_EQ(run.state().stage, 0u);
  EXPECT_EQ(run.candidate().requests, 1010u);
  EXPECT_EQ(run.state().looks, 2u);
  EXPECT_TRUE(run.state().reason.ends_with("0.10 tolerated; not enough to tell"))
      << run.state().reason;
}

TEST(CanaryRun, AStepThatIsPassedIsJudgedAnewByAnotherAnalysis) {
  Canary made = canary();
  made.spec.steps[0].until_resumed = true;
  CanaryRun run(made, kStart);
  run.observe(good());
  ASSERT_EQ(run.state().phase, CanaryPhase::kPassed);
  made.spec.analysis.minimum_requests = 5000;
  run.edit(made, kStart);
  EXPECT_EQ(run.state().phase, CanaryPhase::kProgressing);
  EXPECT_FALSE(run.command(CanaryCommand::kResume, kStart).ok());
  run.observe(good());
  EXPECT_EQ(run.state().reason, "the candidate has had 2000 of at least 5000 requests");
}

TEST(CanaryRun, OtherRulesOfComparisonForgetWhatWasCompared) {
  Canary made = canary();
  made.spec.shadow = Canary::Shadow{.relative_tolerance = 0.5};
  CanaryRun run(made, kStart);
  run.observe(copies(90));
  made.spec.shadow->relative_tolerance = 0;
  run.edit(made, kStart);
  EXPECT_EQ(run.candidate().shadow.sent, 0u);
  // Sidecars may still compare by the rules of before.
  run.observe(copies(1000));
  EXPECT_EQ(run.candidate().shadow.sent, 0u);
  EXPECT_EQ(run.split().weight, 0u);
  run.observe(copies(1000));
  EXPECT_EQ(run.split().weight, 10u);
}

TEST(CanaryRun, AnEditThatOnlyMovesLinesChangesNothing) {
  Canary made = canary();
  made.spec.steps[0].pause = 15s;
  made.spec.analysis.metrics = {{.name = Canary::Measure::kErrors}};
  CanaryRun run(made, kStart);
  run.observe(good());
  made.spec.analysis.at = made.spec.analysis.metrics[0].at = made.spec.at = {.line = 7};
  run.edit(made, kStart);
  EXPECT_EQ(run.assessment().verdict, Verdict::kAdvance);
  EXPECT_EQ(run.candidate().requests, 1000u);
}

// Errors of sidecars, and what a Prometheus says of latency.
Canary queried() {
  Canary made = canary();
  Canary::Prometheus from;
  from.candidate = "c";
  from.stable = "s";
  made.spec.analysis.metrics = {{.name = Canary::Measure::kErrors},
                                {.name = Canary::Measure::kLatency, .prometheus = from}};
  return made;
}
CanaryRun::Observation told(std::optional<double> candidate, std::optional<double> stable = 100) {
  CanaryRun::Observation seen = good();
  seen.outside = {{.candidate = candidate, .stable = stable, .why = "http://p: no series"}};
  return seen;
}

TEST(CanaryRun, AMetricFromOutsideMustAgreeThreeTimes) {
  CanaryRun run(queried(), kStart);
  run.observe(told(110));
  EXPECT_EQ(run.state().reason,
            "Latency (Prometheus) 110 ms against 100 ms: worse by 10.0 %, 20.0 tolerated; 1 of 3 "
            "answers in a row");
  run.observe(told(115));
  EXPECT_EQ(run.state().stage, 0u);
  run.observe(told(118));
  EXPECT_EQ(run.state().stage, 1u);
  for (int i = 0; i < 2; ++i) run.observe(told(130));
  EXPECT_EQ(run.state().phase, CanaryPhase::kProgressing);
  run.observe(told(131));
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
  EXPECT_EQ(run.state().reason,
            "Latency (Prometheus) 131 ms against 100 ms: worse by 31.0 %, 20.0 tolerated");
}

TEST(CanaryRun, MissingDataFromOutsideNeverPromotes) {
  Canary made = queried();
  made.spec.time_limit = 10min;
  CanaryRun run(made, kStart);
  // One of the two is missing, nobody has answered, or there is nothing to divide by.
  const CanaryRun::Observation missing[] = {told({}), told(100, {}), good(), told(1, 0)};
  for (std::size_t i = 0; run.is_open(); ++i) {
    run.observe(i % 3 == 2 ? missing[i / 3 % 4] : told(100));
    ASSERT_EQ(run.state().stage, 0u) << i;
    ASSERT_LT(i, 1000u);
  }
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
  EXPECT_TRUE(run.state().reason.starts_with("no verdict within 10m: ")) << run.state().reason;
  CanaryRun without(queried(), kStart);
  without.observe(told({}));
  EXPECT_EQ(without.state().reason, "Latency (Prometheus): http://p: no series");
}

TEST(CanaryRun, ABoundOfAMetricFromOutsideNeedsNoStableVersion) {
  Canary made = canary();
  Canary::Prometheus from;
  from.title = "Accuracy";
  from.candidate = "c";
  made.spec.analysis.metrics = {
      {.name = Canary::Measure::kValue, .minimum = 0.9, .prometheus = from}};
  CanaryRun run(made, kStart);
  for (int i = 0; i < 3; ++i) run.observe(told(0.95, {}));
  EXPECT_EQ(run.state().stage, 1u) << "nothing else is asked for";
  for (int i = 0; i < 3; ++i) run.observe(told(0.85, {}));
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
  EXPECT_EQ(run.state().reason, "Accuracy (Prometheus) 0.85; the least is 0.90");
}

TEST(CanaryRun, SidecarsTakeItBackWhateverIsSaidOutside) {
  CanaryRun run(queried(), kStart);
  CanaryRun::Observation seen = bad();
  seen.outside = told(50).outside;
  run.observe(seen);
  EXPECT_EQ(run.state().phase, CanaryPhase::kRolledBack);
}

}  // namespace
}  // namespace glia
