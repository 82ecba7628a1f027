// Weights of gRFC A58 from load reports.
#include "proxy/mesh/weighted_by_reports.h"

#include <gtest/gtest.h>

#include "proxy/mesh/balancer_test_support.h"

namespace glia {
namespace {

ServerReport use(double rps, double utilization, double eps = 0) {
  ServerReport report;
  report.rps = rps;
  report.utilization = utilization;
  report.eps = eps;
  return report;
}

TEST(WeightedByReportsTest, GivesTurnsByRequestsPerUseAfterTheBlackout) {
  PickWorld t(3, {});
  WeightedByReports balancer({});
  const auto report_all = [&] {
    t.report(0, use(100, 1));
    t.report(1, use(100, 0.5));
    t.report(2, use(100, 0.25));
  };
  report_all();
  for (const int share : t.shares(balancer, 300)) EXPECT_EQ(share, 100);  // In the blackout.
  t.advance(10s);
  report_all();
  t.pick(balancer);
  t.advance(10s);
  const std::vector<int> shares = t.shares(balancer, 700);
  EXPECT_NEAR(shares[0], 100, 5);
  EXPECT_NEAR(shares[1], 200, 5);
  EXPECT_NEAR(shares[2], 400, 5);
}

TEST(WeightedByReportsTest, CountsErrorsAgainstAServer) {
  ReportWeights config;
  config.blackout = 0s;
  PickWorld t(2, {});
  WeightedByReports balancer(config);
  t.report(0, use(100, 0.5));
  t.report(1, use(100, 0.5, 50));  // Half of its answers fail: as if it were used twice as much.
  const std::vector<int> shares = t.shares(balancer, 300);
  EXPECT_NEAR(shares[0], 200, 5);
  EXPECT_NEAR(shares[1], 100, 5);
}

TEST(WeightedByReportsTest, GivesTheMeanToWhoDoesNotReportOrNotAnyMore) {
  ReportWeights config;
  config.blackout = 0s;
  PickWorld t(3, {});
  WeightedByReports balancer(config);
  t.report(0, use(100, 1));
  t.report(1, use(100, 0.5));
  const std::vector<int> shares = t.shares(balancer, 450);
  EXPECT_NEAR(shares[0], 100, 5);
  EXPECT_NEAR(shares[1], 200, 5);
  EXPECT_NEAR(shares[2], 150, 5);
  t.advance(181s);
  for (const int share : t.shares(balancer, 300)) EXPECT_EQ(share, 100);
}

// MLServer and TensorFlow Serving have no KV cache: how many of their places are taken is their use.
TEST(WeightedByReportsTest, AServerWithoutAKvCacheTellsHowManyOfItsPlacesAreTaken) {
  const ServerLoad load;
  const TimePoint now{1s};
  for (int i = 0; i < 3; ++i) load.begin();
  load.seen({.rps = 20, .slots = 4, .at = now});
  EXPECT_DOUBLE_EQ(load.report(now).utilization, 0.75);
  load.seen({.sample = {.kv_use = 0.5}, .rps = 20, .slots = 4, .at = now});
  EXPECT_DOUBLE_EQ(load.report(now).utilization, 0.5);
}

}  // namespace
}  // namespace glia
