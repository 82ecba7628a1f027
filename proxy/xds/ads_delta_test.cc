// The ADS client against a control plane that the test plays, delta; and resources that live for a
// while only, in both variants.
#include <utility>

#include "proxy/xds/ads_test_support.h"

namespace glia {
namespace {

using AdsDelta = PlayedDelta;

TEST_F(AdsDelta, AsksForEverythingOnceAndThenForWhatIsNamed) {
  EXPECT_EQ(take(), (Lines{"cds from n1", "lds"}));
  changes(ResourceKind::kCluster, "a",
          {{"reco", "1", cluster("reco")}, {"front", "1", cluster("front")}});
  EXPECT_EQ(take(), (Lines{"cds na", "eds +front +reco"}));
  changes(ResourceKind::kEndpoints, "b",
          {{"reco", "1", endpoints("reco", 80)}, {"stranger", "1", endpoints("stranger", 81)}});
  EXPECT_EQ(take(), (Lines{"eds nb"}));
  EXPECT_EQ(configuration->draft().of(ResourceKind::kEndpoints).size(), 1u) << "not the stranger";
  changes(ResourceKind::kListener, "c", {{"web", "1", listener("web", 8080, "main")}});
  EXPECT_EQ(take(), (Lines{"lds nc", "rds +main"}));
  EXPECT_FALSE(client->settled());
  changes(ResourceKind::kRoutes, "d", {{"main", "1", routes("main", "reco")}});
  changes(ResourceKind::kEndpoints, "e", {{"front", "1", endpoints("front", 80)}});
  EXPECT_TRUE(client->settled());
  EXPECT_EQ(configuration->snapshot()->version, "cds=sa eds=se lds=sc rds=sd");
}

TEST_F(AdsDelta, WhatAPushDoesNotMentionStays) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"b", "c1", cluster("b")}});
  EXPECT_EQ(take(), (Lines{"cds n5", "eds +b"}));
  EXPECT_TRUE(has("reco"));
  EXPECT_TRUE(has("b"));
  EXPECT_TRUE(has("control"));
}

TEST_F(AdsDelta, WhatIsRemovedGoesAndIsNotAskedForAnyMore) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"b", "c1", cluster("b")}});
  take();
  changes(ResourceKind::kCluster, "6", {}, {"b", "never heard of"});
  EXPECT_EQ(take(), (Lines{"cds n6", "eds -b"}));
  EXPECT_FALSE(has("b"));
  EXPECT_TRUE(has("reco"));
  changes(ResourceKind::kListener, "7", {}, {"web"});
  EXPECT_EQ(take(), (Lines{"lds n7", "rds -main"}));
  EXPECT_TRUE(configuration->snapshot()->listeners.empty());
}

TEST_F(AdsDelta, AnErrorInPlaceOfAResourceIsNoRemovalUnlessThereIsNoSuchResource) {
  constexpr uint64_t kNotFound = 5, kUnavailable = 14;  // google.rpc.Code
  settle();
  changes(ResourceKind::kCluster, "5", {{"idle", "c1", cluster("idle")}});
  changes(ResourceKind::kEndpoints, "6", {{"idle", "e1", endpoints("idle", 80)}});
  ASSERT_TRUE(has("idle"));
  take();
  changes(ResourceKind::kCluster, "7", {}, {}, {{"idle", kUnavailable, "its source is away"}});
  EXPECT_EQ(take(), (Lines{"cds n7"})) << "it is accepted";
  EXPECT_TRUE(has("idle"));
  changes(ResourceKind::kCluster, "8", {}, {}, {{"idle", kNotFound, "deleted"}});
  EXPECT_FALSE(has("idle"));
}

TEST_F(AdsDelta, AClusterInUseStaysUntilNoRouteNamesIt) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"b", "c1", cluster("b")}}, {"reco"});
  EXPECT_TRUE(has("reco")) << "its routes have not moved";
  EXPECT_EQ(take(), (Lines{"cds n5", "eds +b"}));
  changes(ResourceKind::kRoutes, "6", {{"main", "r2", routes("main", "b")}});
  EXPECT_FALSE(has("reco"));
  EXPECT_EQ(take(), (Lines{"rds n6", "eds -reco"}));
}

TEST_F(AdsDelta, AClusterStaysWhileARouteSendsCopiesToIt) {
  settle();
  const std::string mirroring =
      routes("main", "control, request_mirror_policies: [{cluster: reco}]");
  changes(ResourceKind::kRoutes, "5", {{"main", "r2", mirroring}});
  changes(ResourceKind::kCluster, "6", {}, {"reco"});
  EXPECT_TRUE(has("reco")) << "its route still names it";
  changes(ResourceKind::kRoutes, "7", {{"main", "r3", routes("main", "control")}});
  EXPECT_FALSE(has("reco"));
}

TEST_F(AdsDelta, AClusterInUseThatComesBackStaysForGood) {
  settle();
  changes(ResourceKind::kCluster, "5", {}, {"reco"});
  changes(ResourceKind::kCluster, "6", {{"reco", "c2", cluster("reco", "connect_timeout: 1s")}});
  changes(ResourceKind::kRoutes, "7", {{"main", "r2", routes("main", "control")}});
  EXPECT_TRUE(has("reco"));
}

TEST_F(AdsDelta, EndpointsAndRoutesThatAreRemovedStayWhileTheyAreWanted) {
  settle();
  const auto before = configuration->snapshot();
  changes(ResourceKind::kEndpoints, "5", {}, {"reco"});
  changes(ResourceKind::kRoutes, "6", {}, {"main"});
  EXPECT_EQ(take(), (Lines{"eds n5", "rds n6"}));
  EXPECT_EQ(configuration->snapshot()->clusters.at("reco"), before->clusters.at("reco"));
  EXPECT_EQ(configuration->snapshot()->listeners.at("web"), before->listeners.at("web"));
}

TEST_F(AdsDelta, ARefusalNamesTheResourceAndThePathAndKeepsTheOldOne) {
  settle();
  const auto before = configuration->snapshot();
  changes(ResourceKind::kCluster, "5",
          {{"good", "c1", cluster("good")}, {"reco", "c2", cluster("reco", "lb_policy: MAGLEV")}});
  EXPECT_EQ(
      take(),
      (Lines{"cds n5 error cluster[reco].lb_policy: MAGLEV is not supported by glia-proxy; it can "
             "be ROUND_ROBIN, LEAST_REQUEST or RANDOM"}));
  EXPECT_EQ(configuration->snapshot(), before) << "never half of a push";
  EXPECT_EQ(configuration->refusal(ResourceKind::kCluster)->version, "s5");
  changes(ResourceKind::kCluster, "6", {{"good", "c1", cluster("good")}});
  EXPECT_EQ(take(), (Lines{"cds n6", "eds +good"}));
  EXPECT_FALSE(configuration->refusal(ResourceKind::kCluster));
}

TEST_F(AdsDelta, ARefusedRemovalIsRefusedWhole) {
  settle();
  changes(ResourceKind::kListener, "5", {{"other", "l1", "\x08"}}, {"web"});
  EXPECT_EQ(take().size(), 1u);
  EXPECT_EQ(configuration->snapshot()->listeners.count("web"), 1u);
}

TEST_F(AdsDelta, AFreshStreamBeginsWithWhatIsHeld) {
  settle();
  changes(ResourceKind::kEndpoints, "5", {{"reco", "e2", endpoints("reco", 81)}});
  take();
  reconnect();
  EXPECT_EQ(take(), (Lines{"cds held reco=c1 from n1", "eds +reco held reco=e2", "lds held web=l1",
                           "rds +main held main=r1"}));
  EXPECT_TRUE(has("reco"));
  changes(ResourceKind::kCluster, "x", {{"reco", "c2", cluster("reco", "connect_timeout: 1s")}});
  EXPECT_EQ(take(), (Lines{"cds nx"}));
}

TEST_F(AdsDelta, WhatTheServerRemovedIsNotSaidToBeHeld) {
  settle();
  changes(ResourceKind::kCluster, "5", {}, {"reco"});
  EXPECT_TRUE(has("reco"));
  take();
  reconnect();
  EXPECT_EQ(take()[0], "cds from n1");
}

TEST_F(AdsDelta, AServerThatSendsARefusedPushAgainAtOnceDoesNotMakeUsSpin) {
  take();
  int answers = 0;
  for (int i = 1; i <= 60'000; ++i) {  // A minute, each millisecond.
    changes(ResourceKind::kCluster, std::to_string(i),
            {{"reco", "1", cluster("reco", "lb_policy: MAGLEV")}});
    world.run_for(1ms);
    answers += static_cast<int>(take().size());
  }
  EXPECT_GE(answers, 3);
  EXPECT_LE(answers, 9);
}

TEST_F(AdsDelta, AResourceIsDroppedWhenItsTimeIsOver) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"short", "c1", cluster("short"), 10}});
  take();
  world.run_for(9s);
  EXPECT_TRUE(has("short"));
  world.run_for(2s);
  EXPECT_FALSE(has("short"));
  EXPECT_TRUE(has("reco"));
  EXPECT_EQ(take(), (Lines{"eds -short"}));
}

TEST_F(AdsDelta, AHeartbeatGivesAResourceMoreTime) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"short", "c1", cluster("short"), 10}});
  take();
  for (int i = 0; i < 5; ++i) {
    world.run_for(9s);
    changes(ResourceKind::kCluster, "h" + std::to_string(i), {{"short", "c1", "", 10}});
    EXPECT_EQ(take(), (Lines{"cds nh" + std::to_string(i)}));
  }
  EXPECT_TRUE(has("short"));
  changes(ResourceKind::kCluster, "6", {{"short", "c2", cluster("short", "connect_timeout: 1s")}});
  world.run_for(1h);
  EXPECT_TRUE(has("short")) << "the newest push has no time to live";
}

TEST_F(AdsDelta, AHeartbeatIsNoWordOnWhatWasRefused) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"bad", "c1", cluster("bad", "lb_policy: MAGLEV")}});
  take();
  changes(ResourceKind::kCluster, "6", {{"reco", "c1", "", 10}});
  EXPECT_EQ(take(), (Lines{"cds n6"}));
  EXPECT_TRUE(configuration->refusal(ResourceKind::kCluster));
  world.run_for(11s);
  EXPECT_FALSE(has("reco"));
}

TEST_F(AdsDelta, TimeGoesOnWithoutAControlPlane) {
  settle();
  changes(ResourceKind::kListener, "5", {{"brief", "l1", listener("brief", 8081, "main"), 30}});
  EXPECT_EQ(configuration->snapshot()->listeners.size(), 2u);
  std::exchange(watcher, nullptr)->on_end("gone");
  world.run_for(31s);
  EXPECT_EQ(configuration->snapshot()->listeners.size(), 1u);
}

struct AdsTtl : PlayedAds {};

TEST_F(AdsTtl, HeartbeatsAloneTakeNothingAwayInStateOfTheWorld) {
  const auto wrapped = [](const AdsDelta::Part& part) {
    Message wrapper(*MessageSchema::find("envoy.service.discovery.v3.Resource"));
    AdsDelta::fill(wrapper, ResourceKind::kCluster, part);
    return encode_wire(wrapper);
  };
  const auto push_wrapped = [&](const std::string& nonce, const std::string& bytes) {
    Message response(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryResponse"));
    response.add_text("version_info", "1");
    response.add_text("type_url", type_url_of(ResourceKind::kCluster));
    response.add_text("nonce", nonce);
    Message& any = response.add_message("resources");
    any.add_text("type_url", "type.googleapis.com/envoy.service.discovery.v3.Resource");
    any.add_text("value", bytes);
    watcher->on_message(encode_wire(response));
  };
  push_wrapped("a", wrapped({"short", "1", cluster("short"), 10}));
  world.run_for(9s);
  push_wrapped("b", wrapped({"short", "1", "", 10}));
  world.run_for(9s);
  EXPECT_EQ(configuration->snapshot()->clusters.count("short"), 1u);
  world.run_for(2s);
  EXPECT_EQ(configuration->snapshot()->clusters.count("short"), 0u);
}

}  // namespace
}  // namespace glia
