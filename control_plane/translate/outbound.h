// What every sidecar needs to call the Services of the mesh: clusters and their endpoints.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/translate/translate.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "proxy/base/time.h"

namespace glia {

// "outbound:<port>:<service>.<namespace>"; of an InferencePool "pool:<pool>.<namespace>"
std::string outbound_cluster(const MeshService& service, uint16_t port);
// "missing:<port>:<service>.<namespace>" or "missing:pool:<pool>.<namespace>": what a route names in
// place of a backend that does not exist. There is no such cluster, and the route says what is then answered.
std::string missing_cluster(const RouteBackend& backend);

// What a Service's appProtocol says of bytes that sidecars only relay; kTls: the application's own.
inline constexpr std::string_view kTcp = "tcp", kTls = "tls";
// Is the port relayed, by its own word or by that of a workload behind it?
bool is_tcp(const ObjectSet& objects, const MeshService& service, const MeshService::Port& port);

// The clusters of a Service's relayed ports, to which no route leads.
std::set<std::string> relayed_clusters(const ObjectSet& objects, const MeshService& service);

// "direct:<port>:<workload>.<namespace>"
std::string direct_cluster(const Workload& workload, const Workload::Port& port);
// "<workload>.<namespace>.workload:<port>": its virtual host.
std::string alone_host(const Workload& workload, const Workload::Port& port);
// The cluster to which that virtual host leads.
std::string cluster_of_alone(std::string_view host);
// The workloads behind headless Services, which callers may name one by one.
std::vector<const Workload*> named_alone(const ObjectSet& objects);

// Own certificate and trust bundle by name, and nothing else.
void use_mesh_secrets(envoy::extensions::transport_sockets::tls::v3::CommonTlsContext& context);
// HTTP/1.1 or HTTP/2 to the endpoints of a cluster.
// kSidecar: HTTP/2 whose other end is a sidecar, which answers PINGs however often; a gRPC server may
// take them amiss.
enum class UpstreamHttp : uint8_t { kHttp1, kHttp2, kSidecar };
// Between sidecars: how long the other one may be silent before it is asked whether it is still there,
// and its time to answer. Its machine may have died, or a firewall may have forgotten the connection.
inline constexpr Duration kSidecarPing = 30s, kSidecarPingAnswer = 10s;
void set_keepalive(envoy::config::core::v3::Http2ProtocolOptions& options);
void set_upstream_http(envoy::config::cluster::v3::Cluster& cluster, UpstreamHttp http,
                       uint32_t requests_per_connection = 0);
envoy::config::endpoint::v3::LbEndpoint lb_endpoint(const std::string& address, uint16_t port);

// Appends a cluster and its endpoints for every port of the Service.
void add_service(const ObjectSet& objects, const MeshService& service, HopSecurity security,
                 Resources& resources);
// Appends a cluster for every port of the workloads that callers may name alone.
void add_alone(const ObjectSet& objects, HopSecurity security, Resources& resources);

}  // namespace glia
