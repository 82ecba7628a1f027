// Which endpoint the pickers for model servers take, by what is believed.
#include "proxy/mesh/model_balancer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "proxy/mesh/balancer_test_support.h"
#include "proxy/mesh/hot_cold.h"

namespace glia {
namespace {

ClusterConfig model_config() {
  ClusterConfig config;
  config.balancing.policy = Balancing::Policy::kModel;
  return config;
}

std::vector<uint64_t> prompt(uint64_t seed, std::size_t blocks) {
  Random random(seed);
  std::vector<uint64_t> hashes;
  for (std::size_t i = 0; i < blocks; ++i) hashes.push_back(random.next());
  return hashes;
}

TEST(ModelBalancerTest, TakesTheLeastLoadedByWhatServersReport) {
  PickWorld t(3, model_config());
  t.report_in_flight(0, 9);
  t.report_in_flight(1, 2);
  t.report_in_flight(2, 5);
  ModelBalancer balancer({});
  EXPECT_EQ(t.shares(balancer, 10), (std::vector<int>{0, 10, 0}));
}

TEST(ModelBalancerTest, SpreadsEvenlyWhereNothingIsKnown) {
  PickWorld t(4, model_config());
  ModelBalancer balancer({});
  for (const int share : t.shares(balancer, 4000)) EXPECT_NEAR(share, 1000, 150);
}

TEST(ModelBalancerTest, TakesAMissingSampleNeitherForFullNorForEmpty) {
  PickWorld t(3, model_config());
  t.report_in_flight(0, 9);
  t.report_in_flight(1, 1);
  ModelBalancer balancer({});
  // The third has never reported: it counts for half of the mean of the others.
  t.pick(balancer);
  EXPECT_FLOAT_EQ(t.endpoint(2).load().estimate, 2.5);
  t.report_in_flight(1, 2);
  EXPECT_EQ(t.shares(balancer, 5), (std::vector<int>{0, 5, 0}));
  t.report_in_flight(1, 20);
  EXPECT_EQ(t.shares(balancer, 5), (std::vector<int>{0, 0, 5}));
}

TEST(ModelBalancerTest, ComesBackToAServerWhoseReportIsOld) {
  PickWorld t(2, model_config());
  t.report_in_flight(0, 50);
  t.report_in_flight(1, 1);
  ModelBalancer balancer({});
  EXPECT_EQ(t.shares(balancer, 5), (std::vector<int>{0, 5}));
  // Only one goes on reporting; the other's 50 are forgotten, and nobody thinks it empty.
  t.advance(30s);
  t.report_in_flight(1, 3);
  t.pick(balancer);
  EXPECT_GT(t.endpoint(0).load().estimate, 1);
  EXPECT_LT(t.endpoint(0).load().estimate, 3.5);
}

TEST(ModelBalancerTest, AvoidsASlowServerAndOneThatFails) {
  PickWorld t(3, model_config());
  ModelBalancer balancer({});
  for (int i = 0; i < 50; ++i) {
    t.endpoint(0).load().answered(4s, 1, t.now());
    t.endpoint(1).load().answered(1s, 1, t.now());
    t.endpoint(2).load().answered(1s, 1, t.now());
  }
  EXPECT_EQ(t.shares(balancer, 100)[0], 0);
  t.endpoint(1).load().failed(t.now());
  EXPECT_EQ(t.shares(balancer, 5), (std::vector<int>{0, 0, 5}));
  t.advance(60s);
  EXPECT_NE(t.shares(balancer, 100)[1], 0);
}

TEST(ModelBalancerTest, AvoidsAFullKvCacheWhileThatIsNews) {
  PickWorld t(2, model_config());
  ServerReport full, free;
  full.in_flight = free.in_flight = 4;
  full.kv_use = 0.98f;
  free.kv_use = 0.3f;
  t.report(0, full);
  t.report(1, free);
  ModelBalancer balancer({});
  EXPECT_EQ(t.shares(balancer, 20), (std::vector<int>{0, 20}));
}

TEST(ModelBalancerTest, StaysWithTheServerThatKnowsThePrompt) {
  PickWorld t(4, model_config());
  ModelBalancer balancer({});
  const auto hashes = prompt(1, 94);  // 6,000 tokens.
  const PickHints hints{.prefix = hashes};
  const std::size_t first = t.pick(balancer, hints);
  EXPECT_EQ(t.shares(balancer, 20, hints)[first], 20);
  // Another question behind the same beginning.
  auto other = hashes;
  other.push_back(12345);
  EXPECT_EQ(t.pick(balancer, {.prefix = other}), first);
  // Prompts that share nothing go anywhere.
  std::vector<int> shares(4);
  for (uint64_t seed = 2; seed < 200; ++seed) {
    const auto own = prompt(seed, 10);
    ++shares[t.pick(balancer, {.prefix = own})];
  }
  for (const int share : shares) EXPECT_GT(share, 20);
}

TEST(ModelBalancerTest, SpreadsAPrefixThatEverybodyWants) {
  PickWorld t(4, model_config());
  ModelBalancer balancer({});
  const auto hashes = prompt(1, 94);
  const PickHints hints{.prefix = hashes};
  std::vector<float> in_flight(4);
  for (int i = 0; i < 200; ++i) {
    const std::size_t at = t.pick(balancer, hints);
    t.report_in_flight(at, ++in_flight[at]);
  }
  for (const float share : in_flight) {
    EXPECT_GT(share, 20);
    EXPECT_LT(share, 100);
  }
}

TEST(ModelBalancerTest, LooksAtWhatIsStillToBeReadRatherThanAtHowManyRequests) {
  PickWorld t(2, model_config());
  ModelBalancer balancer({});
  const auto says = [&](std::size_t i, float in_flight, float reading) {
    ServerReport report;
    report.in_flight = in_flight;
    report.reading = reading;
    t.report(i, report);
  };
  // Four that write against one that reads a long prompt.
  says(0, 4, 0);
  says(1, 1, 16'000);
  EXPECT_EQ(t.shares(balancer, 10, {.tokens = 100}), (std::vector<int>{10, 0}));
  EXPECT_EQ(t.endpoint(0).load().expected, 100);
  says(1, 1, 100);
  EXPECT_EQ(t.shares(balancer, 10, {.tokens = 100}), (std::vector<int>{0, 10}));
}

TEST(ModelBalancerTest, CountsOurOwnPromptsUntilTheyAreRead) {
  PickWorld t(2, model_config());
  ModelBalancer balancer({});
  t.endpoint(0).load().reads(8000);
  EXPECT_EQ(t.shares(balancer, 10, {.tokens = 100}), (std::vector<int>{0, 10}));
  // Of what a server says is still to be read, ours is known better.
  ServerReport report;
  report.in_flight = 1;
  report.reading = 9000;
  t.report(0, report);
  EXPECT_EQ(t.endpoint(0).load().others_reading(), 1000);
  t.endpoint(0).load().reads(-8000);
  EXPECT_EQ(t.endpoint(0).load().reading(), 0);
}

TEST(ModelBalancerTest, ExpectsOnlyWhatIsNewOfAPrompt) {
  PickWorld t(4, model_config());
  ModelBalancer balancer({});
  auto hashes = prompt(1, 94);
  const std::size_t first = t.pick(balancer, {.prefix = hashes, .tokens = 6000});
  EXPECT_EQ(t.endpoint(first).load().expected, 94 * 64);
  hashes.push_back(7);
  EXPECT_EQ(t.pick(balancer, {.prefix = hashes, .tokens = 6080}), first);
  // What is known of it is known to within a step.
  EXPECT_EQ(t.endpoint(first).load().expected, 6080 - PrefixIndex::seen(94) * 64);
}

TEST(ModelBalancerTest, KeepsASessionTogetherAndForgetsWhoLeft) {
  PickWorld t(4, model_config());
  ModelBalancer balancer({});
  const PickHints hints{.session = "chat-1"};
  const std::size_t first = t.pick(balancer, hints);
  EXPECT_EQ(t.shares(balancer, 20, hints)[first], 20);
  EXPECT_EQ(balancer.index().steps(), 1u);
  balancer.removed(t.endpoint(first));
  EXPECT_EQ(balancer.index().steps(), 0u);
}

TEST(ModelBalancerTest, PrefersWhoHasTheAdapterThenWhoHasRoom) {
  PickWorld t(3, model_config());
  const auto with = [](std::vector<std::string> adapters) {
    ServerReport report;
    report.in_flight = 1;
    report.most_adapters = 2;
    report.loaded_adapters = std::move(adapters);
    return report;
  };
  t.report(0, with({"a", "b"}));
  t.report(1, with({"c"}));
  t.report(2, with({"sql", "d"}));
  ModelBalancing config;
  config.affinity = 0;
  ModelBalancer balancer(config);
  EXPECT_EQ(t.shares(balancer, 10, {.adapter = "sql"}), (std::vector<int>{0, 0, 10}));
  ServerReport busy = with({"sql", "d"});
  busy.in_flight = 20;
  t.report(2, busy);
  EXPECT_EQ(t.shares(balancer, 10, {.adapter = "sql"}), (std::vector<int>{0, 10, 0}));
  // A base model is nobody's adapter.
  const std::vector<int> any = t.shares(balancer, 100, {.model = "llama"});
  EXPECT_GT(any[0], 20);
  EXPECT_GT(any[1], 20);
}

TEST(ModelBalancerTest, LooksAtABoundedNumberOfVeryManyEndpoints) {
  PickWorld t(250, model_config());
  ModelBalancer balancer({});
  const std::vector<int> shares = t.shares(balancer, 5000);
  EXPECT_GT(std::ranges::count_if(shares, [](int share) { return share > 0; }), 240);
}

TEST(ModelBalancerTest, SaysWhatItBelieves) {
  PickWorld t(1, model_config());
  ModelBalancer balancer({});
  t.pick(balancer);
  EXPECT_EQ(balancer.why(t.endpoint(0), t.now()),
            "load 0 (0 ours, others as at half the mean endpoint: no report yet)");
  ServerReport report;
  report.in_flight = 7;
  report.waiting = 2;
  report.kv_use = 0.5f;
  t.report(0, report);
  t.pick(balancer);
  t.advance(1s);
  EXPECT_EQ(balancer.why(t.endpoint(0), t.now()),
            "load 7 (0 ours, 7 of others 1000 ms ago, believed by 0.5), 2 waiting, KV cache 50 % "
            "used");
}

TEST(LeastLoadedTest, PrefersTheEmptierOfTwoAndCountsThoseThatWaitTwice) {
  PickWorld t(2, model_config());
  LeastLoaded balancer({});
  ServerReport running, waiting;
  running.in_flight = waiting.in_flight = 10;
  waiting.waiting = 5;
  running.waiting = 0;
  t.report(0, waiting);
  t.report(1, running);
  // A quarter of the draws is twice the worse one.
  const std::vector<int> shares = t.shares(balancer, 1000);
  EXPECT_NEAR(shares[0], 250, 60);
  EXPECT_NEAR(shares[1], 750, 60);
}

TEST(LeastLoadedTest, CountsTokensThatAreStillToBeRead) {
  PickWorld t(2, model_config());
  LeastLoaded balancer({});
  // As many requests, but one has a long prompt before it.
  ServerReport report;
  report.in_flight = 2;
  t.report(1, report);
  report.reading = 30'000;
  t.report(0, report);
  const std::vector<int> shares = t.shares(balancer, 1000, {.tokens = 500});
  EXPECT_NEAR(shares[0], 250, 60);
  EXPECT_NEAR(shares[1], 750, 60);
  // What this one would add is counted by whoever sends it.
  EXPECT_FLOAT_EQ(t.endpoint(1).load().expected, 500);
}

// A picker for one of them does not go by the others.
TEST(ModelBalancerTest, GoesByTheOneAffinityThatItIsFor) {
  using enum ModelBalancing::Picker;
  const std::vector<uint64_t> prompt = {11, 22, 33, 44}, other = {55, 66};
  const auto comes_back = [&](ModelBalancing::Picker picker, const PickHints& hints) {
    PickWorld t(8, model_config());
    ModelBalancer balancer({.picker = picker});
    const std::size_t first = t.pick(balancer, hints);
    int same = 0;
    for (int i = 0; i < 20; ++i) same += t.pick(balancer, hints) == first;
    return same > 15;
  };
  const PickHints by_prompt = {.prefix = prompt}, by_adapter = {.adapter = "a"},
                  by_session = {.session = "s"};
  for (const auto& [picker, prefix, adapter, session] : {std::tuple(kComposed, true, true, true),
                                                         {kPrefixAffinity, true, false, false},
                                                         {kAdapterAffinity, false, true, false},
                                                         {kSessionAffinity, false, false, true}}) {
    EXPECT_EQ(comes_back(picker, by_prompt), prefix) << static_cast<int>(picker);
    EXPECT_EQ(comes_back(picker, by_adapter), adapter) << static_cast<int>(picker);
    EXPECT_EQ(comes_back(picker, by_session), session) << static_cast<int>(picker);
  }
}

TEST(HotColdTest, TakesTheFastestOfTheColdAndTheEmptiestOfTheHot) {
  PickWorld t(5, model_config());
  ModelBalancing config;
  config.hot_quantile = 0.75;
  HotCold balancer(config);
  const auto says = [&](std::size_t i, float in_flight, Duration latency) {
    ServerReport report;
    report.in_flight = in_flight;
    report.latency = latency;
    t.report(i, report);
  };
  says(0, 4, 300ms);
  says(1, 4, 200ms);
  says(2, 4, 400ms);
  says(3, 4, 500ms);
  says(4, 30, 10ms);  // The fastest, and hot.
  EXPECT_EQ(t.pick(balancer), 1u);
  // One that fails at once is fast and idle; nobody wants it.
  says(3, 0, 1ms);
  t.endpoint(3).load().failed(t.now());
  EXPECT_EQ(t.pick(balancer), 1u);
  for (std::size_t i = 0; i < 5; ++i) t.endpoint(i).load().failed(t.now());
  EXPECT_EQ(t.pick(balancer), 3u);
}

}  // namespace
}  // namespace glia
