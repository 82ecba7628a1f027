// Clusters that go where the clients of captured connections wanted to go.
#include <gtest/gtest.h>

#include <vector>

#include "proxy/base/text.h"
#include "proxy/mesh/cluster.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

class Original : public testing::Test {
 protected:
  Original() {
    auto config = std::make_shared<ClusterConfig>();
    config->name = config->stat_name = "passthrough";
    config->discovery = ClusterConfig::Discovery::kOriginal;
    config->limits.connections = 1'000'000;
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->clusters.emplace("passthrough", std::move(config));
    clusters_.apply(*snapshot);
  }
  Cluster& cluster() { return *clusters_.find("passthrough"); }
  static ConnectionInfo captured(const Address& destination) {
    ConnectionInfo info;
    info.local = destination;
    info.captured = true;
    return info;
  }
  // Never has to wait.
  Result<Hold> hold(const ConnectionInfo& client, const std::vector<Address>& failed = {}) {
    Task<Result<Hold>> task = cluster().hold(failed, &client);
    task.start();
    EXPECT_TRUE(task.done());
    return task.take();
  }

  SimWorld world_{1};
  Random random_{1};
  ClusterMap clusters_{{world_.loop(), world_.host("10.0.0.1"), random_}};
};

Address destination(int number) {
  return *Address::ip(cat("10.1.", number / 250, ".", 1 + number % 250), 80);
}

TEST_F(Original, GoesWhereTheClientWantedToGo) {
  const Result<Hold> held = hold(captured(destination(7)));
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(held->endpoint().config().address, destination(7));
}

TEST_F(Original, RefusesConnectionsThatWereNotCaptured) {
  ConnectionInfo info;
  info.local = destination(1);
  const Result<Hold> held = hold(info);
  ASSERT_FALSE(held.ok());
  EXPECT_NE(held.error().message().find("envoy.filters.listener.original_dst"), std::string::npos);
}

TEST_F(Original, DoesNotTryAgainWhereItFailed) {
  EXPECT_FALSE(hold(captured(destination(1)), {destination(1)}).ok());
}

// Its timer reaped endpoints that the balancer of the new kind still had.
TEST_F(Original, ForgetsNothingOnceTheClusterIsOfAnotherKind) {
  ASSERT_TRUE(hold(captured(destination(1))).ok());
  auto config = std::make_shared<ClusterConfig>();
  config->name = config->stat_name = "passthrough";
  auto endpoints = std::make_shared<EndpointSet>();
  endpoints->endpoints.emplace_back().address = destination(2);
  config->endpoints = std::move(endpoints);
  Snapshot snapshot;
  snapshot.clusters.emplace("passthrough", std::move(config));
  clusters_.apply(snapshot);
  world_.run_for(2 * Cluster::kForgetDestinations);
  EXPECT_EQ(cluster().endpoints().size(), 1u);
  EXPECT_TRUE(hold(captured(destination(1))).ok());
}

TEST_F(Original, HasALimitOfDestinationsAndForgetsThoseThatNobodyUses) {
  std::vector<Hold> held;
  for (std::size_t i = 0; i < Cluster::kMostDestinations; ++i) {
    Result<Hold> one = hold(captured(destination(static_cast<int>(i))));
    ASSERT_TRUE(one.ok()) << i;
    held.push_back(*std::move(one));
  }
  EXPECT_FALSE(hold(captured(destination(10'001))).ok());
  EXPECT_TRUE(hold(captured(destination(3))).ok());  // Known already.
  held.clear();
  world_.run_for(2 * Cluster::kForgetDestinations);
  EXPECT_TRUE(cluster().endpoints().empty());
  EXPECT_TRUE(hold(captured(destination(10'001))).ok());
}

}  // namespace
}  // namespace glia
