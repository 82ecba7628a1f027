// What every sidecar needs to call the Services of the mesh: clusters and their endpoints.
#pragma once

#include "control_plane/translate/translate.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"

namespace glia {

// "outbound:<port>:<service>.<namespace>"
std::string outbound_cluster(const MeshService& service, uint16_t port);
// Stands for a backend that does not exist: a cluster without endpoints, "missing:<port>:<...>".
std::string missing_cluster(const RouteBackend& backend);

// Own certificate and trust bundle by name, and nothing else.
void use_mesh_secrets(envoy::extensions::transport_sockets::tls::v3::CommonTlsContext& context);
// HTTP/1.1 or HTTP/2 to the endpoints of a cluster.
enum class UpstreamHttp : uint8_t { kHttp1, kHttp2 };
void set_upstream_http(envoy::config::cluster::v3::Cluster& cluster, UpstreamHttp http);
envoy::config::endpoint::v3::LbEndpoint lb_endpoint(const std::string& address, uint16_t port);

// Appends a cluster and its endpoints for every port of every Service.
void add_outbound(const ObjectSet& objects, HopSecurity security, Resources& resources);

}  // namespace glia
