#include "control_plane/translate/translate.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "control_plane/translate/proxyless.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr char kMesh[] = R"(
{apiVersion: glia.dev/v1, kind: Mesh, metadata: {name: demo}, spec: {trustDomain: demo.mesh}}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: front, labels: {app: front}}
spec: {address: 127.0.1.1, ports: [{name: http, port: 8080, appPort: 18080}]}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: model, labels: {app: model}}
spec: {address: 127.0.1.2, ports: [{name: rest, port: 8080, appPort: 18081}]}
---
apiVersion: v1
kind: Service
metadata: {name: model}
spec: {selector: {app: model}, ports: [{port: 80, targetPort: rest}]}
)";

ObjectSet objects(const std::string& more = "") {
  LoadReport report = parse({{"mesh.yaml", cat(kMesh, "---\n", more)}});
  EXPECT_EQ(report.errors(), "");
  return std::move(report.objects);
}

Resources resources(const ObjectSet& set, HopSecurity security = HopSecurity::kMutualTls) {
  return translate(set, *set.workload("front"), security);
}

std::string route(int weight) {
  return cat(R"(
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: model}]
  rules: [{backendRefs: [{name: model, port: 80, weight: )",
             weight, "}, {name: model, port: 80, weight: 10}]}]\n");
}

// It is in clear text and speaks in the workload's name: another machine must not reach it.
TEST(Translate, TheOutboundListenerIsForItsOwnMachineOnly) {
  const ObjectSet set = objects(R"(
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: vm}
spec: {address: 10.1.2.3, ports: [{name: http, port: 8080, appPort: 18080}]}
)");
  std::map<std::string, std::string> addresses;
  for (const auto& listener :
       translate(set, *set.workload("vm"), HopSecurity::kMutualTls).listeners) {
    addresses[listener.name()] = listener.address().socket_address().address();
  }
  EXPECT_EQ(addresses["inbound:http"], "10.1.2.3");
  EXPECT_EQ(addresses["outbound"], "127.0.0.1");
}

TEST(Translate, TheOrderOfDocumentsAndFilesChangesNoVersion) {
  const ObjectSet one = objects(route(90));
  const LoadReport other = parse({{"b.yaml", route(90)}, {"a.yaml", kMesh}});
  ASSERT_EQ(other.errors(), "");
  const Resources a = resources(one), b = resources(other.objects);
  EXPECT_EQ(a.listeners_version, b.listeners_version);
  EXPECT_EQ(a.clusters_version, b.clusters_version);
  EXPECT_EQ(a.routes_version, b.routes_version);
  EXPECT_EQ(a.endpoints_version, b.endpoints_version);
}

TEST(Translate, AChangedWeightIsANewVersionOfTheRoutesOnly) {
  const Resources a = resources(objects(route(90))), b = resources(objects(route(50)));
  EXPECT_NE(a.routes_version, b.routes_version);
  EXPECT_EQ(a.listeners_version, b.listeners_version);
  EXPECT_EQ(a.clusters_version, b.clusters_version);
  EXPECT_EQ(a.endpoints_version, b.endpoints_version);
  EXPECT_EQ(a.routes_version.size(), 16u);
}

TEST(Translate, WithoutACaThereIsNoTlsAnywhere) {
  const Resources clear = resources(objects(), HopSecurity::kClearText);
  for (const auto& listener : clear.listeners) {
    EXPECT_FALSE(listener.filter_chains(0).has_transport_socket()) << listener.name();
  }
  for (const auto& cluster : clear.clusters) {
    EXPECT_FALSE(cluster.has_transport_socket()) << cluster.name();
  }
}

TEST(Translate, EveryInboundListenerDemandsAClientCertificate) {
  const Resources made = resources(objects());
  int inbound = 0;
  for (const auto& listener : made.listeners) {
    if (listener.traffic_direction() != envoy::config::core::v3::INBOUND) continue;
    ++inbound;
    envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext context;
    ASSERT_TRUE(listener.filter_chains(0).transport_socket().typed_config().UnpackTo(&context));
    EXPECT_TRUE(context.require_client_certificate().value());
  }
  EXPECT_EQ(inbound, 1);
}

// An empty list of names would accept every certificate of the mesh.
TEST(Translate, AServiceWithoutWorkloadsAcceptsNobody) {
  const ObjectSet set = objects(R"(
{apiVersion: v1, kind: Service, metadata: {name: nobody},
 spec: {selector: {app: nobody}, ports: [{port: 80}]}}
)");
  for (const auto& cluster : resources(set).clusters) {
    if (cluster.name() != "outbound:80:nobody.default") continue;
    envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext context;
    ASSERT_TRUE(cluster.transport_socket().typed_config().UnpackTo(&context));
    const auto& names = context.common_tls_context()
                            .combined_validation_context()
                            .default_validation_context()
                            .match_typed_subject_alt_names();
    ASSERT_EQ(names.size(), 1);
    EXPECT_EQ(names[0].matcher().exact(), "spiffe://demo.mesh/no-workload");
    return;
  }
  FAIL() << "no cluster for the service";
}

TEST(Translate, EveryDomainStandsOnceAndEveryClusterOfARouteExists) {
  const Resources made = resources(objects(route(1)));
  std::set<std::string> domains, clusters;
  for (const auto& cluster : made.clusters) EXPECT_TRUE(clusters.insert(cluster.name()).second);
  for (const auto& host : made.routes[0].virtual_hosts()) {
    for (const auto& domain : host.domains()) EXPECT_TRUE(domains.insert(domain).second) << domain;
    for (const auto& r : host.routes()) {
      if (!r.route().cluster().empty()) EXPECT_TRUE(clusters.contains(r.route().cluster()));
      for (const auto& share : r.route().weighted_clusters().clusters()) {
        EXPECT_TRUE(clusters.contains(share.name())) << share.name();
      }
    }
  }
  EXPECT_TRUE(domains.contains("model"));
  EXPECT_TRUE(domains.contains("model:80"));
  EXPECT_TRUE(domains.contains("model.default.svc.cluster.local"));
}

// Node's gRPC refuses a table with any other action.
TEST(Proxyless, TheRoutesEndWithOneThatForwards) {
  const ObjectSet set = objects(R"(apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: model}
spec:
  parentRefs: [{name: model}]
  rules:
  - {matches: [{path: {value: /longest}}], filters: [{type: RequestRedirect, requestRedirect: {port: 81}}]}
  - {matches: [{path: {value: /long}}], backendRefs: [{name: model, port: 80}]}
  - {matches: [{path: {value: /a}}], filters: [{type: RequestRedirect, requestRedirect: {port: 81}}]}
)");
  const Resources all = proxyless(translate_outbound(set, "default"));
  ASSERT_EQ(all.routes.size(), 1u);
  ASSERT_EQ(all.routes[0].virtual_hosts_size(), 1);
  const auto& host = all.routes[0].virtual_hosts(0);
  EXPECT_EQ(host.name(), "model.default:80");
  ASSERT_EQ(host.routes_size(), 2);
  EXPECT_TRUE(host.routes(0).has_redirect());
  EXPECT_TRUE(host.routes(1).has_route());
}

}  // namespace
}  // namespace glia
