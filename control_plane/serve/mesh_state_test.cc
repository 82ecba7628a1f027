// What sidecars shall have, and what an edit leaves as it was.
#include "control_plane/serve/mesh_state.h"

#include <gtest/gtest.h>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

std::string workload(const std::string& name, int host, const std::string& more = "") {
  return cat("---\napiVersion: glia.dev/v1\nkind: Workload\nmetadata: {name: ", name,
             ", labels: {app: ", name, "}}\nspec: {address: 10.0.9.", host,
             ", ports: [{name: http, port: 8080, appPort: 8081}]", more, "}\n");
}
std::string service(const std::string& name) {
  return cat("---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name,
             "}\nspec: {selector: {app: ", name, "}, ports: [{port: 80, targetPort: http}]}\n");
}
// `a` is split over b and c; `front` may call what `egress` says.
std::string mesh(const std::string& egress = "", const std::string& more = "") {
  return cat("apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\n",
             workload("front", 1, egress), workload("a", 2), workload("b", 3), workload("c", 4),
             service("a"), service("b"), service("c"),
             "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n"
             "spec:\n  parentRefs: [{group: '', kind: Service, name: a}]\n"
             "  rules: [{backendRefs: [{name: b, port: 80, weight: 1}, {name: c, port: 80}]}]\n",
             more);
}

LoadReport read(const std::string& text) {
  LoadReport report = parse({{"mesh.yaml", text}});
  EXPECT_TRUE(report.ok()) << report.errors();
  return report;
}
MeshState state(const std::string& text) { return MeshState(read(text).objects); }

std::string names(const NodeResources& node, XdsType type) {
  std::string all;
  for (const auto& [name, resource] : node.of(type).resources) {
    all += cat(all.empty() ? "" : " ", name);
  }
  return all;
}

TEST(MeshState, ASidecarMayCallEveryServiceUnlessItSaysWhich) {
  MeshState all = state(mesh());
  EXPECT_EQ(names(*all.resources("front"), XdsType::kCluster),
            "inbound:http outbound:80:a.default outbound:80:b.default outbound:80:c.default");
  MeshState some = state(mesh(", egress: [b]"));
  const auto node = some.resources("front");
  EXPECT_EQ(names(*node, XdsType::kCluster), "inbound:http outbound:80:b.default");
  EXPECT_EQ(names(*node, XdsType::kEndpoints), "outbound:80:b.default");
  EXPECT_EQ(names(*node, XdsType::kListener), "inbound:http outbound");
  envoy::config::route::v3::RouteConfiguration table;
  ASSERT_TRUE(node->of(XdsType::kRoutes).resources.at("outbound")->any().UnpackTo(&table));
  ASSERT_EQ(table.virtual_hosts_size(), 2);
  EXPECT_EQ(table.virtual_hosts(0).name(), "b.default:80");
  EXPECT_EQ(table.virtual_hosts(1).name(), "unknown-host");
  EXPECT_EQ(names(*some.resources("a"), XdsType::kCluster),
            "inbound:http outbound:80:a.default outbound:80:b.default outbound:80:c.default")
      << "others are not concerned";
}

TEST(MeshState, WhoMayCallAServiceGetsTheClustersThatItsRoutesLeadTo) {
  MeshState some = state(mesh(", egress: [default/a]"));
  EXPECT_EQ(names(*some.resources("front"), XdsType::kCluster),
            "inbound:http outbound:80:b.default outbound:80:c.default");
}

TEST(MeshState, ASidecarOnDemandHasWhatItHasUsedAndKnowsHowToFindMore) {
  MeshState all = state(mesh(", egress: [a, c]"));
  EXPECT_EQ(names(*all.resources("front", std::set<std::string>()), XdsType::kCluster),
            "inbound:http");
  const auto used = all.resources("front", {"default/b", "default/c", "default/gone"});
  EXPECT_EQ(names(*used, XdsType::kCluster), "inbound:http outbound:80:c.default")
      << "b is not among its egress";
  EXPECT_EQ(names(*used, XdsType::kEndpoints), "outbound:80:c.default");
  envoy::config::route::v3::RouteConfiguration table;
  ASSERT_TRUE(used->of(XdsType::kRoutes).resources.at("outbound")->any().UnpackTo(&table));
  ASSERT_EQ(table.virtual_hosts_size(), 2);
  EXPECT_EQ(table.virtual_hosts(1).name(), "unknown-host");
  EXPECT_TRUE(
      table.virtual_hosts(1).routes(0).typed_per_filter_config().contains("glia.discover_host"));
  EXPECT_EQ(names(*all.resources("front", {"default/a"}), XdsType::kCluster),
            "inbound:http outbound:80:b.default outbound:80:c.default")
      << "where the routes of a lead";
  EXPECT_EQ(all.resources("front", {"default/c"}), all.resources("front", {"default/c"}));
}

std::string relayed(const std::string& name, const std::string& more) {
  return cat("---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name,
             "}\nspec: {selector: {app: c}, ports: [{port: 5432, targetPort: http", more, "}]}\n");
}
constexpr char kRelayed[] = ", appProtocol: tcp";

// A relayed connection names no host that could be asked for.
TEST(MeshState, ASidecarOnDemandHasAllThatIsRelayedAndThatItMayCall) {
  MeshState some = state(
      mesh(", egress: [c, db]", relayed("db", kRelayed) + relayed("not-for-front", kRelayed)));
  EXPECT_EQ(names(*some.resources("front", std::set<std::string>()), XdsType::kCluster),
            "inbound:http outbound:5432:db.default");
  EXPECT_EQ(names(*some.resources("front", {"default/c"}), XdsType::kEndpoints),
            "outbound:5432:db.default outbound:80:c.default");
}

// As it is asked for every sidecar that reports.
TEST(MeshState, WhatASidecarMayCallIsNotMadeForItWhileItHasNotUsedIt) {
  MeshState all = state(mesh());
  const auto used = all.resources("front", {"default/c"});
  EXPECT_EQ(names(*all.callable("front"), XdsType::kCluster),
            "outbound:80:a.default outbound:80:b.default outbound:80:c.default");
  EXPECT_EQ(all.callable("front"), all.callable("a")) << "it is shared";
  EXPECT_EQ(all.resources("front", {"default/c"}), used);
  MeshState some = state(mesh(", egress: [b]"));
  EXPECT_EQ(names(*some.callable("front"), XdsType::kCluster), "outbound:80:b.default");
  EXPECT_EQ(some.callable("nobody"), nullptr);
}

TEST(MeshState, WhatSidecarsUsedAtSomeTimeIsForgotten) {
  MeshState all = state(mesh());
  const auto held = all.resources("front", {"default/c"});
  // Each workload holds what it used last.
  for (int i = 0; i < 5000; ++i) all.resources("a", {cat("default/x", i)});
  EXPECT_EQ(names(*all.resources("front", {"default/c"}), XdsType::kCluster),
            "inbound:http outbound:80:c.default");
}

// `glia config explain` and `diff`, and a proxy without a control plane, ask translate().
TEST(MeshState, SaysWhatTranslateSays) {
  for (const char* egress : {"", ", egress: [b]", ", egress: [a]"}) {
    MeshState state = glia::state(mesh(egress));
    const Workload& front = *state.objects().workload("front");
    const auto served = state.resources("front"),
               translated = pack(translate(state.objects(), front));
    for (const XdsType type : kXdsTypes) {
      EXPECT_EQ(names(*served, type), names(*translated, type)) << egress;
      EXPECT_EQ(served->of(type).version, translated->of(type).version) << egress;
    }
  }
}

TEST(MeshState, AServiceThatIsNotThereIsAMistake) {
  const LoadReport report = parse({{"mesh.yaml", mesh(", egress: [b, d]")}});
  EXPECT_FALSE(report.ok());
  EXPECT_NE(report.errors().find("Workload front: spec.egress: there is no Service default/d"),
            std::string::npos)
      << report.errors();
}

TEST(MeshState, WhatAnEditLeavesIsTheSameObject) {
  MeshState state = glia::state(mesh());
  const auto before = state.resources("front");
  ASSERT_EQ(state.apply(read(mesh("", service("front")))), MeshState::Edit::kTaken);
  const auto after = state.resources("front");
  for (const auto& [name, resource] : before->of(XdsType::kCluster).resources) {
    EXPECT_EQ(after->of(XdsType::kCluster).resources.at(name), resource) << name;
  }
  EXPECT_TRUE(
      after->of(XdsType::kListener).resources.same(before->of(XdsType::kListener).resources));
  EXPECT_NE(after->of(XdsType::kCluster).version, before->of(XdsType::kCluster).version);
}

TEST(MeshState, WhatIsTheSameForAllWorkloadsIsMadeOnce) {
  MeshState state = glia::state(mesh());
  const auto a = state.resources("a"), b = state.resources("b");
  EXPECT_TRUE(a->of(XdsType::kEndpoints).resources.same(b->of(XdsType::kEndpoints).resources));
  EXPECT_TRUE(a->of(XdsType::kRoutes).resources.same(b->of(XdsType::kRoutes).resources));
  EXPECT_TRUE(a->of(XdsType::kCluster).resources.same(b->of(XdsType::kCluster).resources))
      << "their applications are reached the same way";
}

TEST(MeshState, AClientWithoutASidecarHasAListenerForEveryName) {
  MeshState state = glia::state(mesh());
  const auto node = state.resources("front", ClientKind::kProxyless);
  const std::string listeners = names(*node, XdsType::kListener);
  for (const char* name : {"b.default:80", "b:80", "b.default.svc.cluster.local:80"}) {
    EXPECT_TRUE(node->of(XdsType::kListener).resources.contains(name)) << listeners;
  }
  EXPECT_FALSE(node->of(XdsType::kListener).resources.contains("inbound:http"));
  envoy::config::listener::v3::Listener listener;
  ASSERT_TRUE(node->of(XdsType::kListener).resources.at("b.default:80")->any().UnpackTo(&listener));
  EXPECT_TRUE(listener.has_api_listener());
  envoy::config::cluster::v3::Cluster cluster;
  ASSERT_TRUE(
      node->of(XdsType::kCluster).resources.at("outbound:80:b.default")->any().UnpackTo(&cluster));
  EXPECT_EQ(cluster.lb_policy(), envoy::config::cluster::v3::Cluster::ROUND_ROBIN);
}

// Of a hundred requests for `a`, how many may go to the candidate.
uint32_t candidate_weight(MeshState& state) {
  const auto node = state.resources("front");
  envoy::config::route::v3::RouteConfiguration table;
  EXPECT_TRUE(node->of(XdsType::kRoutes).resources.at("outbound")->any().UnpackTo(&table));
  const auto& shares = table.virtual_hosts(1).routes(0).route().weighted_clusters();
  EXPECT_EQ(shares.clusters(0).name(), "outbound:80:c.default");
  return shares.clusters(0).weight().value();
}

TEST(MeshState, WhatACanaryGetsIsTheControllersDecisionAndOutlastsEdits) {
  const std::string canary =
      "---\napiVersion: glia.dev/v1\nkind: Canary\nmetadata: {name: b}\n"
      "spec: {targetRef: {name: b}, candidate: {service: c}}\n";
  MeshState state = glia::state(mesh("", canary));
  EXPECT_EQ(candidate_weight(state), 0u);
  const auto before = state.resources("front");
  EXPECT_TRUE(state.split({{"default/b", {.weight = 25}}}));
  EXPECT_EQ(candidate_weight(state), 25u);
  EXPECT_EQ(state.resources("front")->of(XdsType::kCluster).version,
            before->of(XdsType::kCluster).version)
      << "only shares have changed";
  EXPECT_FALSE(state.split({{"default/b", {.weight = 25}}}));
  ASSERT_EQ(state.apply(read(mesh("", canary + service("front")))), MeshState::Edit::kTaken);
  EXPECT_EQ(candidate_weight(state), 25u);
  EXPECT_TRUE(state.split({}));
  EXPECT_EQ(candidate_weight(state), 0u);
}

// Of a mesh in two sources, whatever an edit is.
class TakenBack : public testing::Test {
 protected:
  using Edit = MeshState::Edit;
  static std::string split(int weight) {
    return cat(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: c}\nspec:\n"
        "  parentRefs: [{group: '', kind: Service, name: c}]\n  rules: [{backendRefs: [{name: c, "
        "port: 80, weight: ",
        weight, "}, {name: b, port: 80}]}]\n");
  }
  TakenBack() {
    const std::vector<ReadingRef> all = {read_source({"mesh.yaml", mesh()}),
                                         read_source({"c.yaml", split(1)})};
    state_.emplace(combine(all).objects, all);
    version_ = state_->objects().version;
    made_ = contents();
  }
  std::string contents() {
    std::string all;
    for (const XdsType type : kXdsTypes) {
      for (const char* name : {"front", "a"}) all += state_->resources(name)->of(type).version;
    }
    return all;
  }
  Edit edit(const std::vector<std::pair<std::string, std::string>>& files) {
    SourceEdit edit;
    for (const auto& [name, text] : files) {
      if (text.empty()) {
        edit.gone.push_back(name);
      } else {
        edit.read.push_back(read_source({name, text}));
      }
    }
    return state_->apply(edit);
  }
  void expect_as_before() {
    EXPECT_NE(contents(), made_);
    state_->take_back();
    EXPECT_EQ(contents(), made_);
    EXPECT_EQ(state_->objects().version, version_);
    EXPECT_TRUE(state_->errors().empty());
  }

  std::optional<MeshState> state_;
  std::string version_, made_;
};

TEST_F(TakenBack, APortThatIsRelayedFromNowOnConcernsAllOnDemand) {
  const auto held = [&] {
    return names(*state_->resources("front", {"default/b"}), XdsType::kCluster);
  };
  const auto save = [&](const std::string& more) {
    EXPECT_EQ(edit({{"mesh.yaml", mesh()}, {"c.yaml", split(1) + relayed("db", more)}}),
              Edit::kTaken);
  };
  save("");
  EXPECT_EQ(held(), "inbound:http outbound:80:b.default");
  save(kRelayed);
  EXPECT_EQ(held(), "inbound:http outbound:5432:db.default outbound:80:b.default");
  save("");
  EXPECT_EQ(held(), "inbound:http outbound:80:b.default");
}

TEST_F(TakenBack, OneObjectThatChanged) {
  ASSERT_EQ(edit({{"c.yaml", split(2)}}), Edit::kTaken);
  expect_as_before();
  EXPECT_EQ(edit({{"c.yaml", split(1)}}), Edit::kUnchanged);
}

TEST_F(TakenBack, SeveralSourcesOneOfThemGone) {
  ASSERT_EQ(edit({{"c.yaml", ""}, {"mesh.yaml", mesh("", service("d"))}}), Edit::kTaken);
  expect_as_before();
}

// What was refused for a mistake before it is not in force either, and does not come back.
TEST_F(TakenBack, WhatMendedAMistake) {
  ASSERT_EQ(edit({{"c.yaml", "kind: Nonsense\n"}}), Edit::kRefused);
  ASSERT_EQ(edit({{"c.yaml", split(2)}}), Edit::kTaken);
  expect_as_before();
  EXPECT_EQ(edit({{"mesh.yaml", mesh("", service("d"))}}), Edit::kTaken) << "others go on";
  EXPECT_NE(names(*state_->resources("front"), XdsType::kCluster).find(":d.default"),
            std::string::npos);
}

TEST_F(TakenBack, OnceOnly) {
  ASSERT_EQ(edit({{"mesh.yaml", mesh("", service("d"))}}), Edit::kTaken);
  state_->keep();
  const std::string kept = contents();
  state_->take_back();
  EXPECT_EQ(contents(), kept);
}

}  // namespace
}  // namespace glia
