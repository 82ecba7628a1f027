#include "control_plane/translate/translate.h"

#include <algorithm>
#include <iterator>

#include "control_plane/objects/digest.h"
#include "control_plane/translate/access_log.h"
#include "control_plane/translate/admission.h"
#include "control_plane/translate/capture.h"
#include "control_plane/translate/chain.h"
#include "control_plane/translate/cors.h"
#include "control_plane/translate/find_host.h"
#include "control_plane/translate/outbound.h"
#include "control_plane/translate/pack.h"
#include "control_plane/translate/rbac.h"
#include "control_plane/translate/routes.h"
#include "control_plane/translate/scope.h"
#include "control_plane/translate/serving.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

namespace core = envoy::config::core::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;
namespace tls = envoy::extensions::transport_sockets::tls::v3;
using Cluster = envoy::config::cluster::v3::Cluster;
using Listener = envoy::config::listener::v3::Listener;
using FilterChain = envoy::config::listener::v3::FilterChain;

constexpr int kConnectTimeoutSeconds = 5;

std::string inbound_name(const Workload::Port& port) { return cat("inbound:", port.name); }

void set_address(const std::string& address, uint16_t port, core::Address& out) {
  out.mutable_socket_address()->set_address(address);
  out.mutable_socket_address()->set_port_value(port);
}

void add_router(hcm::HttpConnectionManager& manager) {
  auto* router = manager.add_http_filters();
  router->set_name("envoy.filters.http.router");
  pack(envoy::extensions::filters::http::router::v3::Router(), *router->mutable_typed_config());
}

hcm::HttpConnectionManager inbound_manager(const ObjectSet& objects, const Workload& workload,
                                           const Workload::Port& port) {
  hcm::HttpConnectionManager manager;
  manager.set_codec_type(hcm::HttpConnectionManager::AUTO);
  manager.set_stat_prefix(cat("inbound_", port.name));
  set_keepalive(*manager.mutable_http2_protocol_options());
  // The application may trust this header: it says who called and nobody else can have written it.
  manager.set_forward_client_cert_details(hcm::HttpConnectionManager::SANITIZE_SET);
  manager.mutable_set_current_client_cert_details()->set_uri(true);
  auto* table = manager.mutable_route_config();
  table->set_name(inbound_name(port));
  auto* host = table->add_virtual_hosts();
  host->set_name(inbound_name(port));
  host->add_domains("*");
  auto* route = host->add_routes();
  route->set_name(inbound_name(port));
  route->mutable_match()->set_prefix("/");
  route->mutable_route()->set_cluster(inbound_name(port));
  route->mutable_route()->mutable_timeout()->set_seconds(0);  // The caller's side keeps the time.
  for (HttpFilterMessage& filter : rbac_filters(objects, workload, port)) {
    *manager.add_http_filters() = std::move(filter);
  }
  add_admission(workload, manager);
  add_router(manager);
  add_access_log(objects.mesh, manager);
  return manager;
}

FilterChain inbound_chain(const ObjectSet& objects, const Workload& workload,
                          const Workload::Port& port, HopSecurity security) {
  FilterChain chain;
  const bool tcp = port.protocol == Workload::Protocol::kTcp;
  if (!tcp) {
    add_manager(inbound_manager(objects, workload, port), chain);
  } else {
    if (auto gate = network_rbac(objects, workload, port)) *chain.add_filters() = *std::move(gate);
    add_tcp_proxy(objects.mesh, inbound_name(port), chain);
  }
  if (security == HopSecurity::kClearText) return chain;

  tls::DownstreamTlsContext context;
  context.mutable_require_client_certificate()->set_value(true);
  use_mesh_secrets(*context.mutable_common_tls_context());
  if (!tcp) {
    context.mutable_common_tls_context()->add_alpn_protocols("h2");
    context.mutable_common_tls_context()->add_alpn_protocols("http/1.1");
  }
  chain.mutable_transport_socket()->set_name("envoy.transport_sockets.tls");
  pack(context, *chain.mutable_transport_socket()->mutable_typed_config());
  return chain;
}

Listener inbound_listener(const ObjectSet& objects, const Workload& workload,
                          const Workload::Port& port, HopSecurity security) {
  Listener listener;
  listener.set_name(inbound_name(port));
  listener.set_traffic_direction(core::INBOUND);
  set_address(workload.spec.address, port.port, *listener.mutable_address());
  *listener.add_filter_chains() = inbound_chain(objects, workload, port, security);
  return listener;
}

hcm::HttpConnectionManager outbound_manager(const ObjectSet& objects) {
  hcm::HttpConnectionManager manager;
  manager.set_codec_type(hcm::HttpConnectionManager::AUTO);
  manager.set_stat_prefix(kOutboundName);
  manager.mutable_rds()->set_route_config_name(kOutboundName);
  manager.mutable_rds()->mutable_config_source()->mutable_ads();
  manager.mutable_rds()->mutable_config_source()->set_resource_api_version(core::ApiVersion::V3);
  read_model_requests(objects, manager);
  add_cors(manager);
  add_router(manager);
  add_access_log(objects.mesh, manager);
  return manager;
}

Listener outbound_listener(const ObjectSet& objects, const Workload& workload) {
  Listener listener;
  listener.set_name(kOutboundName);
  listener.set_traffic_direction(core::OUTBOUND);
  // In clear text and for whoever asks, in the name of the workload: never on the network.
  set_address(workload.local_address(), workload.spec.outbound.port, *listener.mutable_address());
  add_manager(outbound_manager(objects), *listener.add_filter_chains());
  return listener;
}

Cluster static_cluster(std::string name) {
  Cluster cluster;
  cluster.set_type(Cluster::STATIC);
  cluster.mutable_connect_timeout()->set_seconds(kConnectTimeoutSeconds);
  cluster.mutable_load_assignment()->set_cluster_name(name);
  cluster.set_name(std::move(name));
  return cluster;
}

Cluster inbound_cluster(const Workload& workload, const Workload::Port& port) {
  Cluster cluster = static_cluster(inbound_name(port));
  *cluster.mutable_load_assignment()->add_endpoints()->add_lb_endpoints() =
      lb_endpoint(workload.spec.app_address, port.app_port);
  // From the address of the machine itself such a connection would be captured again.
  const std::string& to = workload.spec.app_address;
  const bool loopback = to.starts_with("127.") || to == "::1";
  if (workload.spec.capture && !loopback) connect_from_own_address(cluster);
  if (port.protocol == Workload::Protocol::kTcp) return cluster;
  set_upstream_http(cluster, port.protocol == Workload::Protocol::kHttp ? UpstreamHttp::kHttp1
                                                                        : UpstreamHttp::kHttp2);
  tell_model_server(workload, cluster);
  return cluster;
}

template <class Message>
std::string version_of(const std::vector<Message>& resources) {
  std::string all;
  for (const Message& resource : resources) {
    const std::string bytes = serialize(resource);
    all += cat(bytes.size(), "\n", bytes);
  }
  return digest(all);
}

// What a workload that may call only some Services has of the way to all.
void narrow(const ObjectSet& objects, const std::vector<std::string>& services,
            Resources& outbound) {
  std::set<std::string> clusters;
  for (const MeshService& service : objects.services) {
    if (!may_call(services, service.metadata.key())) continue;
    clusters.merge(relayed_clusters(objects, service));
  }
  envoy::config::route::v3::RouteConfiguration some =
      RouteIndex(outbound.routes.front()).within(services, clusters);
  outbound.routes.front() = std::move(some);
  std::erase_if(outbound.clusters,
                [&](const Cluster& cluster) { return !clusters.contains(cluster.name()); });
  std::erase_if(outbound.endpoints,
                [&](const auto& set) { return !clusters.contains(set.cluster_name()); });
}

}  // namespace

Resources translate_own(const ObjectSet& objects, const Workload& workload, HopSecurity security) {
  Resources resources;
  for (const Workload::Port& port : workload.spec.ports) {
    resources.clusters.push_back(inbound_cluster(workload, port));
  }
  if (workload.spec.capture) {
    std::vector<FilterChain> chains;
    for (const Workload::Port& port : workload.spec.ports) {
      chains.push_back(inbound_chain(objects, workload, port, security));
      chains.back().set_name(inbound_name(port));
    }
    add_capture_inbound(workload, std::move(chains), resources);
    add_capture_outbound(objects, workload, outbound_manager(objects), resources);
    return resources;
  }
  for (const Workload::Port& port : workload.spec.ports) {
    resources.listeners.push_back(inbound_listener(objects, workload, port, security));
  }
  resources.listeners.push_back(outbound_listener(objects, workload));
  return resources;
}

Resources translate_service(const ObjectSet& objects, const MeshService& service,
                            const std::string& ns, HopSecurity security) {
  Resources resources;
  add_service(objects, service, security, resources);
  resources.routes.emplace_back().set_name(kOutboundName);
  add_hosts(objects, service, ns, resources.routes.front());
  return resources;
}

Resources translate_others(const ObjectSet& objects, const std::string& ns, HopSecurity security) {
  Resources resources;
  add_alone(objects, security, resources);
  resources.routes.emplace_back().set_name(kOutboundName);
  add_other_hosts(objects, ns, resources.routes.front());
  return resources;
}

Resources translate_outbound(const ObjectSet& objects, const std::string& ns,
                             HopSecurity security) {
  Resources resources;
  auto& table = resources.routes.emplace_back();
  table.set_name(kOutboundName);
  for (const MeshService& service : objects.services) {
    add_service(objects, service, security, resources);
    add_hosts(objects, service, ns, table);
  }
  add_alone(objects, security, resources);
  add_other_hosts(objects, ns, table);
  return resources;
}

Resources translate(const ObjectSet& objects, const Workload& workload, HopSecurity security) {
  Resources resources = translate_own(objects, workload, security);
  Resources outbound = translate_outbound(objects, workload.metadata.ns, security);
  if (!workload.spec.egress.empty()) narrow(objects, workload.spec.egress, outbound);
  std::move(outbound.clusters.begin(), outbound.clusters.end(),
            std::back_inserter(resources.clusters));
  resources.routes = std::move(outbound.routes);
  resources.endpoints = std::move(outbound.endpoints);
  resources.listeners_version = version_of(resources.listeners);
  resources.clusters_version = version_of(resources.clusters);
  resources.routes_version = version_of(resources.routes);
  resources.endpoints_version = version_of(resources.endpoints);
  return resources;
}

}  // namespace glia
