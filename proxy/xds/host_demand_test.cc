// Asking a control plane, which the test plays, for hosts by name.
#include "proxy/xds/host_demand.h"

#include <utility>

#include "proxy/base/text.h"
#include "proxy/xds/ads_test_support.h"

namespace glia {
namespace {

struct HostDemandTest : PlayedAds {
  HostDemandTest() : PlayedAds(true) {
    client->discover([this](const std::string& host, const Error& error) {
      refused.push_back(cat(host, ": ", error.message()));
      kinds.push_back(error.kind());
    });
    reconnect();  // The first stream began without it.
  }
  // What is in a push of one resource.
  void changes(const std::string& type, const std::string& nonce, const std::string& name,
               const std::string& bytes) {
    Message response(*MessageSchema::find("envoy.service.discovery.v3.DeltaDiscoveryResponse"));
    response.add_text("system_version_info", "s" + nonce);
    response.add_text("type_url", type);
    response.add_text("nonce", nonce);
    Message& resource = response.add_message("resources");
    resource.add_text("name", name);
    resource.add_text("version", nonce);
    Message& any = resource.add_message("resource");
    any.add_text("type_url", type);
    any.add_text("value", bytes);
    watcher->on_message(encode_wire(response));
  }
  void push(ResourceKind kind, const std::string& nonce, const std::string& name,
            const std::string& bytes) {
    changes(type_url_of(kind), nonce, name, bytes);
  }
  void says(const std::string& host, const std::string& yaml) {
    changes("type.googleapis.com/glia.v1.Host", "h", host, bytes_of("glia.v1.Host", yaml));
  }
  // A table that holds these hosts and knows how to find others.
  static std::string table(const std::vector<std::string>& names,
                           const std::string& idle = "3600s") {
    std::string hosts;
    for (const std::string& name : names) {
      const bool forwards = name.starts_with("by-route");
      hosts +=
          cat("{name: '", name, "', domains: ['", name, "'], routes: [{match: {prefix: /}, ",
              forwards ? "route: {cluster: control}" : "direct_response: {status: 200}", "}]}, ");
    }
    return bytes_of(message_of(ResourceKind::kRoutes),
                    cat("name: main\nvirtual_hosts: [", hosts, R"({name: unknown, domains: ["*"],
  routes: [{match: {prefix: /}, direct_response: {status: 404}, typed_per_filter_config: {
    d: {"@type": t/glia.v1.DiscoverHost, idle: )",
                        idle, "}}}]}]"));
  }
  void settle(const std::vector<std::string>& names) {
    push(ResourceKind::kListener, "1", "web", listener("web", 8080, "main"));
    push(ResourceKind::kRoutes, "2", "main", table(names));
    take();
  }
  void reconnect() {
    std::exchange(watcher, nullptr)->on_end("reset");
    world.run_for(600ms);
  }

  // Of what is used nothing is given back.
  void forgets(const std::vector<std::string>& names, const std::string& idle) {
    client->forget_idle_hosts([this] { client->hosts_used(used); });
    push(ResourceKind::kListener, "1", "web", listener("web", 8080, "main"));
    push(ResourceKind::kRoutes, "2", "main", table(names, idle));
    take();
  }

  std::set<std::string> used;
  std::vector<std::string> refused;
  std::vector<ErrorKind> kinds;
};

TEST_F(HostDemandTest, AsksForEachHostOnceAndSeveralTogether) {
  settle({});
  client->want_host("reco", 5s);
  world.run_for(1ms);
  EXPECT_EQ(take(), (Lines{" +reco"}));
  client->want_host("b", 5s);
  client->want_host("a", 5s);
  client->want_host("reco", 5s);
  world.run_for(1ms);
  EXPECT_EQ(take(), Lines{});
  world.run_for(HostDemand::kBetweenRequests);
  EXPECT_EQ(take(), (Lines{" +a +b"}));
  says("reco", "{}");
  EXPECT_EQ(take(), (Lines{" nh"}));
  push(ResourceKind::kRoutes, "3", "main", table({"reco:80", "a", "b"}));
  world.run_for(10s);
  EXPECT_EQ(refused, Lines{});
}

TEST_F(HostDemandTest, ARefusalIsTold) {
  settle({});
  client->want_host("reco", 5s);
  client->want_host("web", 5s);
  world.run_for(1ms);
  says("reco", "{status: 404, sentence: no such Service}");
  says("web", "{status: 403, sentence: not you}");
  EXPECT_EQ(refused, (Lines{"reco: no such Service", "web: not you"}));
  EXPECT_EQ(kinds, (std::vector<ErrorKind>{ErrorKind::kNoRoute, ErrorKind::kDenied}));
  // Nobody waits for it any more.
  says("reco", "{status: 404, sentence: no such Service}");
  world.run_for(10s);
  EXPECT_EQ(refused.size(), 2u);
}

TEST_F(HostDemandTest, AStreamBeginsWithAllThatIsHeldOrWanted) {
  settle({"b.default:80", "a.default:80"});
  client->want_host("c", 60s);
  world.run_for(1ms);
  take();
  reconnect();
  const Lines sent = take();
  ASSERT_EQ(sent.size(), 4u);
  EXPECT_EQ(sent[0], " +b.default:80 +a.default:80 +c from n1");
  EXPECT_TRUE(sent[1].starts_with("cds")) << sent[1];
}

TEST_F(HostDemandTest, WithoutAnAnswerItEndsInTime) {
  settle({});
  client->want_host("reco", 5s);
  world.run_for(4s);
  client->want_host("b", 5s);
  EXPECT_EQ(refused, Lines{});
  world.run_for(2s);
  EXPECT_EQ(refused, (Lines{"reco: the control plane did not say within 5000 ms where reco is"}));
  std::exchange(watcher, nullptr)->on_end("connection refused");
  world.run_for(5s);
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_EQ(refused[1],
            "b: the control plane did not say within 5000 ms where b is; it is not "
            "reached: connection refused");
  EXPECT_EQ(kinds[1], ErrorKind::kNoCluster);
}

TEST_F(HostDemandTest, WhatNobodyUsesIsGivenBackWithAllItsPorts) {
  forgets({"a.d:80", "a.d:90", "b.d:80", "by-route.d:80"}, "60s");
  used = {"outbound:5432:b.d", "control"};
  world.run_for(59s);
  EXPECT_EQ(take(), Lines{});
  world.run_for(30s);
  EXPECT_EQ(take(), (Lines{" -a.d:80 -a.d:90"}));
  EXPECT_EQ(client->hosts_given_back(), 2u);
  push(ResourceKind::kRoutes, "3", "main", table({"b.d:80", "by-route.d:80"}, "60s"));
  EXPECT_EQ(take().size(), 1u);
  world.run_for(1h);
  EXPECT_EQ(take(), Lines{});
  used = {"control"};
  world.run_for(80s);
  EXPECT_EQ(take(), (Lines{" -b.d:80"}));
  // Meanwhile somebody wants it again.
  push(ResourceKind::kRoutes, "4", "main", table({"by-route.d:80"}, "60s"));
  take();
  client->want_host("b", 5s);
  world.run_for(1ms);
  EXPECT_EQ(take(), (Lines{" +b"}));
}

// A request may ask just before it gets the drawing that has its host.
TEST_F(HostDemandTest, WhatIsHeldIsNotWantedAndWhoAsksLaterIsWaitedForLonger) {
  settle({"reco"});
  client->want_host("reco", 5s);
  world.run_for(1ms);
  EXPECT_EQ(take(), Lines{});
  push(ResourceKind::kRoutes, "3", "main", table({}));  // Given back.
  take();
  client->want_host("reco", 5s);
  world.run_for(4s);
  EXPECT_EQ(take(), (Lines{" +reco"}));
  client->want_host("reco", 5s);
  world.run_for(4s);
  EXPECT_EQ(refused, Lines{});
  world.run_for(2s);
  EXPECT_EQ(refused.size(), 1u);
}

TEST_F(HostDemandTest, NothingIsGivenBackWhileTheControlPlaneIsAwayNorWhereNoTimeIsSet) {
  forgets({"a.d:80"}, "60s");
  for (int i = 0; i < 200; ++i) {
    if (watcher != nullptr) std::exchange(watcher, nullptr)->on_end("gone");
    world.run_for(5s);
  }
  EXPECT_EQ(client->hosts_given_back(), 0u);
  world.run_for(60s);
  push(ResourceKind::kRoutes, "3", "main", table({"a.d:80"}, "0s"));
  world.run_for(1h);
  EXPECT_EQ(client->hosts_given_back(), 0u);
}

TEST_F(HostDemandTest, AsksForSoManyHostsAtATimeOnly) {
  settle({});
  for (std::size_t i = 0; i <= HostDemand::kMostHosts; ++i) client->want_host(cat("h", i), 5s);
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0], cat("h", HostDemand::kMostHosts,
                            ": the control plane is asked for 1000 hosts already; try again"));
  EXPECT_EQ(kinds[0], ErrorKind::kOverflow);
}

}  // namespace
}  // namespace glia
