// Secrets, TLS contexts, and what /config_dump says of it all.
#include "proxy/xds/configuration.h"

#include <gtest/gtest.h>

#include "proxy/net/x509.h"
#include "proxy/xds/config_dump.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

constexpr std::string_view kBootstrap = R"(
node: {id: n1, cluster: c}
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 1}}
    filter_chains:
    - &chain
      filter_chain_match: {server_names: [a.com]}
      transport_socket: &tls
        name: tls
        typed_config:
          "@type": t/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_certificate_sds_secret_configs: [{name: default}]
            validation_context_sds_secret_config: {name: ROOTCA}
      filters: &filters
      - name: hcm
        typed_config:
          "@type": t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          http_filters:
          - {name: a, typed_config: {"@type": t/glia.v1.Admission}}
          - {name: b, typed_config: {"@type": t/glia.v1.TokenBudgets, application: own}}
          - {name: r, typed_config: {"@type": t/envoy.extensions.filters.http.router.v3.Router}}
          route_config: {name: r}
    - {transport_socket: *tls, filters: *filters}
  clusters:
  - {name: plain, load_assignment: {cluster_name: plain}}
)";

struct ConfigurationTest : testing::Test {
  SimWorld world{1};
  std::unique_ptr<Configuration> configuration;
  WallTime now = SystemClock().wall_now();
  CertificateAuthority authority = *CertificateAuthority::create("shop", now, 24h);

  ConfigurationTest() {
    Errors errors;
    auto bootstrap = parse_bootstrap(kBootstrap, "boot.yaml", {}, errors);
    EXPECT_EQ(errors.joined(), "");
    configuration = std::make_unique<Configuration>(world.loop(), *std::move(bootstrap),
                                                    [](const SnapshotRef&) {});
    EXPECT_TRUE(configuration->start().ok());
  }
  SecretResource fresh_identity() {
    const auto identity = issue(authority, {.uri_san = "spiffe://shop/ns/a/sa/b", .now = now});
    EXPECT_TRUE(identity.ok());
    return {.name = "default",
            .certificate_chain = identity->certificate,
            .private_key = identity->private_key};
  }
  std::shared_ptr<const ListenerConfig> listener() const {
    const auto& listeners = configuration->snapshot()->listeners;
    const auto found = listeners.find("in");
    return found == listeners.end() ? nullptr : found->second;
  }
};

TEST_F(ConfigurationTest, AListenerIsHeldBackUntilItsSecretsAreThere) {
  EXPECT_EQ(listener(), nullptr);
  EXPECT_EQ(configuration->snapshot()->clusters.count("plain"), 1u);
  ASSERT_TRUE(configuration->set_secret(fresh_identity()).ok());
  EXPECT_EQ(configuration->warming(),
            std::vector<std::string>{"listener in waits for secret ROOTCA"});
  ASSERT_TRUE(
      configuration->set_secret({.name = "ROOTCA", .trusted_ca = authority.certificate()}).ok());
  ASSERT_NE(listener(), nullptr);
  EXPECT_TRUE(configuration->warming().empty());
  // With equal settings, too, a session ticket of one chain must not open another.
  EXPECT_NE(listener()->chains[0].tls, nullptr);
  EXPECT_NE(listener()->chains[1].tls, nullptr);
  EXPECT_NE(listener()->chains[0].tls, listener()->chains[1].tls);
}

TEST_F(ConfigurationTest, ANewCertificateMakesANewContextAndABrokenOneChangesNothing) {
  ASSERT_TRUE(configuration->set_secret(fresh_identity()).ok());
  ASSERT_TRUE(
      configuration->set_secret({.name = "ROOTCA", .trusted_ca = authority.certificate()}).ok());
  const auto before = listener();
  const auto plain = configuration->snapshot()->clusters.at("plain");
  EXPECT_FALSE(
      configuration->set_secret({.name = "default", .certificate_chain = "x", .private_key = "y"})
          .ok());
  EXPECT_EQ(listener(), before);
  ASSERT_TRUE(configuration->set_secret(fresh_identity()).ok());
  EXPECT_NE(listener()->chains[0].tls, before->chains[0].tls);
  EXPECT_EQ(listener()->socket_key, before->socket_key);
  EXPECT_EQ(configuration->snapshot()->clusters.at("plain"), plain);
  // The wrong kind of secret under that name.
  const auto wrong =
      configuration->set_secret({.name = "default", .trusted_ca = authority.certificate()});
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().message(),
            "listener[in].filter_chains[0]: secret default holds no certificate; "
            "listener[in].filter_chains[1]: secret default holds no certificate");
}

TEST_F(ConfigurationTest, WhoWaitsAndWhatWasUsedIsKeptFromDrawingToDrawing) {
  ASSERT_TRUE(configuration->set_secret(fresh_identity()).ok());
  ASSERT_TRUE(
      configuration->set_secret({.name = "ROOTCA", .trusted_ca = authority.certificate()}).ok());
  const auto admission = [&](std::size_t chain) {
    return std::get<std::shared_ptr<const AdmissionConfig>>(
        listener()->chains[chain].http.filters[0].settings);
  };
  const auto budgets = [&] {
    return std::get<std::shared_ptr<const TokenBudgetsConfig>>(
        listener()->chains[0].http.filters[1].settings);
  };
  const auto before = listener();
  const auto desk = admission(0)->desk;
  const auto ledger = budgets()->ledger;
  ASSERT_NE(desk, nullptr);
  ASSERT_NE(ledger, nullptr);
  EXPECT_EQ(admission(0)->application, "in");  // The listener's name.
  EXPECT_EQ(admission(1)->desk, desk);
  EXPECT_EQ(budgets()->application, "own");
  ASSERT_TRUE(configuration->set_secret(fresh_identity()).ok());
  EXPECT_NE(listener(), before);
  EXPECT_EQ(admission(0)->desk, desk);
  EXPECT_EQ(budgets()->ledger, ledger);
}

TEST_F(ConfigurationTest, WhatTheProcessCannotRunIsRefusedAndWhatRanStays) {
  ASSERT_TRUE(configuration->set_secret(fresh_identity()).ok());
  ASSERT_TRUE(
      configuration->set_secret({.name = "ROOTCA", .trusted_ca = authority.certificate()}).ok());
  const auto before = listener();
  bool able = false;
  configuration->check_with([&able](const Snapshot&) -> Result<void> {
    if (able) return {};
    return invalid("listener[in]: its port is taken");
  });
  const Result<void> refused = configuration->push(ResourceKind::kCluster, "9", {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(configuration->refusal(ResourceKind::kCluster)->sentence,
            "listener[in]: its port is taken");
  EXPECT_EQ(listener(), before);
  able = true;
  EXPECT_TRUE(configuration->push(ResourceKind::kCluster, "10", {}).ok());
  EXPECT_FALSE(configuration->refusal(ResourceKind::kCluster));
}

TEST_F(ConfigurationTest, TheDumpShowsWhatRunsAndNoPrivateKey) {
  const Result<void> refused = configuration->push(ResourceKind::kCluster, "9", {"\x08"});
  EXPECT_FALSE(refused.ok());
  const auto dump = config_dump(*configuration, {});
  ASSERT_TRUE(dump.ok());
  for (
      const char* part :
      {R"("@type":"type.googleapis.com/envoy.admin.v3.BootstrapConfigDump","bootstrap":{"node":{"id":"n1","cluster":"c"})",
       R"("static_clusters":[{"cluster":{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"plain")",
       R"("static_listeners":[{"listener":{)", R"("last_updated":"1970-01-01T00:00:00.000Z")",
       R"("warming":["listener in waits for secret default"])",
       R"("version_info":"9","details":"cluster: message envoy.config.cluster.v3.Cluster is cut off or broken near byte 1")"}) {
    EXPECT_NE(dump->find(part), std::string::npos) << part << "\n" << *dump;
  }
  const auto one = config_dump(*configuration, {.resource = "static_clusters", .name = "plain"});
  ASSERT_TRUE(one.ok());
  EXPECT_TRUE(one->starts_with(R"({"configs":[{"cluster":{"@type")")) << *one;
  EXPECT_FALSE(config_dump(*configuration, {.resource = "nonsense"}).ok());
}

}  // namespace
}  // namespace glia
