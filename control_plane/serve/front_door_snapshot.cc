#include "control_plane/serve/control_plane.h"
#include "control_plane/serve/front_door.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr char kCluster[] = "grpc";

std::shared_ptr<const RouteTable> routes() {
  Route route;
  route.name = "all";
  route.match.path.kind = PathMatch::Kind::kPrefix;
  route.match.path.text = *TextMatcher::create(TextMatcher::Kind::kPrefix, "/");
  route.match.grpc = true;  // There is nothing else here.
  ForwardAction& forward = route.forward.emplace();
  forward.clusters.push_back(
      {.cluster = kCluster, .weight = 1, .request_headers = {}, .response_headers = {}});
  forward.total_weight = 1;
  forward.timeout = 0s;       // An ADS stream lives as long as its sidecar,
  forward.idle_timeout = 0s;  // and is silent while nobody edits the mesh.
  VirtualHost host;
  host.name = kCluster;
  host.domains = {"*"};
  host.routes.push_back(std::move(route));
  std::vector<VirtualHost> hosts;
  hosts.push_back(std::move(host));
  return std::make_shared<const RouteTable>(kCluster, "static", std::move(hosts));
}

Result<std::shared_ptr<const ClusterConfig>> cluster(const std::string& socket) {
  auto endpoints = std::make_shared<EndpointSet>();
  endpoints->name = kCluster;
  EndpointConfig& endpoint = endpoints->endpoints.emplace_back();
  TRY(endpoint.address, Address::unix_path(socket));
  auto cluster = std::make_shared<ClusterConfig>();
  cluster->name = kCluster;
  cluster->stat_name = kCluster;
  cluster->codec = Codec::kHttp2;
  // Every stream of every sidecar is a request that never ends.
  constexpr uint32_t kRequests = 2 * ControlPlane::kMostStreams + 1000;  // ADS and reports.
  cluster->limits.requests = kRequests;
  cluster->limits.pending_requests = kRequests;
  cluster->endpoints = std::move(endpoints);
  return std::shared_ptr<const ClusterConfig>(std::move(cluster));
}

// gRPC clients without a sidecar check the name by which they call, and cannot be told another.
std::vector<std::string> names_of(const Address& listen) {
  std::vector<std::string> names = {kControlPlaneDnsName};
  if (listen.is_loopback()) names.push_back("localhost");
  return names;
}

Result<std::shared_ptr<const TlsContext>> tls(const CertificateAuthority& authority,
                                              const Address& listen, WallTime now) {
  TRY(const Identity identity,
      issue(authority, {.uri_san = control_plane_id(authority.trust_domain()),
                        .dns_sans = names_of(listen),
                        .now = now,
                        .lifetime = FrontDoor::kCertificateLifetime}));
  TlsOptions options;
  options.certificate_chain = identity.certificate;
  options.private_key = identity.private_key;
  options.trusted_ca = authority.certificate();
  options.request_client_certificate = true;
  options.alpn = {"h2"};
  return TlsContext::create(TlsContext::Side::kServer, options);
}

}  // namespace

std::string control_plane_id(std::string_view trust_domain) {
  return cat("spiffe://", trust_domain, "/glia-control");
}

Result<SnapshotRef> front_door_snapshot(const CertificateAuthority& authority,
                                        const FrontDoorOptions& options, WallTime now) {
  auto listener = std::make_shared<ListenerConfig>();
  listener->name = "glia-control";
  listener->address = options.listen;
  listener->direction = "INBOUND";
  listener->socket_key = options.listen.text();
  FilterChain& chain = listener->chains.emplace_back();
  TRY(chain.tls, tls(authority, options.listen, now));
  HttpManager& http = chain.http;
  http.stat_prefix = "glia_control";
  http.server.codec = Codec::kHttp2;
  http.stream_idle_timeout = 0s;
  http.forward_client_cert = ForwardClientCert::kSanitizeSet;
  http.client_cert_details.uri = true;
  http.server_name = "glia-control";
  http.routes = routes();

  auto snapshot = std::make_shared<Snapshot>();
  snapshot->node_id = "glia-control";
  snapshot->node_cluster = "glia-control";
  TRY(snapshot->clusters[kCluster], cluster(options.socket));
  snapshot->listeners[listener->name] = std::move(listener);
  return SnapshotRef(std::move(snapshot));
}

}  // namespace glia
