#include "control_plane/health/health_desk.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

using Said = HealthDesk::Said;

class HealthDeskTest : public testing::Test {
 protected:
  static Workload machine(const std::string& name, bool health = true) {
    Workload workload;
    workload.metadata.name = name;
    if (health) workload.spec.health = Workload::Health{.interval = 2s, .timeout = 1s};
    return workload;
  }
  void take(std::vector<Workload> workloads) {
    ObjectSet objects;
    objects.workloads = std::move(workloads);
    desk.take(objects, now);
  }
  // A control plane that runs and knows nothing, then this one machine.
  void take_later(const std::string& name) {
    take({});
    take({machine(name)});
  }
  void hear(Said said, std::string_view why = "") { desk.hear("default/vm", said, why, now); }
  std::string why() {
    const AwayWorkloads away = desk.away(now);
    const auto found = away.find("default/vm");
    return found == away.end() ? "" : found->second;
  }

  HealthDesk desk;
  TimePoint now{1000s};
};

TEST_F(HealthDeskTest, WhoComesIsAnEndpointOnceItSaysThatItIsWell) {
  take_later("vm");
  EXPECT_NE(why().find("has not told yet"), std::string::npos);
  hear(Said::kNothing);
  EXPECT_NE(why(), "");
  hear(Said::kWell);
  EXPECT_EQ(why(), "");
}

TEST_F(HealthDeskTest, WhoIsNotWellLeavesAndComesBack) {
  take_later("vm");
  hear(Said::kWell);
  hear(Said::kNotWell, "it answers 500");
  EXPECT_EQ(why(), "its application is not well: it answers 500");
  hear(Said::kWell);
  EXPECT_EQ(why(), "");
}

TEST_F(HealthDeskTest, SilenceIsDeathAfterThreeLooksAndAWordIsLife) {
  take_later("vm");
  hear(Said::kWell);
  now += 7s;  // Three intervals and the time of one look.
  EXPECT_EQ(why(), "");
  now += 1ms;
  EXPECT_EQ(why(), "nothing was heard of it for 7000 ms");
  hear(Said::kNothing);  // A sidecar that was started anew, and has not looked yet.
  EXPECT_EQ(why(), "");
  hear(Said::kWell);
  EXPECT_EQ(why(), "");
}

TEST_F(HealthDeskTest, WhoEndsIsGoneAtOnce) {
  take_later("vm");
  hear(Said::kWell);
  hear(Said::kLeaving);
  EXPECT_EQ(why(), "its sidecar has ended");
}

TEST_F(HealthDeskTest, AStartOfTheControlPlaneTakesNobodyOut) {
  take({machine("vm")});
  EXPECT_EQ(why(), "");
  now += HealthDesk::kStartGrace + 6s;
  hear(Said::kNothing);
  EXPECT_EQ(why(), "");
  now += 2s;
  EXPECT_NE(why(), "");
}

TEST_F(HealthDeskTest, WhoSaysAtTheStartThatItIsNotWellIsBelieved) {
  take({machine("vm")});
  hear(Said::kNotWell, "it is burning");
  EXPECT_EQ(why(), "its application is not well: it is burning");
}

TEST_F(HealthDeskTest, WhatIsKnownOutlivesAnEditAndGoesWithTheWorkload) {
  take_later("vm");
  hear(Said::kWell);
  take({machine("other"), machine("vm")});
  EXPECT_EQ(why(), "");
  take({machine("vm", false)});  // Nobody asks any more.
  EXPECT_EQ(desk.away(now).size(), 0u);
  take({machine("vm")});
  EXPECT_NE(why(), "");
  desk.hear("default/nobody", Said::kWell, "", now);
  EXPECT_EQ(desk.away(now).size(), 1u);
}

}  // namespace
}  // namespace glia
