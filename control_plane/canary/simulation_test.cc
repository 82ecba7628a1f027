// A thousand canaries of each truth, from a seed: how often the verdict is wrong, how long it takes
// and how many requests the candidate had by then. Prints a table, which docs/canaries.md quotes.
//
// The candidate and the stable version answer the same stream of requests in the shares of the
// stage: 100 requests a second, 1 % of them errors, times log-normal around 200 ms with sigma 0.5
// (95th percentile: 455 ms). The Canary has the defaults of a YAML of six lines, but for the
// time limit of those truths that would always reach it.
//
// With a liar among the sidecars, all of them see the same number of requests, are in the parts in turn,
// and the liar tells of the candidate what it wants the verdict to be, perhaps of more than it saw.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>

#include "control_plane/canary/canary_run.h"
#include "proxy/base/random.h"

namespace glia {
namespace {

constexpr int kCanaries = 1000;
constexpr double kRate = 100;  // Requests a second.
constexpr Duration kInterval = 10s;

// One of the sidecars.
struct Liar {
  uint64_t of = 0;    // All sidecars; 0: there is no liar, and parts are not told apart.
  double errors = 0;  // Of the candidate, as it says.
  uint64_t exaggerates = 1;
};

struct Truth {
  const char* name;
  double errors = 0.01;  // Of the candidate.
  double slower = 1;
  bool data = true;
  Duration limit = std::chrono::hours(2);  // spec.timeLimit
  Liar liar = {};
};

// The indices of a Sketch's buckets with their chances, so that a request costs one draw.
class Times {
 public:
  explicit Times(double median_ms) {
    constexpr double kSigma = 0.5;
    const auto below = [&](int index) {
      const double z = (std::log(Sketch::upper_bound(index)) - std::log(median_ms)) / kSigma;
      return 0.5 * std::erfc(-z / std::numbers::sqrt2);
    };
    first_ = static_cast<int>(std::log2(median_ms) * Sketch::kBucketsPerDoubling) - kBuckets / 2;
    for (int k = 0; k < kBuckets; ++k) below_.push_back(below(first_ + k));
    below_.back() = 1;
  }
  void add(uint64_t count, Random& random, Sketch& out) const {
    std::vector<uint64_t> counts(kBuckets);
    for (uint64_t i = 0; i < count; ++i) {
      const auto at = std::ranges::upper_bound(below_, random.unit());
      ++counts[static_cast<std::size_t>(
          std::min<std::ptrdiff_t>(at - below_.begin(), kBuckets - 1))];
    }
    ASSERT_TRUE(out.add(0, first_, counts, 1.0));
  }
  // As somebody makes them up.
  void add_usual(uint64_t count, Sketch& out) const {
    ASSERT_TRUE(out.add(0, first_ + kBuckets / 2, {{count}}, 1.0));
  }

 private:
  static constexpr int kBuckets = 256;  // Eight doublings.
  int first_ = 0;
  std::vector<double> below_;
};

Observed observed(uint64_t requests, double errors, const Times& times, Random& random) {
  Observed all{{.requests = requests}, 3};
  for (uint64_t i = 0; i < requests; ++i) all.errors += random.unit() < errors ? 1 : 0;
  times.add(requests, random, all.latency_ms);
  return all;
}

// The same, by parts, with one that lies; it is in the first part.
Observed observed(uint64_t requests, double errors, const Times& times, const Liar& liar,
                  double said, Random& random) {
  Observed all{{}, static_cast<uint32_t>(liar.of)};
  for (std::size_t part = 0; part < Observed::kParts; ++part) {
    uint64_t honest = (liar.of - part + Observed::kParts - 1) / Observed::kParts;
    if (part == 0) --honest;
    if (const uint64_t seen = requests * honest / liar.of; seen > 0) {
      all.add_part(part, observed(seen, errors, times, random));
    }
  }
  ClusterTally made_up{.requests = liar.exaggerates * requests / liar.of};
  made_up.errors = static_cast<uint64_t>(said * static_cast<double>(made_up.requests));
  if (made_up.requests > 0) times.add_usual(made_up.requests, made_up.latency_ms);
  all.add_part(0, made_up);
  return all;
}

// How many of `of` requests went to the candidate.
uint64_t share_of(uint64_t of, uint32_t weight, Random& random) {
  uint64_t hits = 0;
  for (uint64_t i = 0; i < of; ++i) hits += random.below(100) < weight ? 1 : 0;
  return hits;
}

CanaryRun run_one(const Truth& truth, uint64_t seed) {
  Random random(seed);
  Canary canary;
  canary.metadata.name = "simulated";
  canary.spec.target_ref.name = "service";
  canary.spec.candidate.service = "next";
  for (const uint32_t weight : {10u, 25u, 50u}) canary.spec.steps.push_back({.weight = weight});
  canary.spec.time_limit = truth.limit;
  static const Times stable_times(200);
  const Times candidate_times(200 * truth.slower);
  CanaryRun run(canary, {});
  const Liar& liar = truth.liar;
  for (WallTime now{}; run.is_open(); now += kInterval) {
    const auto all = static_cast<uint64_t>(kRate * to_seconds(kInterval));
    const uint64_t candidate = share_of(all, run.split().weight, random);
    CanaryRun::Observation seen{.passed = kInterval, .now = now};
    if (liar.of > 0) {
      seen.stable = observed(all - candidate, 0.01, stable_times, liar, 0.01, random);
      seen.candidate =
          observed(candidate, truth.errors, candidate_times, liar, liar.errors, random);
    } else {
      seen.stable = observed(all - candidate, 0.01, stable_times, random);
      if (truth.data) seen.candidate = observed(candidate, truth.errors, candidate_times, random);
    }
    run.observe(seen);
  }
  return run;
}

struct Rates {
  double promoted = 0, rolled_back = 0;  // Of all canaries.
  double median_minutes = 0, median_requests = 0, most_requests = 0;
};

Rates rates_of(const Truth& truth, uint64_t first_seed) {
  Rates rates;
  std::vector<double> minutes, requests;
  for (int i = 0; i < kCanaries; ++i) {
    const CanaryRun run = run_one(truth, first_seed + static_cast<uint64_t>(i));
    rates.promoted += run.state().phase == CanaryPhase::kPromoted ? 1.0 / kCanaries : 0;
    rates.rolled_back += run.state().phase == CanaryPhase::kRolledBack ? 1.0 / kCanaries : 0;
    minutes.push_back(to_seconds(run.state().spent) / 60);
    requests.push_back(static_cast<double>(run.state().touched));
  }
  std::ranges::sort(minutes);
  std::ranges::sort(requests);
  rates.median_minutes = minutes[minutes.size() / 2];
  rates.median_requests = requests[requests.size() / 2];
  rates.most_requests = requests.back();
  std::printf(
      "%-22s promoted %5.1f %%  rolled back %5.1f %%  median %5.1f minutes, %5.0f "
      "requests (most %.0f)\n",
      truth.name, 100 * rates.promoted, 100 * rates.rolled_back, rates.median_minutes,
      rates.median_requests, rates.most_requests);
  return rates;
}

TEST(Simulation, AnEqualCandidateIsPromoted) {
  const Rates rates = rates_of({"equal"}, 1'000'000);
  EXPECT_LE(rates.rolled_back, 0.02);
  EXPECT_GE(rates.promoted, 0.98);
}

TEST(Simulation, ALittleSlowerIsTolerated) {
  const Rates rates = rates_of({.name = "5 % slower", .slower = 1.05}, 2'000'000);
  EXPECT_LE(rates.rolled_back, 0.02);
}

TEST(Simulation, OnePointMoreErrorsIsTolerated) {
  const Rates rates = rates_of({.name = "1 point more errors", .errors = 0.02}, 3'000'000);
  EXPECT_LE(rates.rolled_back, 0.02);
}

TEST(Simulation, FivePointsMoreErrorsAreHardlyEverPromoted) {
  const Rates rates = rates_of({.name = "5 points more errors", .errors = 0.06}, 4'000'000);
  EXPECT_LE(rates.promoted, 0.01);
  EXPECT_GE(rates.rolled_back, 0.98);
}

// Exactly as bad as is tolerated: the worst case of what may not be promoted.
TEST(Simulation, TwoPointsMoreErrorsAreHardlyEverPromoted) {
  const Rates rates =
      rates_of({.name = "2 points more errors", .errors = 0.03, .limit = 15min}, 5'000'000);
  EXPECT_LE(rates.promoted, 0.01);
}

TEST(Simulation, AMuchSlowerCandidateIsTakenBack) {
  const Rates rates = rates_of({.name = "50 % slower", .slower = 1.5}, 6'000'000);
  EXPECT_LE(rates.promoted, 0.01);
  EXPECT_GE(rates.rolled_back, 0.98);
}

struct Hiding {
  uint64_t sidecars, exaggerates;
};

// Of three, one that tells of ten times what it saw cannot be told from a gateway beside two small callers,
// and carries the candidate on in three of four runs (docs/canaries.md).
TEST(Simulation, OneSidecarDoesNotHideFivePointsMoreErrors) {
  uint64_t seed = 8'000'000;
  for (const auto& [sidecars, exaggerates] :
       {Hiding{3, 1}, Hiding{10, 1}, Hiding{10, 10}, Hiding{30, 10}}) {
    std::printf("one of %2d hides it, x%2d: ", int(sidecars), int(exaggerates));
    const Rates rates =
        rates_of({.name = "5 points more",
                  .errors = 0.06,
                  .liar = {.of = sidecars, .errors = 0, .exaggerates = exaggerates}},
                 seed += 10'000);
    EXPECT_LE(rates.promoted, 0.01) << sidecars << " sidecars";
    EXPECT_GE(rates.rolled_back, 0.98) << sidecars << " sidecars";
  }
}

TEST(Simulation, WithoutDataNothingIsPromoted) {
  const Rates rates = rates_of({.name = "no data", .data = false, .limit = 2min}, 7'000'000);
  EXPECT_EQ(rates.promoted, 0);
}

}  // namespace
}  // namespace glia
