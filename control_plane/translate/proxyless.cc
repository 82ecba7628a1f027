#include "control_plane/translate/proxyless.h"

#include <algorithm>

#include "control_plane/translate/pack.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"

namespace glia {

namespace {

namespace core = envoy::config::core::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;
namespace tls = envoy::extensions::transport_sockets::tls::v3;
using Cluster = envoy::config::cluster::v3::Cluster;
using Listener = envoy::config::listener::v3::Listener;

// Secrets by SDS are unknown to gRPC: it asks the plugins of its bootstrap. And of the ways to name
// whom it talks to, it reads only the older one.
void use_providers(Cluster& cluster) {
  tls::UpstreamTlsContext context;
  auto& packed = *cluster.mutable_transport_socket()->mutable_typed_config();
  if (!packed.UnpackTo(&context)) return;
  tls::CommonTlsContext& common = *context.mutable_common_tls_context();
  common.clear_tls_certificate_sds_secret_configs();
  common.mutable_tls_certificate_provider_instance()->set_instance_name(kCertificateProvider);
  auto& combined = *common.mutable_combined_validation_context();
  combined.clear_validation_context_sds_secret_config();
  auto& validation = *combined.mutable_default_validation_context();
  validation.mutable_ca_certificate_provider_instance()->set_instance_name(kCertificateProvider);
  // By its descriptor: the generated name is marked as deprecated.
  const auto* names = validation.GetDescriptor()->FindFieldByName("match_subject_alt_names");
  for (const auto& san : validation.match_typed_subject_alt_names()) {
    validation.GetReflection()->AddMessage(&validation, names)->CopyFrom(san.matcher());
  }
  pack(context, packed);
}

void adapt(Cluster& cluster) {
  cluster.set_lb_policy(Cluster::ROUND_ROBIN);       // All clients know it; few know LEAST_REQUEST.
  cluster.clear_typed_extension_protocol_options();  // gRPC is HTTP/2 anyway.
  if (cluster.has_transport_socket()) use_providers(cluster);
}

// A locality without a weight does not count for gRPC, and one without a name is an error.
void adapt(envoy::config::endpoint::v3::ClusterLoadAssignment& endpoints) {
  for (auto& locality : *endpoints.mutable_endpoints()) {
    locality.mutable_locality();
    locality.mutable_load_balancing_weight()->set_value(1);
  }
}

// An answer of the proxy's own is nothing that gRPC can do: a call that takes such a route fails.
// At the end of the list it fails without the route as well; and Node's gRPC refuses a whole table
// with one.
void adapt(envoy::config::route::v3::RouteConfiguration& table) {
  auto& hosts = *table.mutable_virtual_hosts();
  for (auto& host : hosts) {
    auto& routes = *host.mutable_routes();
    while (!routes.empty() && !routes.rbegin()->has_route()) routes.RemoveLast();
  }
  const auto empty = [](const auto& host) { return host.routes().empty(); };
  hosts.erase(std::remove_if(hosts.begin(), hosts.end(), empty), hosts.end());
}

Listener api_listener(const std::string& name) {
  hcm::HttpConnectionManager manager;
  manager.mutable_rds()->set_route_config_name(kOutboundName);
  manager.mutable_rds()->mutable_config_source()->mutable_ads();
  manager.mutable_rds()->mutable_config_source()->set_resource_api_version(core::ApiVersion::V3);
  auto* router = manager.add_http_filters();
  router->set_name("envoy.filters.http.router");
  pack(envoy::extensions::filters::http::router::v3::Router(), *router->mutable_typed_config());
  Listener listener;
  listener.set_name(name);
  pack(manager, *listener.mutable_api_listener()->mutable_api_listener());
  return listener;
}

}  // namespace

Resources proxyless(Resources outbound) {
  std::erase_if(outbound.clusters,
                [](const Cluster& cluster) { return cluster.type() != Cluster::EDS; });
  for (Cluster& cluster : outbound.clusters) adapt(cluster);
  for (auto& endpoints : outbound.endpoints) adapt(endpoints);
  for (auto& table : outbound.routes) {
    adapt(table);
    for (const auto& host : table.virtual_hosts()) {
      for (const std::string& domain : host.domains()) {
        const bool has_port = domain.find(':') != std::string::npos;
        if (has_port) outbound.listeners.push_back(api_listener(domain));
      }
    }
  }
  return outbound;
}

}  // namespace glia
