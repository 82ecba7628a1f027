// ClusterConfig: the frozen side of an upstream service (envoy.config.cluster.v3 and endpoint.v3).
// The live side, with connections and load, is mesh/cluster.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/http/server.h"
#include "proxy/mesh/server_load.h"
#include "proxy/net/address.h"
#include "proxy/net/proxy_protocol.h"
#include "proxy/net/tls.h"

namespace glia {

enum class Health : uint8_t { kHealthy, kUnhealthy, kDraining };

struct EndpointConfig {
  Address address;      // Unset for a STRICT_DNS name that is not resolved yet.
  std::string host;     // STRICT_DNS: the name to resolve; else "".
  uint16_t port = 0;    // With host.
  uint32_t weight = 1;  // At least 1.
  Health health = Health::kHealthy;
  std::string locality;  // "region/zone/sub_zone"
};

// envoy.config.endpoint.v3.ClusterLoadAssignment; a resource of its own when it comes by EDS.
struct EndpointSet {
  std::string name;
  std::string version;  // Of the resource; "" if static.
  std::vector<EndpointConfig> endpoints;
};

struct CircuitLimits {
  uint32_t connections = 1024;
  uint32_t connections_per_endpoint = 0xFFFFFFFF;  // No limit of its own.
  uint32_t pending_requests = 1024;
  uint32_t requests = 1024;
  uint32_t retries = 3;  // In progress, of those that a retry_policy asked for; as Envoy.
};

// glia.v1.ModelBalancing: choosing by what model servers say of themselves
// (docs/choosing-an-endpoint.md).
struct ModelBalancing {
  enum class Picker : uint8_t {
    kComposed,
    kLeastLoadedOfTwo,
    kHotCold,
    // kComposed, with one of what it goes by besides load, and not the others.
    kPrefixAffinity,
    kAdapterAffinity,
    kSessionAffinity
  };
  Picker picker = Picker::kComposed;
  // A report of this age counts half.
  Duration half_life = 1s;
  // kHotCold: endpoints with more requests in flight than this share of all are hot.
  double hot_quantile = 0.84;
  // kHotCold: after each pick so many endpoints are asked how they are; 0: what answers say is all.
  double probes = 2;
  Duration probe_age = 1s;  // Older ones are not used.
  // kComposed: so many requests more may an endpoint have that knows the whole prompt; 0: none.
  double affinity = 4;
  uint32_t prefix_blocks = 31'250;  // Of 64 tokens, remembered of each endpoint at most.
  // "": no affinity by session.
  std::string session_header = "x-session-id";
  friend bool operator==(const ModelBalancing&, const ModelBalancing&) = default;
};

// envoy's client_side_weighted_round_robin (gRFC A58).
struct ReportWeights {
  Duration blackout = 10s;
  Duration expiry = 180s;
  Duration update = 1s;
  double error_penalty = 1;
  // "named_metrics.x" or a field of a report: the highest is the utilization; empty: the usual two.
  std::vector<std::string> metrics;
  friend bool operator==(const ReportWeights&, const ReportWeights&) = default;
};

// How an endpoint is picked. Whatever a policy can be told stands here: a cluster whose balancing has
// changed gets a new balancer, any other keeps the one that it has.
struct Balancing {
  enum class Policy : uint8_t { kRoundRobin, kLeastRequest, kRandom, kWeightedByReports, kModel };
  Policy policy = Policy::kRoundRobin;
  uint32_t choices = 2;   // kLeastRequest: how many endpoints are compared.
  ReportWeights weights;  // kWeightedByReports.
  ModelBalancing model;   // kModel.
  // Policies that go by reports: how often each endpoint is to tell its load out of band (gRFC A51);
  // 0: with its answers only.
  Duration oob_interval{};
  friend bool operator==(const Balancing&, const Balancing&) = default;
};

struct ClusterConfig {
  // kOriginal: each connection goes where its client wanted to go (Envoy's ORIGINAL_DST).
  enum class Discovery : uint8_t { kStatic, kStrictDns, kEds, kOriginal };
  // Which addresses of a name are used; kV4Preferred: IPv6 only where there is no IPv4.
  enum class DnsFamily : uint8_t { kAll, kV4, kV6, kV4Preferred };
  std::string name;
  std::string version;    // Of the resource; "" if static.
  std::string stat_name;  // alt_stat_name, or the name.
  Discovery discovery = Discovery::kStatic;
  std::string eds_service_name;  // kEds: the resource to ask for.
  Balancing balancing;
  Duration connect_timeout = 5s;
  Duration dns_refresh = 5s;
  DnsFamily dns_family = DnsFamily::kAll;
  // How many endpoints must be healthy before the unhealthy ones are used as well, in percent.
  uint32_t panic_threshold_percent = 50;
  CircuitLimits limits;
  Codec codec = Codec::kHttp1;  // What is spoken to the endpoints; kAuto: by ALPN.
  HttpLimits http;
  uint32_t requests_per_connection = 0;  // 0: no limit
  // Connections are made ahead until this many times the requests in progress find room: 1 to 3.
  double preconnect_ratio = 1;
  Duration pool_idle_time = 3600s;  // A pooled connection without calls; kForever: no limit.
  // Each connection begins with a PROXY header, before TLS; an HTTP connection then serves one request
  // alone, because it says whose it is.
  std::optional<ProxyVersion> proxy_protocol;
  // Connections come from that of their family; without one the system chooses. At most one each.
  std::vector<Address> sources;
  // What this proxy is in front of, where that is a model server, and what is known of its load: the
  // same object for all clusters of one application, and for all drawings.
  std::optional<ModelServerConfig> model_server;
  std::shared_ptr<const ServerLoad> server_load;
  std::shared_ptr<const TlsContext> tls;         // Null: clear text.
  std::shared_ptr<const EndpointSet> endpoints;  // Null while EDS has not answered.
};

}  // namespace glia
