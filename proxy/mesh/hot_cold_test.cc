// Prequal's pool of probes: who is asked, and what of the answers is used how long.
#include "proxy/mesh/hot_cold.h"

#include <gtest/gtest.h>

#include <set>

#include "proxy/mesh/balancer_test_support.h"

namespace glia {
namespace {

class HotColdPool : public testing::Test {
 protected:
  static ClusterConfig cluster() {
    ClusterConfig config;
    config.balancing.policy = Balancing::Policy::kModel;
    config.balancing.model.picker = ModelBalancing::Picker::kHotCold;
    return config;
  }
  static ModelBalancing balancing(double probes) {
    return {.picker = ModelBalancing::Picker::kHotCold, .probes = probes};
  }
  void says(HotCold& balancer, std::size_t i, float in_flight, Duration latency) {
    ServerReport report;
    report.in_flight = in_flight;
    report.latency = latency;
    balancer.probed(t.endpoint(i), report, t.now());
  }
  PickWorld t{100, cluster()};
};

TEST_F(HotColdPool, AsksSoManyOthersAfterEachPick) {
  HotCold balancer(balancing(2.5));
  std::size_t asked = 0;
  std::set<Endpoint*> who;
  for (int i = 0; i < 200; ++i) {
    t.pick(balancer);
    const auto wanted = balancer.to_probe();
    EXPECT_EQ(std::set<Endpoint*>(wanted.begin(), wanted.end()).size(), wanted.size());
    asked += wanted.size();
    who.insert(wanted.begin(), wanted.end());
  }
  EXPECT_EQ(asked, 500u);
  EXPECT_GT(who.size(), 90u) << "by chance, so nearly everybody";
}

TEST_F(HotColdPool, AsksNobodyIfItIsToldNotTo) {
  HotCold balancer(balancing(0));
  t.pick(balancer);
  EXPECT_TRUE(balancer.to_probe().empty());
  says(balancer, 1, 0, 1ms);
}

TEST_F(HotColdPool, AsksEachOfFewOnce) {
  t.resize(3);
  HotCold balancer(balancing(16));
  t.pick(balancer);
  EXPECT_EQ(balancer.to_probe().size(), 3u);
}

TEST_F(HotColdPool, TakesTheFastestOfTheColdAndTheEmptiestOfTheHot) {
  HotCold balancer(balancing(2));
  for (std::size_t i = 10; i < 16; ++i) says(balancer, i, 4, 500ms);
  says(balancer, 1, 40, 10ms);
  says(balancer, 2, 4, 100ms);
  EXPECT_EQ(t.pick(balancer), 2u) << "1 is faster, and hot";
}

// An older sidecar among new ones.
TEST_F(HotColdPool, LeavesNoServerWithoutRequestsThatCannotBeProbed) {
  HotCold balancer(balancing(2));
  for (std::size_t i = 50; i < 100; ++i) t.endpoint(i).load().ignores_probes = true;
  int mute = 0;
  for (int i = 0; i < 400; ++i) {
    for (std::size_t server = 0; server < 8; ++server) says(balancer, server, 4, 10ms);
    mute += t.pick(balancer) >= 50;
  }
  EXPECT_GT(mute, 40);
  EXPECT_LT(mute, 360);
}

TEST_F(HotColdPool, KeepsNoMoreThanItHasRoomFor) {
  HotCold balancer(balancing(1));
  for (std::size_t i = 0; i < 100; ++i) says(balancer, i, 1, 1ms);
  EXPECT_EQ(balancer.pool(), HotCold::kPool);
  says(balancer, 99, 2, 1ms);
  EXPECT_EQ(balancer.pool(), HotCold::kPool) << "one an endpoint";
}

TEST_F(HotColdPool, UsesNoProbeThatIsOld) {
  HotCold balancer(balancing(2));
  for (std::size_t i = 0; i < 10; ++i) says(balancer, i, 1, 1ms);
  t.advance(1001ms);
  t.pick(balancer);
  EXPECT_EQ(balancer.pool(), 0u);
}

// However good it was, it is not the only one that all go to until the next is heard.
TEST_F(HotColdPool, UsesEachProbeAFewTimes) {
  HotCold balancer(balancing(3));
  for (std::size_t i = 0; i < 16; ++i) says(balancer, i, 0, i == 7 ? 1ms : 100ms);
  int used = 0;
  for (int i = 0; i < 40; ++i) used += t.pick(balancer) == 7;
  EXPECT_GE(used, 1);
  EXPECT_LE(used, balancer.uses(100) + 1);
  EXPECT_EQ(balancer.uses(100), 1);
  EXPECT_GT(balancer.uses(8), balancer.uses(100)) << "few servers: few probes that differ";
}

TEST_F(HotColdPool, TakesOutTheOldestAndTheWorstInTurn) {
  HotCold balancer(balancing(4));  // One out a pick.
  for (std::size_t i = 0; i < 10; ++i) {
    says(balancer, i, i == 5 ? 90 : 1, 100ms);
    t.advance(1ms);
  }
  const std::size_t before = balancer.pool();
  t.pick(balancer);
  EXPECT_EQ(balancer.pool(), before - 1);
  t.pick(balancer);
  EXPECT_LE(balancer.pool(), before - 2);
}

TEST_F(HotColdPool, ForgetsAnEndpointThatLeaves) {
  HotCold balancer(balancing(2));
  for (std::size_t i = 0; i < 3; ++i) says(balancer, i, 1, 1ms);
  balancer.removed(t.endpoint(1));
  EXPECT_EQ(balancer.pool(), 2u);
}

TEST_F(HotColdPool, LeavesOutWhoFailedTheRequestAlready) {
  HotCold balancer(balancing(2));
  says(balancer, 1, 0, 1ms);
  says(balancer, 2, 1, 9ms);
  std::vector<Endpoint*> others;
  for (std::size_t i = 2; i < 100; ++i) others.push_back(&t.endpoint(i));
  const PickHints none;
  EXPECT_EQ(&balancer.pick(others, {t.random(), t.now(), none}), &t.endpoint(2));
}

}  // namespace
}  // namespace glia
