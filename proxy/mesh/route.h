// Routes: which request goes where, with inheritance already resolved (envoy.config.route.v3).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/mesh/compare.h"
#include "proxy/mesh/matcher.h"
#include "proxy/model/fields.h"

namespace glia {

struct AdmissionConfig;
struct CorsPolicy;
struct RbacConfig;
struct TokenBudgetsConfig;

// What a filter is told, one alternative a kind of filter. In a route, null switches the filter off.
using FilterSettings =
    std::variant<std::shared_ptr<const RbacConfig>, std::shared_ptr<const CorsPolicy>,
                 std::shared_ptr<const AdmissionConfig>, std::shared_ptr<const TokenBudgetsConfig>>;

struct PathMatch {
  // kConnect: the requests with the method CONNECT, which have no path and which no other kind takes.
  enum class Kind : uint8_t { kPrefix, kExact, kPathSeparatedPrefix, kRegex, kConnect };
  Kind kind = Kind::kPrefix;
  TextMatcher text =
      TextMatcher::exact("/");  // kPathSeparatedPrefix: the prefix without final '/'.
  bool ignore_case = false;
};

struct QueryMatch {
  std::string name;
  std::optional<TextMatcher> value;  // Nothing: the parameter must be there.
};

struct RouteMatch {
  PathMatch path;
  std::vector<HeaderMatcher> headers;
  std::vector<QueryMatch> query;
  bool grpc = false;  // Only gRPC requests.
};

struct HeaderAddition {
  std::string name;   // Lower case.
  std::string value;  // Literal; "%%" was resolved.
  enum class Action : uint8_t { kAppend, kAddIfAbsent, kOverwrite, kOverwriteIfPresent };
  Action action = Action::kAppend;
};

// What is done to the fields of a request on its way up and of a response on its way down.
struct HeaderMutation {
  std::vector<HeaderAddition> add;
  std::vector<std::string> remove;  // Lower case.
  bool empty() const { return add.empty() && remove.empty(); }
};

// glia.v1.ModelRewrite: what the model of a request is called from here on.
struct ModelName {
  std::string model;
  std::string version;  // "": stays as it is.
};

struct WeightedCluster {
  std::string cluster;
  uint32_t weight = 1;
  HeaderMutation request_headers, response_headers;
  std::optional<ModelName> model_name;  // Instead of the route's.
};

// glia.v1.MinimumRate: below this for a whole window, a client that sends a request's body, or takes
// an answer's, is given up. As Kestrel's default; a window is long enough for a bad network.
struct MinimumRate {
  uint64_t bytes_per_second = 240;  // 0: none.
  Duration window = 20s;
  uint64_t in_a_window() const {
    return bytes_per_second * static_cast<uint64_t>(window / 1ms) / 1000;
  }
};

// What becomes of a CONNECT that a route takes (upgrade_configs with upgrade_type CONNECT): as the
// connection manager says; refused; asked of the upstream; or ended here, so that a TCP connection to
// the upstream carries what follows (connect_config).
enum class ConnectAction : uint8_t { kAsManager, kRefuse, kForward, kTerminate };

// Envoy's RetryPolicy: what is tried again although the upstream may have acted on it.
struct RetryPolicy {
  enum On : uint32_t {
    kReset = 1 << 0,  // The attempt broke off, or had no answer within per_try_timeout.
    kGatewayError = 1 << 1,
    k5xx = 1 << 2,
    kConnectFailure = 1 << 3,
    kConflict = 1 << 4,  // 409, Envoy's retriable-4xx.
    kStatuses = 1 << 5,
    kGrpcCancelled = 1 << 6,
    kGrpcDeadlineExceeded = 1 << 7,
    kGrpcInternal = 1 << 8,
    kGrpcResourceExhausted = 1 << 9,
    kGrpcUnavailable = 1 << 10,
  };
  uint32_t on = 0;            // Of On; 0: nothing, only per_try_timeout counts.
  std::vector<int> statuses;  // For kStatuses.
  uint32_t retries = 1;
  // From the end of the request, or the beginning of the attempt if that is later, to the head of the
  // answer; 0: none.
  Duration per_try_timeout = 0s;
  // From the end of the request on: the upstream sends nothing of its answer, head or body, although it
  // is waited for; 0: none.
  Duration per_try_idle_timeout = 0s;
  // Before the first retry at most the one; doubles to at most the other.
  Duration back_off = 25ms, back_off_most = 250ms;
};

// RouteAction.RequestMirrorPolicy: copies of requests go to another cluster (flow/shadow.h).
struct Mirror {
  std::string cluster;
  uint32_t per_million = 1'000'000;  // The share of requests that are copied.
  bool mark_host = true;             // The copy asks for "HOST-shadow", as Envoy's does.
};

// glia.v1.Session: requests with the same value go to the same one of the weighted clusters, as long as
// the weights stay.
struct SessionKey {
  enum class From : uint8_t { kHeader, kCookie };
  From from = From::kHeader;
  std::string name;  // Of a header: lower case.
};

// glia.v1.Hedging: when a second copy of a request goes to another endpoint (flow/hedge.h).
struct Hedging {
  enum class Requests : uint8_t { kModels, kAll };
  Duration delay = 0s;         // With a quantile: at least so long.
  double quantile = 0;         // Of the cluster's recent answers; 0: only `delay` counts.
  double budget_percent = 10;  // Copies in progress, of the cluster's requests in progress.
  uint32_t least = 1;          // So many copies may be in progress in any case.
  Requests requests = Requests::kModels;
  uint32_t kept_bytes = 64 * 1024;  // Of a body.
};

// Envoy's RouteAction.
struct ForwardAction {
  std::vector<WeightedCluster> clusters;  // At least one.
  uint64_t total_weight = 0;              // Sum of the weights, above zero.
  Duration timeout = 15s;  // From the end of the request to the end of the response; 0: none.
  std::optional<Duration>
      idle_timeout;  // Without progress in either direction; 0: none; unset: the manager's.
  // max_stream_duration: from the first byte of the request to the last of the answer; 0: none;
  // unset: the manager's.
  std::optional<Duration> max_stream_duration;
  Duration grpc_timeout_max = 0s;     // What a caller's grpc-timeout may ask for; 0: anything.
  Duration grpc_timeout_offset = 0s;  // Taken off it, so that we answer before the caller gives up.
  std::string prefix_rewrite;         // "" leaves the path.
  std::optional<TextRewrite> path_rewrite;  // regex_rewrite, of the path without its query.
  std::string host_rewrite;                 // "" leaves the authority.
  std::vector<Mirror> mirrors;
  int no_cluster_status = 503;  // Of the answer if the chosen cluster is not configured.
  ConnectAction connect = ConnectAction::kAsManager;
  std::optional<RetryPolicy> retry;
};
struct DirectAction {
  int status = 200;
  std::string body;
};
struct RedirectAction {
  int status = 301;
  std::string scheme, host, path, prefix;  // "" keeps that part.
  std::optional<uint16_t> port;
  bool strip_query = false;
};

// glia.v1.DiscoverHost.
struct DiscoverHost {
  Duration timeout;    // So long a request waits.
  Duration idle = 0s;  // What was found and is not used for so long is given back; 0: it stays.
};

struct Route {
  std::string name;  // As configured, or "<virtual host>[<index>]".
  RouteMatch match;
  std::optional<ForwardAction> forward;  // Exactly one of the three is set.
  std::optional<DirectAction> direct;
  std::optional<RedirectAction> redirect;
  // Of the route, its virtual host and its table, in the order in which they are applied.
  std::vector<HeaderMutation> request_headers, response_headers;
  // The route's own settings of a filter, by the filter's name; they replace the listener's.
  std::map<std::string, FilterSettings> filters;
  MinimumRate rate;  // Of every request that is not gRPC.
  // The control plane is asked for the request's host; what it does not know is answered by its sentence.
  // Nothing: what is here is all there is.
  std::optional<DiscoverHost> discover;
  std::optional<ModelName> model_name;
  std::optional<Hedging> hedging;
  std::optional<SessionKey> session;            // Decides among weighted clusters; none: chance.
  std::shared_ptr<const CompareRules> compare;  // Answers to copies; null: they are not.
  ModelNeed model_need = ModelNeed::kNothing;   // Set by the table that it stands in.
};

// xxHash64 of what a request has of `key`; nothing if it has none.
std::optional<uint64_t> hash_of(const SessionKey& key, const Headers& headers);

// What the filter called `name` is told for requests to `route`, which may be null: the route's own
// settings, else the listener's. Null: the route switches it off.
template <class Config>
const Config* settings_for(const Route* route, const std::string& name,
                           const std::shared_ptr<const Config>& of_listener) {
  if (route == nullptr) return of_listener.get();
  const auto found = route->filters.find(name);
  if (found == route->filters.end()) return of_listener.get();
  const auto* own = std::get_if<std::shared_ptr<const Config>>(&found->second);
  return own == nullptr ? of_listener.get() : own->get();
}

struct VirtualHost {
  std::string name;
  std::vector<std::string> domains;  // "a.com", "*.a.com", "a.*", "*"; lower case.
  std::vector<Route> routes;
};

// envoy.config.route.v3.RouteConfiguration, finished for look-up.
class RouteTable {
 public:
  RouteTable(std::string name, std::string version, std::vector<VirtualHost> hosts);
  RouteTable(const RouteTable&) = delete;  // The look-up points into hosts_.
  RouteTable& operator=(const RouteTable&) = delete;
  // Exact domain, then longest suffix wildcard, longest prefix wildcard, "*". A port in `authority`
  // is part of the domain, as in Envoy; without one, a domain with `usual_port` (":80") is meant too.
  const VirtualHost* host_for(std::string_view authority, std::string_view usual_port = {}) const;
  // The first route whose match holds; null if none. `meant_for`: the address that a captured
  // connection was for, "" if it was not captured; it counts where only "*" would take the authority.
  const Route* route_for(const Request& request, std::string_view meant_for = {}) const;
  // What the routes that `request` may take want to know of its model; without one, any of them.
  ModelNeed model_need(const Request& request, std::string_view meant_for = {}) const;
  ModelNeed model_need() const;
  const std::string& name() const { return name_; }
  const std::string& version() const { return version_; }
  const std::vector<VirtualHost>& hosts() const { return hosts_; }

 private:
  // Null if only "*" would take it.
  const VirtualHost* named_host(std::string_view host) const;
  const VirtualHost* host_of(const Request& request, std::string_view meant_for) const;

  std::string name_;
  std::string version_;  // Of the resource that it came from; "" if static.
  std::vector<VirtualHost> hosts_;
  std::map<std::string, const VirtualHost*, std::less<>> exact_;
  std::vector<std::pair<std::string, const VirtualHost*>> suffixes_, prefixes_;  // Longest first.
  const VirtualHost* any_ = nullptr;
};

bool matches(const RouteMatch& match, const Request& request);

}  // namespace glia
