// The ADS client against a control plane that the test plays, in virtual time.
#include "proxy/xds/ads.h"

#include <gtest/gtest.h>

#include <deque>

#include "proxy/xds/json.h"
#include "proxy/xds/wire.h"
#include "proxy/xds/yaml.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

constexpr std::string_view kBootstrap = R"(
node: {id: n1, cluster: c}
static_resources:
  clusters:
  - name: control
    load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 1}}}}]}]}
dynamic_resources:
  lds_config: {ads: {}}
  cds_config: {ads: {}}
  ads_config: {api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: control}}]}
)";

std::string bytes_of(std::string_view type, std::string_view yaml) {
  Message message(*MessageSchema::find(type));
  Errors errors("t");
  read_yaml(yaml, message, errors);
  EXPECT_EQ(errors.joined(), "");
  return encode_wire(message);
}

std::string cluster(const std::string& name, const std::string& more = "") {
  return bytes_of(
      message_of(ResourceKind::kCluster),
      "name: " + name + "\ntype: EDS\neds_cluster_config: {eds_config: {ads: {}}}\n" + more);
}
std::string endpoints(const std::string& name, int port) {
  return bytes_of(
      message_of(ResourceKind::kEndpoints),
      "cluster_name: " + name +
          "\nendpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: "
          "10.0.0.2, port_value: " +
          std::to_string(port) + "}}}}]}]");
}
std::string listener(const std::string& name, int port, const std::string& rds) {
  return bytes_of(message_of(ResourceKind::kListener), "name: " + name + R"(
address: {socket_address: {address: 127.0.0.1, port_value: )" +
                                                           std::to_string(port) + R"(}}
filter_chains:
- filters:
  - name: hcm
    typed_config:
      "@type": t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: s
      rds: {route_config_name: )" + rds + R"(, config_source: {ads: {}}}
      http_filters: [{name: r, typed_config: {"@type": t/envoy.extensions.filters.http.router.v3.Router}}]
)");
}
std::string routes(const std::string& name, const std::string& cluster) {
  return bytes_of(message_of(ResourceKind::kRoutes),
                  "name: " + name +
                      "\nvirtual_hosts: [{name: v, domains: [\"*\"], routes: [{match: {prefix: "
                      "/}, route: {cluster: " +
                      cluster + "}}]}]");
}

// What the client sent, as "cds version nonce [names] error", kinds by their short names.
std::string words(std::string_view bytes) {
  const auto message =
      decode_wire(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryRequest"), bytes);
  EXPECT_TRUE(message.ok());
  const auto text = [](const Message& m, std::string_view field) {
    const Entry* entry = m.find(field);
    return entry == nullptr ? std::string() : entry->text;
  };
  std::string out;
  for (const ResourceKind kind : kResourceKinds) {
    if (text(*message, "type_url") == type_url_of(kind)) out = std::string(short_of(kind));
  }
  out += " v" + text(*message, "version_info") + " n" + text(*message, "response_nonce");
  for (const Entry& entry : message->entries) {
    if (entry.field->name() == "resource_names") out += " " + entry.text;
  }
  if (const Entry* node = message->find("node")) out += " from " + text(*node->message, "id");
  if (const Entry* error = message->find("error_detail"))
    out += " error " + text(*error->message, "message");
  return out;
}

struct AdsTest : testing::Test {
  struct PlayedCall final : AdsCall {
    explicit PlayedCall(AdsTest& test) : test(test) { ++test.calls; }
    ~PlayedCall() override { test.watcher = nullptr; }
    void send(std::string message) override { test.sent.push_back(words(message)); }
    AdsTest& test;
  };

  SimWorld world{1};
  std::deque<std::string> sent;
  AdsCall::Watcher* watcher = nullptr;
  int calls = 0;
  int published = 0;
  std::unique_ptr<Configuration> configuration;
  std::unique_ptr<AdsClient> client;

  AdsTest() {
    Errors errors;
    auto bootstrap = parse_bootstrap(kBootstrap, "boot.yaml", {}, errors);
    EXPECT_EQ(errors.joined(), "");
    configuration = std::make_unique<Configuration>(world.loop(), *std::move(bootstrap),
                                                    [this](const SnapshotRef&) { ++published; });
    EXPECT_TRUE(configuration->start().ok());
    client = std::make_unique<AdsClient>(
        world.loop(), *configuration,
        [this](AdsCall::Watcher& w) {
          auto call = std::make_unique<PlayedCall>(*this);
          watcher = &w;
          return call;
        },
        7);
    client->start();
    world.run_for(1ms);
  }
  ~AdsTest() override { client.reset(); }

  void push(ResourceKind kind, const std::string& version, const std::string& nonce,
            const std::vector<std::string>& resources) {
    Message response(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryResponse"));
    response.add_text("version_info", version);
    response.add_text("type_url", type_url_of(kind));
    response.add_text("nonce", nonce);
    for (const std::string& resource : resources) {
      Message& any = response.add_message("resources");
      any.add_text("type_url", type_url_of(kind));
      any.add_text("value", resource);
    }
    watcher->on_message(encode_wire(response));
  }
  // All that was sent since the last time.
  std::vector<std::string> take() {
    std::vector<std::string> all(sent.begin(), sent.end());
    sent.clear();
    return all;
  }
  using Lines = std::vector<std::string>;
};

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
