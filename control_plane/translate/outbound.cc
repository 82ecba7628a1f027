#include "control_plane/translate/outbound.h"

#include <algorithm>
#include <map>
#include <set>

#include "control_plane/translate/canary.h"
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

// Those of the Service's EndpointSlices, with the number of their port.
template <class Take>
void each_endpoint(const ObjectSet& objects, const MeshService& service,
                   const MeshService::Port& port, Take take) {
  for (const std::size_t place : service.slices) {
    const EndpointSlice::Port* target = objects.slices[place].port(port.name);
    if (target == nullptr) continue;
    for (const EndpointSlice::Endpoint& endpoint : objects.slices[place].endpoints) {
      take(endpoint, target->port);
    }
  }
}

// Of the workloads behind the port.
std::set<std::string> identities_of(const ObjectSet& objects, const MeshService& service,
                                    const MeshService::Port& port) {
  std::set<std::string> identities;
  for (const MeshService::Port& behind : service.behind(port)) {
    for (const std::size_t member : service.members) {
      const Workload& workload = objects.workloads[member];
      if (MeshService::target(behind, workload)) identities.insert(objects.spiffe_id(workload));
    }
  }
  each_endpoint(objects, service, port, [&](const EndpointSlice::Endpoint& e, uint16_t number) {
    const Workload* workload = objects.workload_at(e.addresses[0], number);
    if (workload != nullptr) identities.insert(objects.spiffe_id(*workload));
  });
  // An empty list would mean "anyone"; endpoints may come before the next version of the cluster.
  if (identities.empty()) {
    identities.insert(cat("spiffe://", objects.mesh.spec.trust_domain, "/no-workload"));
  }
  return identities;
}

// Exactly these identities: another workload that answers at one of their addresses is refused.
void secure(const std::set<std::string>& identities, const std::string& server_name, bool tcp,
            Cluster& cluster) {
  tls::UpstreamTlsContext context;
  use_mesh_secrets(*context.mutable_common_tls_context());
  auto* validation = context.mutable_common_tls_context()
                         ->mutable_combined_validation_context()
                         ->mutable_default_validation_context();
  for (const std::string& identity : identities) {
    auto* san = validation->add_match_typed_subject_alt_names();
    san->set_san_type(tls::SubjectAltNameMatcher::URI);
    san->mutable_matcher()->set_exact(identity);
  }
  if (!tcp) context.mutable_common_tls_context()->add_alpn_protocols("h2");
  context.set_sni(server_name);
  cluster.mutable_transport_socket()->set_name("envoy.transport_sockets.tls");
  pack(context, *cluster.mutable_transport_socket()->mutable_typed_config());
}

void set_limits(const TrafficPolicy::Limits& limits, Cluster& cluster) {
  if (limits.connections || limits.pending_requests || limits.requests) {
    auto* thresholds = cluster.mutable_circuit_breakers()->add_thresholds();
    if (limits.connections) thresholds->mutable_max_connections()->set_value(*limits.connections);
    if (limits.requests) thresholds->mutable_max_requests()->set_value(*limits.requests);
    if (limits.pending_requests) {
      thresholds->mutable_max_pending_requests()->set_value(*limits.pending_requests);
    }
  }
  if (limits.connections_per_endpoint) {
    cluster.mutable_circuit_breakers()
        ->add_per_host_thresholds()
        ->mutable_max_connections()
        ->set_value(*limits.connections_per_endpoint);
  }
}

// What a TrafficPolicy says of connections. Returns the requests that one may carry; 0: any.
uint32_t set_traffic(const TrafficPolicy* policy, Cluster& cluster) {
  using Balancing = TrafficPolicy::Balancing;
  cluster.mutable_connect_timeout()->set_seconds(kConnectTimeoutSeconds);
  cluster.set_lb_policy(Cluster::LEAST_REQUEST);
  if (policy == nullptr) return 0;
  const TrafficPolicy::Spec& spec = policy->spec;
  if (spec.timeouts.connect) {
    set_duration(*spec.timeouts.connect, *cluster.mutable_connect_timeout());
  }
  const Balancing balancing = spec.balancing.value_or(Balancing::kLeastRequest);
  if (balancing == Balancing::kRoundRobin) cluster.set_lb_policy(Cluster::ROUND_ROBIN);
  if (balancing == Balancing::kRandom) cluster.set_lb_policy(Cluster::RANDOM);
  set_limits(spec.limits, cluster);
  return spec.limits.requests_per_connection.value_or(0);
}

// Are the endpoints of this port workloads, which have sidecars? Those of one port are all the same.
bool is_in_mesh(const ObjectSet& objects, const MeshService& service,
                const MeshService::Port& port) {
  for (const std::size_t place : service.slices) {
    const EndpointSlice& slice = objects.slices[place];
    const EndpointSlice::Port* target = slice.port(port.name);
    if (target == nullptr || slice.endpoints.empty()) continue;
    return objects.workload_at(slice.endpoints[0].addresses[0], target->port) != nullptr;
  }
  return service.slices.empty();
}

UpstreamHttp spoken_outside(const MeshService::Port& port) {
  const bool http1 = port.app_protocol.empty() || port.app_protocol == "http";
  return http1 ? UpstreamHttp::kHttp1 : UpstreamHttp::kHttp2;
}

Cluster service_cluster(const ObjectSet& objects, const MeshService& service,
                        const MeshService::Port& port, HopSecurity security) {
  Cluster cluster;
  cluster.set_name(outbound_cluster(service, port.port));
  cluster.set_type(Cluster::EDS);
  auto* eds = cluster.mutable_eds_cluster_config()->mutable_eds_config();
  eds->mutable_ads();
  eds->set_resource_api_version(core::ApiVersion::V3);
  const TrafficPolicy* traffic = objects.traffic_policy(service, port.port);
  const uint32_t requests = set_traffic(traffic, cluster);
  if (traffic == nullptr || !traffic->spec.balancing) choose_by_load(objects, service, cluster);
  const bool in_mesh = is_in_mesh(objects, service, port), tcp = is_tcp(objects, service, port);
  if (!tcp) {
    set_upstream_http(cluster, in_mesh ? UpstreamHttp::kSidecar : spoken_outside(port), requests);
  }
  if (security == HopSecurity::kMutualTls && in_mesh) {
    secure(identities_of(objects, service, port),
           cat(service.own_name(), ".", service.metadata.ns,
               service.is_pool() ? ".pool" : ".svc.cluster.local"),
           tcp, cluster);
  }
  return cluster;
}

// One workload alone, for those who name it behind a headless Service.
Cluster workload_cluster(const ObjectSet& objects, const Workload& workload,
                         const Workload::Port& port, HopSecurity security) {
  Cluster cluster;
  cluster.set_name(direct_cluster(workload, port));
  cluster.set_type(Cluster::STATIC);
  cluster.mutable_connect_timeout()->set_seconds(kConnectTimeoutSeconds);
  const bool tcp = port.protocol == Workload::Protocol::kTcp;
  if (!tcp) set_upstream_http(cluster, UpstreamHttp::kSidecar);
  cluster.mutable_load_assignment()->set_cluster_name(cluster.name());
  *cluster.mutable_load_assignment()->add_endpoints()->add_lb_endpoints() =
      lb_endpoint(workload.spec.address, port.port);
  if (security == HopSecurity::kMutualTls) {
    secure({objects.spiffe_id(workload)},
           cat(workload.metadata.name, ".", workload.metadata.ns, ".workload"), tcp, cluster);
  }
  return cluster;
}

Assignment service_endpoints(const ObjectSet& objects, const MeshService& service,
                             const MeshService::Port& port) {
  Assignment assignment;
  assignment.set_cluster_name(outbound_cluster(service, port.port));
  // By zone, as Envoy wants them; "" is that of the workloads.
  std::map<std::string, envoy::config::endpoint::v3::LocalityLbEndpoints> zones;
  zones[""];
  const auto add_members = [&](Workload::State state) {
    std::size_t added = 0;
    for (const std::size_t member : service.members) {
      const Workload& workload = objects.workloads[member];
      if (workload.spec.state != state || !workload.away.empty()) continue;
      for (const MeshService::Port& behind : service.behind(port)) {
        const Workload::Port* target = MeshService::target(behind, workload);
        if (!target) continue;
        *zones[""].add_lb_endpoints() = lb_endpoint(workload.spec.address, target->port);
        ++added;
      }
    }
    return added;
  };
  if (add_members(Workload::State::kReady) == 0) add_members(Workload::State::kDraining);
  using State = EndpointSlice::Endpoint::State;
  const auto add_all = [&](State state) {
    std::size_t added = 0;
    each_endpoint(objects, service, port, [&](const EndpointSlice::Endpoint& e, uint16_t number) {
      if (e.state() != state) return;
      *zones[e.zone].add_lb_endpoints() = lb_endpoint(e.addresses[0], number);
      ++added;
    });
    return added;
  };
  // As Kubernetes does: who is about to end gets requests only if nobody else is left. They are left
  // out rather than marked, because few healthy ones among marked ones would mean panic.
  if (add_all(State::kReady) == 0) add_all(State::kDraining);
  for (auto& [zone, endpoints] : zones) {
    if (!zone.empty()) endpoints.mutable_locality()->set_zone(zone);
    if (zone.empty() && zones.size() > 1 && endpoints.lb_endpoints().empty()) continue;
    *assignment.add_endpoints() = std::move(endpoints);
  }
  return assignment;
}

}  // namespace

bool is_tcp(const ObjectSet& objects, const MeshService& service, const MeshService::Port& port) {
  if (port.app_protocol == kTcp || port.app_protocol == kTls) return true;
  return std::ranges::any_of(service.members, [&](std::size_t member) {
    const Workload::Port* target = MeshService::target(port, objects.workloads[member]);
    return target != nullptr && target->protocol == Workload::Protocol::kTcp;
  });
}

std::set<std::string> relayed_clusters(const ObjectSet& objects, const MeshService& service) {
  std::set<std::string> clusters;
  for (const MeshService::Port& port : service.spec.ports) {
    if (!is_tcp(objects, service, port)) continue;
    clusters.insert(outbound_cluster(service, port.port));
    if (!service.headless()) continue;
    for (const std::size_t member : service.members) {
      const Workload::Port* target = MeshService::target(port, objects.workloads[member]);
      if (target != nullptr) clusters.insert(direct_cluster(objects.workloads[member], *target));
    }
  }
  return clusters;
}

std::string outbound_cluster(const MeshService& service, uint16_t port) {
  if (service.is_pool()) return cat(service.metadata.name, ".", service.metadata.ns);
  return cat("outbound:", port, ":", service.metadata.name, ".", service.metadata.ns);
}

std::string missing_cluster(const RouteBackend& backend) {
  if (backend.kind == InferencePool::kKind) {
    return cat("missing:", MeshService::kPoolMark, backend.name, ".", backend.ns);
  }
  return cat("missing:", backend.port, ":", backend.name, ".", backend.ns);
}

std::string direct_cluster(const Workload& workload, const Workload::Port& port) {
  return cat("direct:", port.port, ":", workload.metadata.name, ".", workload.metadata.ns);
}

std::string alone_host(const Workload& workload, const Workload::Port& port) {
  return cat(workload.metadata.name, ".", workload.metadata.ns, ".workload:", port.port);
}

std::string cluster_of_alone(std::string_view host) {
  constexpr std::string_view kMark = ".workload:";
  const std::size_t mark = host.rfind(kMark);
  return cat("direct:", host.substr(mark + kMark.size()), ":", host.substr(0, mark));
}

std::vector<const Workload*> named_alone(const ObjectSet& objects) {
  std::set<std::size_t> members;
  for (const MeshService& service : objects.services) {
    if (service.headless()) members.insert(service.members.begin(), service.members.end());
  }
  std::vector<const Workload*> workloads;
  for (const std::size_t member : members) workloads.push_back(&objects.workloads[member]);
  return workloads;
}

void use_mesh_secrets(tls::CommonTlsContext& context) {
  context.add_tls_certificate_sds_secret_configs()->set_name(kCertificateSecret);
  auto* validation = context.mutable_combined_validation_context();
  validation->mutable_default_validation_context();
  validation->mutable_validation_context_sds_secret_config()->set_name(kTrustBundleSecret);
}

void set_keepalive(envoy::config::core::v3::Http2ProtocolOptions& options) {
  auto& keepalive = *options.mutable_connection_keepalive();
  keepalive.mutable_interval()->set_seconds(kSidecarPing / 1s);
  keepalive.mutable_timeout()->set_seconds(kSidecarPingAnswer / 1s);
}

void set_upstream_http(Cluster& cluster, UpstreamHttp http, uint32_t requests_per_connection) {
  envoy::extensions::upstreams::http::v3::HttpProtocolOptions options;
  if (requests_per_connection > 0) {
    options.mutable_common_http_protocol_options()
        ->mutable_max_requests_per_connection()
        ->set_value(requests_per_connection);
  }
  auto* explicit_config = options.mutable_explicit_http_config();
  switch (http) {
    case UpstreamHttp::kHttp1: explicit_config->mutable_http_protocol_options(); break;
    case UpstreamHttp::kHttp2: explicit_config->mutable_http2_protocol_options(); break;
    case UpstreamHttp::kSidecar:
      set_keepalive(*explicit_config->mutable_http2_protocol_options());
      break;
  }
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

namespace {

// The versions of a target that are told apart by label.
void add_versions(const ObjectSet& objects, const MeshService& target,
                  const MeshService::Port& port, HopSecurity security, Resources& resources) {
  const Canary* canary = objects.canary(target);
  if (canary == nullptr || !canary->by_labels()) return;
  const VersionClusters names = version_clusters(objects, *canary, port.port);
  for (const CanaryVersion which : {CanaryVersion::kStable, CanaryVersion::kCandidate}) {
    const MeshService version = only_version(target, *canary, which);
    const std::string& name = which == CanaryVersion::kStable ? names.stable : names.candidate;
    resources.clusters.push_back(service_cluster(objects, version, port, security));
    resources.clusters.back().set_name(name);
    resources.endpoints.push_back(service_endpoints(objects, version, port));
    resources.endpoints.back().set_cluster_name(name);
  }
}

}  // namespace

void add_service(const ObjectSet& objects, const MeshService& service, HopSecurity security,
                 Resources& resources) {
  for (const MeshService::Port& port : service.entries()) {
    resources.clusters.push_back(service_cluster(objects, service, port, security));
    resources.endpoints.push_back(service_endpoints(objects, service, port));
    add_versions(objects, service, port, security, resources);
  }
}

void add_alone(const ObjectSet& objects, HopSecurity security, Resources& resources) {
  for (const Workload* workload : named_alone(objects)) {
    for (const Workload::Port& port : workload->spec.ports) {
      resources.clusters.push_back(workload_cluster(objects, *workload, port, security));
    }
  }
}

}  // namespace glia
