// Balancers over endpoints of a real cluster: who gets how many of many picks.
#include "proxy/mesh/balancer.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "proxy/mesh/cluster.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

using Policy = Balancing::Policy;

class BalancerTest : public testing::Test {
 protected:
  // Endpoints 10.0.1.1, 10.0.1.2, ... of these weights, in this order.
  void endpoints(const std::vector<uint32_t>& weights) {
    auto set = std::make_shared<EndpointSet>();
    for (const uint32_t weight : weights) {
      EndpointConfig& one = set->endpoints.emplace_back();
      one.address = *Address::ip(cat("10.0.1.", set->endpoints.size()), 80);
      one.weight = weight;
    }
    auto cluster = std::make_shared<ClusterConfig>();
    cluster->name = "c";
    cluster->endpoints = std::move(set);
    Snapshot snapshot;
    snapshot.clusters["c"] = std::move(cluster);
    clusters_.apply(snapshot);
    for (const auto& [address, endpoint] : clusters_.find("c")->endpoints()) {
      usable_.push_back(endpoint.get());
    }
  }
  // How many of `picks` each endpoint gets.
  std::vector<int> shares(const Balancing& balancing, int picks) {
    const auto balancer = Balancer::create(balancing);
    std::vector<int> counts(usable_.size());
    for (int i = 0; i < picks; ++i) {
      const Endpoint& picked = balancer->pick(usable_, {world_.random(), world_.loop().now(), {}});
      for (std::size_t j = 0; j < usable_.size(); ++j) counts[j] += usable_[j] == &picked;
    }
    return counts;
  }

  SimWorld world_{1};
  ClusterMap clusters_{{world_.loop(), world_.host("10.0.0.1"), world_.random()}};
  std::vector<Endpoint*> usable_;
};

TEST_F(BalancerTest, RoundRobinGivesEqualsTheirTurns) {
  endpoints({1, 1, 1});
  EXPECT_EQ(shares({.policy = Policy::kRoundRobin}, 300), (std::vector{100, 100, 100}));
}

TEST_F(BalancerTest, RoundRobinFollowsTheWeights) {
  endpoints({1, 2, 7});
  const auto counts = shares({.policy = Policy::kRoundRobin}, 1000);
  EXPECT_NEAR(counts[0], 100, 3);
  EXPECT_NEAR(counts[1], 200, 3);
  EXPECT_NEAR(counts[2], 700, 3);
}

TEST_F(BalancerTest, RandomFollowsTheWeights) {
  endpoints({1, 2, 7});
  const auto counts = shares({.policy = Policy::kRandom}, 10'000);
  EXPECT_NEAR(counts[0], 1000, 150);
  EXPECT_NEAR(counts[1], 2000, 200);
  EXPECT_NEAR(counts[2], 7000, 250);
}

TEST_F(BalancerTest, LeastRequestMeetsTheBusyOnlyWhenItDrawsNobodyElse) {
  endpoints({1, 1});
  const Hold busy(*usable_[0]);
  // Twice the same of two: one time in four.
  EXPECT_NEAR(shares({.policy = Policy::kLeastRequest}, 1000)[0], 250, 50);
  EXPECT_EQ(shares({.policy = Policy::kLeastRequest, .choices = 100}, 100)[0], 0);
}

TEST_F(BalancerTest, LeastRequestComparesLoadByWeight) {
  endpoints({4, 1});
  const Hold first(*usable_[0]), second(*usable_[0]);
  EXPECT_EQ(shares({.policy = Policy::kLeastRequest, .choices = 100}, 100)[0], 100);
}

}  // namespace
}  // namespace glia
