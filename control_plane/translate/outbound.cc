#include "control_plane/translate/outbound.h"

#include <set>

#include "control_plane/translate/pack.h"
#include "control_plane/translate/serving.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

namespace core = envoy::config::core::v3;
namespace tls = envoy::extensions::transport_sockets::tls::v3;
using Cluster = envoy::config::cluster::v3::Cluster;
using Assignment = envoy::config::endpoint::v3::ClusterLoadAssignment;

constexpr int kConnectTimeoutSeconds = 5;

// Exactly the identities of the workloads behind the port: another workload that answers at one of
// their addresses is refused.
void set_identities(const ObjectSet& objects, const MeshService& service,
                    const MeshService::Port& port, tls::CommonTlsContext& context) {
  auto* validation =
      context.mutable_combined_validation_context()->mutable_default_validation_context();
  std::set<std::string> identities;
  for (const std::size_t member : service.members) {
    const Workload& workload = objects.workloads[member];
    if (MeshService::target(port, workload)) identities.insert(objects.spiffe_id(workload));
  }
  // An empty list would mean "anyone"; endpoints may come before the next version of the cluster.
  if (identities.empty()) {
    identities.insert(cat("spiffe://", objects.mesh.spec.trust_domain, "/no-workload"));
  }
  for (const std::string& identity : identities) {
    auto* san = validation->add_match_typed_subject_alt_names();
    san->set_san_type(tls::SubjectAltNameMatcher::URI);
    san->mutable_matcher()->set_exact(identity);
  }
}

Cluster service_cluster(const ObjectSet& objects, const MeshService& service,
                        const MeshService::Port& port, HopSecurity security) {
  Cluster cluster;
  cluster.set_name(outbound_cluster(service, port.port));
  cluster.set_type(Cluster::EDS);
  auto* eds = cluster.mutable_eds_cluster_config()->mutable_eds_config();
  eds->mutable_ads();
  eds->set_resource_api_version(core::ApiVersion::V3);
  cluster.mutable_connect_timeout()->set_seconds(kConnectTimeoutSeconds);
  cluster.set_lb_policy(Cluster::LEAST_REQUEST);
  choose_by_load(objects, service, cluster);
  set_upstream_http(cluster, UpstreamHttp::kHttp2);
  if (security == HopSecurity::kClearText) return cluster;

  tls::UpstreamTlsContext context;
  use_mesh_secrets(*context.mutable_common_tls_context());
  set_identities(objects, service, port, *context.mutable_common_tls_context());
  context.mutable_common_tls_context()->add_alpn_protocols("h2");
  context.set_sni(cat(service.metadata.name, ".", service.metadata.ns, ".svc.cluster.local"));
  cluster.mutable_transport_socket()->set_name("envoy.transport_sockets.tls");
  pack(context, *cluster.mutable_transport_socket()->mutable_typed_config());
  return cluster;
}

Assignment service_endpoints(const ObjectSet& objects, const MeshService& service,
                             const MeshService::Port& port) {
  Assignment assignment;
  assignment.set_cluster_name(outbound_cluster(service, port.port));
  auto* locality = assignment.add_endpoints();
  for (const std::size_t member : service.members) {
    const Workload& workload = objects.workloads[member];
    const Workload::Port* target = MeshService::target(port, workload);
    if (!target) continue;
    *locality->add_lb_endpoints() = lb_endpoint(workload.spec.address, target->port);
  }
  return assignment;
}

}  // namespace

std::string outbound_cluster(const MeshService& service, uint16_t port) {
  return cat("outbound:", port, ":", service.metadata.name, ".", service.metadata.ns);
}

std::string missing_cluster(const RouteBackend& backend) {
  return cat("missing:", backend.port, ":", backend.name, ".", backend.ns);
}

void use_mesh_secrets(tls::CommonTlsContext& context) {
  context.add_tls_certificate_sds_secret_configs()->set_name(kCertificateSecret);
  auto* validation = context.mutable_combined_validation_context();
  validation->mutable_default_validation_context();
  validation->mutable_validation_context_sds_secret_config()->set_name(kTrustBundleSecret);
}

void set_upstream_http(Cluster& cluster, UpstreamHttp http) {
  envoy::extensions::upstreams::http::v3::HttpProtocolOptions options;
  auto* explicit_config = options.mutable_explicit_http_config();
  if (http == UpstreamHttp::kHttp2)
    explicit_config->mutable_http2_protocol_options();
  else
    explicit_config->mutable_http_protocol_options();
  pack(options, (*cluster.mutable_typed_extension_protocol_options())
                    ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]);
}

envoy::config::endpoint::v3::LbEndpoint lb_endpoint(const std::string& address, uint16_t port) {
  envoy::config::endpoint::v3::LbEndpoint endpoint;
  auto* socket = endpoint.mutable_endpoint()->mutable_address()->mutable_socket_address();
  socket->set_address(address);
  socket->set_port_value(port);
  return endpoint;
}

void add_outbound(const ObjectSet& objects, HopSecurity security, Resources& resources) {
  for (const MeshService& service : objects.services) {
    for (const MeshService::Port& port : service.spec.ports) {
      resources.clusters.push_back(service_cluster(objects, service, port, security));
      resources.endpoints.push_back(service_endpoints(objects, service, port));
    }
  }
}

}  // namespace glia
