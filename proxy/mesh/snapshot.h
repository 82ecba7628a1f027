// Snapshot: the frozen drawing of everything a worker needs. Built on the main thread by xds/freeze,
// shared by all workers, never changed. A worker swaps one pointer; exchanges that began on the old
// drawing finish on it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/admission/admission_config.h"
#include "proxy/admission/token_budget.h"
#include "proxy/http/canonical.h"
#include "proxy/http/server.h"
#include "proxy/mesh/cluster_config.h"
#include "proxy/mesh/cors.h"
#include "proxy/mesh/rbac.h"
#include "proxy/mesh/route.h"
#include "proxy/model/fields.h"
#include "proxy/net/address.h"
#include "proxy/net/tls.h"

namespace glia {

// What is done with x-forwarded-client-cert (Envoy's forward_client_cert_details).
enum class ForwardClientCert : uint8_t {
  kSanitize,
  kForwardOnly,
  kAppendForward,
  kSanitizeSet,
  kAlwaysForwardOnly
};
// Which parts are written besides By and Hash (set_current_client_cert_details).
struct ClientCertDetails {
  bool subject = false, cert = false, chain = false, dns = false, uri = false;
};

struct AccessLogConfig {
  std::string path;  // A file, "/dev/stdout" or "/dev/stderr".
  // Field -> format with Envoy's operators; empty: the fields of docs/access-log.md.
  std::vector<std::pair<std::string, std::string>> json_format;
  friend bool operator==(const AccessLogConfig&, const AccessLogConfig&) = default;
};

// One filter of a listener's chain, outermost first. The router is not in the list.
struct FilterConfig {
  std::string name;         // As configured: "envoy.filters.http.rbac".
  FilterSettings settings;  // Not null.
  friend bool operator==(const FilterConfig&, const FilterConfig&) = default;
};

// glia.v1.ModelRequests: requests to models are read before a route is chosen.
struct ModelReading {
  // What is done with a request whose model is asked for and cannot be told.
  enum class Unknown : uint8_t { kRoute, kRefuse };
  uint32_t held_bytes = 1024 * 1024;  // bytes of a body that wait until the model is known
  Unknown unknown = Unknown::kRoute;
  bool always = false;         // Also where no route and no policy asks.
  bool prefix_hashes = false;  // Of prompts, for pickers.
};

// envoy's HttpConnectionManager, one a filter chain.
struct HttpManager {
  std::string stat_prefix;
  ServerOptions server;
  Duration stream_idle_timeout = 300s;  // 0: none
  Duration request_timeout = 0s;        // To receive the whole request; 0: none
  Duration max_stream_duration = 0s;    // Of a whole exchange; 0: none
  ForwardClientCert forward_client_cert = ForwardClientCert::kSanitize;
  ClientCertDetails client_cert_details;
  bool use_remote_address = false;  // Append the peer to x-forwarded-for.
  bool generate_request_id = true;
  std::string server_name = "glia";  // Value of `server` on responses the proxy makes.
  PathRules path_rules;
  bool connect = false;  // CONNECT is asked of the upstream, unless the route says something else.
  std::string
      via;  // Appended to `via` of requests and responses, and known again; "": no such field.
  std::vector<FilterConfig> filters;
  std::optional<ModelReading> model;
  ModelNeed model_need = ModelNeed::kNothing;  // Of the filters.
  std::vector<AccessLogConfig> access_logs;
  std::shared_ptr<const RouteTable> routes;  // Null while RDS has not answered.
};

// envoy.filters.network.tcp_proxy, with the envoy.filters.network.rbac before it: bytes both ways.
struct TcpProxy {
  struct Target {
    std::string cluster;
    uint32_t weight = 1;
  };
  std::string stat_prefix;
  std::vector<Target> targets;  // At least one.
  uint64_t total_weight = 1;
  Duration idle_timeout = 3600s;  // Without a byte in either direction; 0: none
  Duration longest = 0s;  // From accepting to cutting (max_downstream_connection_duration); 0: none
  uint32_t connect_attempts = 3;  // Each on another endpoint, if there is one.
  uint32_t buffer = 256 * 1024;   // bytes read from one side that the other has not taken yet
  std::vector<AccessLogConfig> access_logs;
  std::shared_ptr<const RbacConfig> rbac;  // Null: everybody may.
};

struct FilterChain {
  std::string name;
  // Which connections this chain takes; all empty: any. Envoy's order of precedence.
  std::optional<uint16_t> destination_port;
  std::vector<CidrRange> destinations;
  std::vector<std::string> server_names;  // "a.com", "*.a.com"
  std::string transport;                  // "tls", "raw_buffer" or "".
  std::vector<std::string> application_protocols;
  std::shared_ptr<const TlsContext> tls;  // Null: clear text.
  Duration handshake_timeout = 15s;
  std::optional<TcpProxy> tcp;  // Nothing: HTTP is spoken.
  HttpManager http;
};

struct ListenerConfig {
  std::string name;
  std::string version;  // Of the resource; "" if static.
  Address address;
  std::string direction;  // "INBOUND", "OUTBOUND" or ""
  bool reuse_port = true;
  bool proxy_protocol = false;  // Each connection begins with a PROXY header, or is closed.
  // The kernel's rules send connections here that were meant for other addresses, by which chains are
  // chosen then; one that was meant for this very port is refused.
  bool captured = false;
  bool transparent = false;     // With captured: by TPROXY.
  bool http_inspector = false;  // Clear HTTP is told from the rest; TLS is, whenever a chain asks.
  // How long a client may take to say enough for a chain to be chosen; then it is closed, or goes on
  // with what is known.
  Duration inspection_timeout = 5s;
  bool continue_on_timeout = false;
  std::vector<FilterChain> chains;  // In order of configuration.
  // A hash of what cannot be changed in place; a listener whose key changed is made anew.
  std::string socket_key;
};

struct Snapshot {
  uint64_t number = 0;  // Counts up with each publish; for people.
  // Shown in responses that the proxy makes and in the access log: version of the last accepted
  // push of each kind, joined, or "static".
  std::string version = "static";
  std::string node_id;
  std::string node_cluster;
  std::map<std::string, std::shared_ptr<const ListenerConfig>, std::less<>> listeners;
  std::map<std::string, std::shared_ptr<const ClusterConfig>, std::less<>> clusters;
};

using SnapshotRef = std::shared_ptr<const Snapshot>;

}  // namespace glia
