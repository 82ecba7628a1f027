// A control plane that a test plays, message by message, for the ADS client in virtual time.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/xds/ads.h"
#include "proxy/xds/wire.h"
#include "proxy/xds/yaml.h"
#include "test/sim/sim.h"

namespace glia {

// `api_type`: GRPC or DELTA_GRPC.
inline std::string played_bootstrap(const std::string& api_type) {
  return R"(
node: {id: n1, cluster: c}
static_resources:
  clusters:
  - name: control
    load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 1}}}}]}]}
dynamic_resources:
  lds_config: {ads: {}}
  cds_config: {ads: {}}
  ads_config: {api_type: )" +
         api_type + R"(, grpc_services: [{envoy_grpc: {cluster_name: control}}]}
)";
}

inline std::string bytes_of(std::string_view type, std::string_view yaml) {
  Message message(*MessageSchema::find(type));
  Errors errors("t");
  read_yaml(yaml, message, errors);
  EXPECT_EQ(errors.joined(), "");
  return encode_wire(message);
}

inline std::string cluster(const std::string& name, const std::string& more = "") {
  return bytes_of(
      message_of(ResourceKind::kCluster),
      "name: " + name + "\ntype: EDS\neds_cluster_config: {eds_config: {ads: {}}}\n" + more);
}
inline std::string endpoints(const std::string& name, int port) {
  return bytes_of(
      message_of(ResourceKind::kEndpoints),
      "cluster_name: " + name +
          "\nendpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: "
          "10.0.0.2, port_value: " +
          std::to_string(port) + "}}}}]}]");
}
inline std::string listener(const std::string& name, int port, const std::string& rds) {
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
inline std::string routes(const std::string& name, const std::string& cluster) {
  return bytes_of(message_of(ResourceKind::kRoutes),
                  "name: " + name +
                      "\nvirtual_hosts: [{name: v, domains: [\"*\"], routes: [{match: {prefix: "
                      "/}, route: {cluster: " +
                      cluster + "}}]}]");
}

// What the client sent, "cds v<version> n<nonce> name... error why" in state of the world, and "cds
// +name -name held name=version n<nonce> error why" in delta; kinds by their short names.
inline std::string words(std::string_view bytes, bool delta) {
  const auto message =
      decode_wire(*MessageSchema::find(delta ? "envoy.service.discovery.v3.DeltaDiscoveryRequest"
                                             : "envoy.service.discovery.v3.DiscoveryRequest"),
                  bytes);
  EXPECT_TRUE(message.ok());
  const auto text = [](const Message& m, std::string_view field) {
    const Entry* entry = m.find(field);
    return entry == nullptr ? std::string() : entry->text;
  };
  std::string out;
  for (const ResourceKind kind : kResourceKinds) {
    if (text(*message, "type_url") == type_url_of(kind)) out = std::string(short_of(kind));
  }
  if (!delta) {
    out += " v" + text(*message, "version_info") + " n" + text(*message, "response_nonce");
  }
  for (const Entry& entry : message->entries) {
    const std::string_view field = entry.field->name();
    if (field == "resource_names") out += " " + entry.text;
    if (field == "resource_names_subscribe") out += " +" + entry.text;
    if (field == "resource_names_unsubscribe") out += " -" + entry.text;
    if (field == "initial_resource_versions") {
      out += " held " + text(*entry.message, "key") + "=" + text(*entry.message, "value");
    }
  }
  const std::string nonce = text(*message, "response_nonce");
  if (delta && !nonce.empty()) out += " n" + nonce;
  if (const Entry* node = message->find("node")) out += " from " + text(*node->message, "id");
  if (const Entry* error = message->find("error_detail"))
    out += " error " + text(*error->message, "message");
  return out;
}

struct PlayedAds : testing::Test {
  struct PlayedCall final : AdsCall {
    explicit PlayedCall(PlayedAds& test) : test(test) { ++test.calls; }
    ~PlayedCall() override { test.watcher = nullptr; }
    void send(std::string message) override { test.sent.push_back(words(message, test.delta)); }
    PlayedAds& test;
  };

  SimWorld world{1};
  std::deque<std::string> sent;
  AdsCall::Watcher* watcher = nullptr;
  int calls = 0;
  int published = 0;
  std::unique_ptr<Configuration> configuration;
  std::unique_ptr<AdsClient> client;

  const bool delta;

  explicit PlayedAds(bool delta = false) : delta(delta) {
    make();
    client->start();
    world.run_for(1ms);
  }
  // A proxy that has only just begun; the one before is gone.
  void make() {
    client.reset();
    Errors errors;
    auto bootstrap =
        parse_bootstrap(played_bootstrap(delta ? "DELTA_GRPC" : "GRPC"), "boot.yaml", {}, errors);
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
  }
  ~PlayedAds() override { client.reset(); }

  // A resource_errors entry; codes are google.rpc.Code.
  struct Trouble {
    std::string name;
    uint64_t code;
    std::string why;
  };
  static void fill(Message& error, const Trouble& trouble) {
    error.add_message("resource_name").add_text("name", trouble.name);
    Message& status = error.add_message("error_detail");
    status.add_bits("code", trouble.code);
    status.add_text("message", trouble.why);
  }
  void push(ResourceKind kind, const std::string& version, const std::string& nonce,
            const std::vector<std::string>& resources, const std::vector<Trouble>& errors = {}) {
    Message response(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryResponse"));
    response.add_text("version_info", version);
    response.add_text("type_url", type_url_of(kind));
    response.add_text("nonce", nonce);
    for (const std::string& resource : resources) {
      Message& any = response.add_message("resources");
      any.add_text("type_url", type_url_of(kind));
      any.add_text("value", resource);
    }
    for (const Trouble& error : errors) fill(response.add_message("resource_errors"), error);
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

// The same in delta.
struct PlayedDelta : PlayedAds {
  PlayedDelta() : PlayedAds(true) {}

  struct Part {
    std::string name, version, bytes;
    std::optional<int> ttl_s = {};
  };
  // An envoy.service.discovery.v3.Resource; without bytes it is a heartbeat.
  static void fill(Message& resource, ResourceKind kind, const Part& part) {
    resource.add_text("name", part.name);
    resource.add_text("version", part.version);
    if (part.ttl_s) {
      resource.add_message("ttl").add_bits("seconds", static_cast<uint64_t>(*part.ttl_s));
    }
    if (part.bytes.empty()) return;
    Message& any = resource.add_message("resource");
    any.add_text("type_url", type_url_of(kind));
    any.add_text("value", part.bytes);
  }
  void changes(ResourceKind kind, const std::string& nonce, const std::vector<Part>& parts,
               const std::vector<std::string>& removed = {},
               const std::vector<Trouble>& errors = {}) {
    Message response(*MessageSchema::find("envoy.service.discovery.v3.DeltaDiscoveryResponse"));
    response.add_text("system_version_info", "s" + nonce);
    response.add_text("type_url", type_url_of(kind));
    response.add_text("nonce", nonce);
    for (const Part& part : parts) fill(response.add_message("resources"), kind, part);
    for (const std::string& name : removed) response.add_text("removed_resources", name);
    for (const Trouble& error : errors) {
      PlayedAds::fill(response.add_message("resource_errors"), error);
    }
    watcher->on_message(encode_wire(response));
  }
  // A proxy with one cluster, one listener and routes from one to the other.
  void settle() {
    changes(ResourceKind::kCluster, "1", {{"reco", "c1", cluster("reco")}});
    changes(ResourceKind::kEndpoints, "2", {{"reco", "e1", endpoints("reco", 80)}});
    changes(ResourceKind::kListener, "3", {{"web", "l1", listener("web", 8080, "main")}});
    changes(ResourceKind::kRoutes, "4", {{"main", "r1", routes("main", "reco")}});
    EXPECT_TRUE(client->settled());
    take();
  }
  bool has(const std::string& cluster) {
    return configuration->snapshot()->clusters.count(cluster);
  }
  void reconnect() {
    std::exchange(watcher, nullptr)->on_end("reset");
    world.run_for(600ms);
  }
};

}  // namespace glia
