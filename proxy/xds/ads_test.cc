// The ADS client against a control plane that the test plays, state of the world.
#include <utility>

#include "proxy/xds/ads_test_support.h"
#include "proxy/xds/json.h"

namespace glia {
namespace {

using AdsTest = PlayedAds;

TEST_F(AdsTest, AsksForEverythingOnceAndThenForWhatIsNamed) {
  EXPECT_EQ(take(), (Lines{"cds v n from n1", "lds v n"}));
  push(ResourceKind::kCluster, "1", "a", {cluster("reco"), cluster("front")});
  EXPECT_EQ(take(), (Lines{"cds v1 na", "eds v n front reco"}));
  push(ResourceKind::kEndpoints, "1", "b", {endpoints("reco", 80), endpoints("stranger", 81)});
  EXPECT_EQ(take(), (Lines{"eds v1 nb front reco"}));
  push(ResourceKind::kListener, "1", "c", {listener("web", 8080, "main")});
  EXPECT_EQ(take(), (Lines{"lds v1 nc", "rds v n main"}));
  EXPECT_FALSE(client->settled());
  push(ResourceKind::kRoutes, "1", "d", {routes("main", "reco")});
  EXPECT_EQ(take(), (Lines{"rds v1 nd main"}));
  EXPECT_EQ(configuration->warming(), (Lines{"cluster front waits for endpoints front"}));
  push(ResourceKind::kEndpoints, "2", "e", {endpoints("front", 80)});
  EXPECT_TRUE(client->settled());
  const Snapshot& snapshot = *configuration->snapshot();
  EXPECT_EQ(snapshot.version, "cds=1 eds=2 lds=1 rds=1");
  EXPECT_EQ(snapshot.clusters.at("reco")->endpoints->endpoints[0].address.port(), 80);
  EXPECT_EQ(configuration->draft().of(ResourceKind::kEndpoints).size(), 2u);  // Not the stranger.
  EXPECT_NE(snapshot.listeners.at("web")->chains[0].http.routes, nullptr);
}

TEST_F(AdsTest, PublishesOnceATurn) {
  world.run_for(1ms);
  const int before = published;
  push(ResourceKind::kCluster, "1", "a", {cluster("reco")});
  push(ResourceKind::kEndpoints, "1", "b", {endpoints("reco", 80)});
  push(ResourceKind::kListener, "1", "c", {listener("web", 8080, "main")});
  EXPECT_EQ(published, before);
  world.run_for(1ms);
  EXPECT_EQ(published, before + 1);
}

TEST_F(AdsTest, ARefusedPushKeepsTheOldOneAndSaysWhy) {
  push(ResourceKind::kCluster, "1", "a", {cluster("reco")});
  const auto old = configuration->snapshot();
  take();
  push(ResourceKind::kCluster, "2", "b", {cluster("reco", "lb_policy: MAGLEV")});
  EXPECT_EQ(
      take(),
      (Lines{"cds v1 nb error cluster[reco].lb_policy: MAGLEV is not supported by glia-proxy; it "
             "can be ROUND_ROBIN, LEAST_REQUEST or RANDOM"}));
  EXPECT_EQ(configuration->snapshot(), old);
  ASSERT_TRUE(configuration->refusal(ResourceKind::kCluster));
  EXPECT_EQ(configuration->refusal(ResourceKind::kCluster)->version, "2");
  // Good resources of other types go on.
  push(ResourceKind::kEndpoints, "1", "c", {endpoints("reco", 80)});
  EXPECT_EQ(take(), (Lines{"eds v1 nc reco"}));
  push(ResourceKind::kCluster, "3", "d", {cluster("reco"), cluster("b")});
  EXPECT_EQ(take(), (Lines{"cds v3 nd", "eds v1 nc b reco"}));
  EXPECT_FALSE(configuration->refusal(ResourceKind::kCluster));
}

TEST_F(AdsTest, TheSameNameTwiceIsRefused) {
  take();
  push(ResourceKind::kCluster, "1", "a", {cluster("reco"), cluster("reco", "connect_timeout: 1s")});
  EXPECT_EQ(take(), (Lines{"cds v na error cluster[reco]: is in the push twice"}));
  push(ResourceKind::kCluster, "2", "b", {cluster("control")});
  EXPECT_EQ(take(), (Lines{"cds v nb error cluster[control]: a static resource has this name"}));
  push(ResourceKind::kListener, "1", "c", {listener("a", 1, "r"), listener("b", 1, "r")});
  EXPECT_EQ(
      take(),
      (Lines{"lds v nc error listener[b].address: 127.0.0.1:1 is the address of listener[a] as "
             "well"}));
  push(ResourceKind::kListener, "2", "d", {"\x08"});
  EXPECT_EQ(
      take(),
      (Lines{"lds v nd error listener: message envoy.config.listener.v3.Listener is cut off or "
             "broken near byte 1"}));
}

TEST_F(AdsTest, AServerThatSendsARefusedPushAgainAtOnceDoesNotMakeUsSpin) {
  take();
  const std::vector<std::string> bad{cluster("reco", "lb_policy: MAGLEV")};
  push(ResourceKind::kCluster, "1", "0", bad);
  EXPECT_EQ(take().size(), 1u);
  int answers = 0;
  for (int i = 1; i <= 60'000; ++i) {  // A minute, each millisecond.
    push(ResourceKind::kCluster, "1", std::to_string(i), bad);
    world.run_for(1ms);
    answers += static_cast<int>(take().size());
  }
  EXPECT_GE(answers, 3);
  EXPECT_LE(answers, 8);
  push(ResourceKind::kCluster, "2", "good", {});
  EXPECT_EQ(take(), (Lines{"cds v2 ngood"}));
}

TEST_F(AdsTest, WhatIsAbsentIsRemovedForClustersAndListenersOnly) {
  push(ResourceKind::kCluster, "1", "a", {cluster("a"), cluster("b")});
  push(ResourceKind::kEndpoints, "1", "b", {endpoints("a", 1), endpoints("b", 2)});
  push(ResourceKind::kEndpoints, "2", "c", {endpoints("a", 3)});
  EXPECT_EQ(configuration->snapshot()->clusters.at("b")->endpoints->endpoints[0].address.port(), 2);
  take();
  push(ResourceKind::kCluster, "2", "d", {cluster("a")});
  EXPECT_EQ(take(), (Lines{"cds v2 nd", "eds v2 nc a"}));
  EXPECT_EQ(configuration->snapshot()->clusters.count("b"), 0u);
  EXPECT_EQ(configuration->snapshot()->clusters.count("control"), 1u);
  push(ResourceKind::kCluster, "3", "e", {});
  EXPECT_EQ(take(), (Lines{"cds v3 ne", "eds v2 nc"}));  // An empty list unsubscribes.
}

constexpr uint64_t kNotFound = 5, kUnavailable = 14;  // google.rpc.Code

// The protocol's rule for resource_errors: an error is no deletion, unless it says that there is no such
// resource.
TEST_F(AdsTest, WhatTheControlPlaneCannotSayStaysAsItWas) {
  push(ResourceKind::kCluster, "1", "a", {cluster("a"), cluster("b"), cluster("c")});
  push(ResourceKind::kEndpoints, "1", "b", {endpoints("a", 1), endpoints("b", 2)});
  push(ResourceKind::kListener, "1", "c", {});
  take();
  push(ResourceKind::kCluster, "2", "d", {cluster("a")},
       {{"b", kUnavailable, "its source is away"}, {"c", kNotFound, "deleted"}});
  EXPECT_EQ(take().front(), "cds v2 nd") << "it is accepted";
  EXPECT_EQ(configuration->snapshot()->clusters.count("b"), 1u);
  EXPECT_EQ(configuration->draft().of(ResourceKind::kCluster).count("c"), 0u);
  // The next state of the world is one without errors.
  push(ResourceKind::kCluster, "3", "e", {cluster("a")});
  EXPECT_EQ(configuration->snapshot()->clusters.count("b"), 0u);
}

TEST_F(AdsTest, StartUpDoesNotWaitForWhatTheControlPlaneHasOnlyErrorsFor) {
  push(ResourceKind::kCluster, "1", "a", {cluster("a"), cluster("b")});
  push(ResourceKind::kListener, "1", "c", {});
  push(ResourceKind::kEndpoints, "1", "b", {endpoints("a", 1)});
  EXPECT_FALSE(client->settled()) << "nothing was said of the endpoints of b";
  push(ResourceKind::kEndpoints, "2", "d", {endpoints("a", 1)},
       {{"b", kUnavailable, "its source is away"}});
  EXPECT_TRUE(client->settled());
  EXPECT_FALSE(client->was_complete());
  push(ResourceKind::kEndpoints, "3", "e", {endpoints("a", 1), endpoints("b", 2)});
  EXPECT_TRUE(client->was_complete());
}

TEST_F(AdsTest, AfterAReconnectVersionsAndNamesAreToldAgain) {
  push(ResourceKind::kCluster, "7", "a", {cluster("reco")});
  take();
  std::exchange(watcher, nullptr)->on_end("reset");
  EXPECT_FALSE(client->connected());
  world.run_for(600ms);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(take(), (Lines{"cds v7 n from n1", "eds v n reco", "lds v n"}));
  EXPECT_EQ(configuration->snapshot()->clusters.count("reco"), 1u);
}

TEST_F(AdsTest, AControlPlaneThatIsAwayIsAskedLessAndLessOften) {
  for (int i = 0; i < 1000 && world.passed() < 600s; ++i) {
    if (watcher != nullptr) std::exchange(watcher, nullptr)->on_end("refused");
    world.run_for(100ms);
  }
  // Half a second doubling to thirty, with jitter: some dozens in ten minutes at most.
  EXPECT_LE(calls, 60);
  EXPECT_GE(calls, 5);
}

TEST_F(AdsTest, StartUpDoesNotWaitForEver) {
  EXPECT_FALSE(client->settled());
  world.run_for(14s);
  EXPECT_FALSE(client->settled());
  world.run_for(2s);
  EXPECT_TRUE(client->settled());
}

TEST_F(AdsTest, AnUnchangedPushKeepsEveryObject) {
  push(ResourceKind::kCluster, "1", "a", {cluster("reco")});
  push(ResourceKind::kEndpoints, "1", "b", {endpoints("reco", 80)});
  push(ResourceKind::kListener, "1", "c", {listener("web", 8080, "main")});
  push(ResourceKind::kRoutes, "1", "d", {routes("main", "reco")});
  const auto before = configuration->snapshot();
  push(ResourceKind::kListener, "2", "e", {listener("web", 8080, "main")});
  push(ResourceKind::kCluster, "2", "f", {cluster("reco"), cluster("new")});
  const auto after = configuration->snapshot();
  EXPECT_EQ(after->listeners.at("web"), before->listeners.at("web"));
  EXPECT_EQ(after->clusters.at("reco"), before->clusters.at("reco"));
  EXPECT_EQ(after->clusters.at("new")->endpoints, nullptr);
}

TEST_F(AdsTest, AListenerKeepsItsRoutesUntilTheNewOnesArrive) {
  push(ResourceKind::kListener, "1", "a", {listener("web", 8080, "main")});
  EXPECT_EQ(configuration->snapshot()->listeners.at("web")->chains[0].http.routes, nullptr);
  push(ResourceKind::kRoutes, "1", "b", {routes("main", "reco")});
  const auto before = configuration->snapshot()->listeners.at("web");
  push(ResourceKind::kListener, "2", "c", {listener("web", 8080, "other")});
  EXPECT_EQ(configuration->snapshot()->listeners.at("web"), before);
  EXPECT_EQ(configuration->warming(), (Lines{"listener web waits for routes other"}));
  push(ResourceKind::kRoutes, "2", "d", {routes("other", "reco")});
  EXPECT_EQ(configuration->snapshot()->listeners.at("web")->chains[0].http.routes->name(), "other");
  EXPECT_TRUE(configuration->warming().empty());
}

TEST_F(AdsTest, NonsenseFromTheServerIsIgnored) {
  take();
  watcher->on_message("\xff\xff");
  Message response(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryResponse"));
  response.add_text("type_url", "type.googleapis.com/x.Y");
  watcher->on_message(encode_wire(response));
  push(ResourceKind::kSecret, "1", "a", {});
  EXPECT_EQ(take(), Lines{});
}

}  // namespace
}  // namespace glia
