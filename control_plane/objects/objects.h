// The mesh objects as plain values: what a person wrote in YAML, checked and with defaults filled
// in.
//
// Field names are those of the YAML in snake_case; docs/mesh-objects.md is the reference. Objects
// never point at each other; object_set.h resolves names. `at` is where a part stands in its file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"

namespace glia {

// A place in a file; both count from 1, 0 is unknown. The file is that of the object's metadata.
struct Place {
  int line = 0, column = 0;
};

// Labels, and other maps of text. (`Labels` are those of a metric, in proxy/telemetry.)
using TextMap = std::map<std::string, std::string>;

struct Metadata {
  std::string name;
  std::string ns = "default";  // metadata.namespace
  TextMap labels;
  TextMap annotations;
  Place at;
  std::string file;  // As it was given to load(); not in YAML.

  // "name", or "namespace/name" outside of the namespace `default`; for sentences.
  std::string display() const;
  // "namespace/name"
  std::string key() const;
};

// glia.dev/v1. Exactly one.
// What a sidecar holds of the way to others: to all that it may call, or to what it has called.
enum class SidecarDiscovery : uint8_t { kAll, kOnDemand };

struct Mesh {
  static constexpr const char* kKind = "Mesh";
  enum class Default : uint8_t { kAllow, kDeny };
  // Of every sidecar.
  struct AccessLog {
    static constexpr const char* kNone = "none";
    std::string path = "/dev/stdout";  // kNone: no log.
    TextMap format;  // Key -> text with Envoy's operators; empty: the default line.
  };
  struct Spec {
    std::string trust_domain = "mesh.local";
    Duration certificate_lifetime = std::chrono::hours(24);
    SidecarDiscovery discovery = SidecarDiscovery::kAll;
    Default default_authorization = Default::kAllow;
    AccessLog access_log;
  };
  Metadata metadata;
  Spec spec;
};

// The application of a Workload answers for a model and shows how busy it is.
struct WorkloadModelServer {
  std::string engine;         // "vllm", ...: a word of kEngines (model_server.cc).
  uint16_t metrics_port = 0;  // Of appAddress. Filled in if it was not given.
  std::string metrics_path;   // "": the engine's own.
  Duration interval = std::chrono::milliseconds(500);
  Place at;
};

// How much the application of a Workload works on at once, and who waits (docs/admission.md).
struct WorkloadAdmission {
  enum class Cost : uint8_t { kTokens, kRows, kRequests };
  enum class Tenants : uint8_t { kNamed, kCallers };
  uint32_t concurrency = 0;   // 0: learned.
  uint64_t cost_at_once = 0;  // 0: no limit.
  uint32_t queue = 512;
  Duration wait = std::chrono::seconds(30);
  Cost cost = Cost::kTokens;
  Tenants tenants = Tenants::kNamed;
  std::optional<Duration> heartbeat;  // Nothing: none.
};

// Tokens that requests to a Workload may use in a time (docs/token-budgets.md).
struct WorkloadTokenBudget {
  std::string name;
  uint64_t tokens = 0;
  Duration per = std::chrono::seconds(60);
  std::string model, tenant;  // "": all.
  bool each_model = false, each_tenant = false;
  enum class Stop : uint8_t { kNever, kWhenEmpty, kAtReservation };
  Stop stop_streams = Stop::kNever;
};

// A Redis that holds the budgets of many sidecars.
struct WorkloadSharedBudgets {
  enum class WhenAway : uint8_t { kLocal, kAllow, kRefuse };
  std::string redis;  // "host:port"
  std::string share;
  std::string username, password_file;
  Duration timeout = std::chrono::milliseconds(100);
  WhenAway when_away = WhenAway::kLocal;
};

// How its sidecar sees that the application of a Workload is well (docs/virtual-machines.md).
struct WorkloadHealth {
  std::string path, port;  // "": a connection is enough; the first of `ports`, filled in.
  Duration interval = std::chrono::seconds(2), timeout = std::chrono::seconds(1);
  uint32_t failures = 2, successes = 1;  // In a row.
  Place at;
};

// All traffic of a Workload comes to its sidecar by rules of the kernel (docs/capture.md).
struct WorkloadCapture {
  enum class Inbound : uint8_t { kStrict, kPermissive };
  enum class Outbound : uint8_t { kAllow, kRegistryOnly };
  enum class Mode : uint8_t { kRedirect, kTproxy };
  enum class Families : uint8_t { kBoth, kIpv4, kIpv6 };
  uint16_t inbound_port = 15006;
  Inbound inbound = Inbound::kStrict;
  Outbound outbound = Outbound::kAllow;
  Mode mode = Mode::kRedirect;
  Families families = Families::kBoth;
};

// glia.dev/v1. One running instance and its sidecar.
struct Workload {
  static constexpr const char* kKind = "Workload";
  enum class Protocol : uint8_t { kHttp, kHttp2, kGrpc, kTcp };
  struct Port {
    std::string name;
    uint16_t port = 0;
    Protocol protocol = Protocol::kHttp;
    uint16_t app_port = 0;  // Filled in with `port` if it was not given.
    Place at;
  };
  struct Outbound {
    uint16_t port = 15001;
  };
  struct Admin {
    uint16_t port = 15000;
  };
  struct Ready {
    std::string path;
    std::string port;  // Name of one of `ports`; filled in with the first if it was not given.
    Place at;
  };
  using ModelServer = WorkloadModelServer;
  using Admission = WorkloadAdmission;
  using TokenBudget = WorkloadTokenBudget;
  using Capture = WorkloadCapture;
  using Health = WorkloadHealth;
  using SharedBudgets = WorkloadSharedBudgets;
  // Do callers choose it? Its sidecar goes on in any case.
  enum class State : uint8_t { kReady, kDraining, kAway };
  struct Spec {
    std::string identity;  // Filled in with metadata.name if it was not given.
    std::string address;   // IPv4 or IPv6, without brackets.
    State state = State::kReady;
    std::vector<Port> ports;
    std::string app_address = "127.0.0.1";
    std::optional<ModelServer> model_server;
    std::optional<Admission> admission;
    std::vector<TokenBudget> token_budgets;
    std::optional<SharedBudgets> shared_budgets;
    Outbound outbound;
    Admin admin;
    std::optional<Capture> capture;
    // Keys of the Services that it may call, in order; empty: all. Names are filled in to keys.
    std::vector<std::string> egress;
    std::optional<SidecarDiscovery> discovery;  // Nothing: as the Mesh says.
    std::vector<std::string> command;           // Empty: `glia run` does not start it.
    TextMap env;
    std::string working_directory = ".";  // Relative to the directory of metadata.file.
    std::optional<Ready> ready;
    std::optional<Health> health;
    Place at;
  };
  Metadata metadata;
  Spec spec;
  // Places in ObjectSet::policies of those that select it, in order; not in YAML.
  std::vector<std::size_t> policies;
  std::string away;  // Why it is no endpoint of its Services now; "": it is. Not in YAML.

  const Port* port(std::string_view name) const;  // Null if there is none.
  // Where the sidecar listens for its own machine alone: spec.address when it is a loopback address,
  // else 127.0.0.1.
  std::string local_address() const;
  // "host:port" of the sidecar's admin pages.
  std::string admin_address() const;
};

// "127.0.0.1:80", "[::1]:80"
std::string socket_text(std::string_view address, uint16_t port);

// A name or a number of a Workload port.
struct ServiceTarget {
  std::string name;  // "" if it is a number.
  uint16_t number = 0;
};

// v1. Which workloads answer under one name, or, of an InferencePool (inference_pool.h), which answer what
// routes send to it: then nobody calls it by a name.
// Not "Service", which is what serves requests in proxy/http; one program may hold both.
struct MeshService {
  static constexpr const char* kKind = "Service";
  using Target = ServiceTarget;
  struct Port {
    std::string name;  // "" only if the service has one port.
    uint16_t port = 0;
    std::optional<Target> target_port;  // Nothing: the number of `port`.
    std::string app_protocol;           // "" if it was not given.
    Place at;
  };
  struct Spec {
    TextMap selector;
    std::vector<Port> ports;
    // "", kHeadless, or an address under which callers may know it.
    std::string cluster_ip;
    Place at;
  };
  // Its workloads can be called one by one, by address and by name.
  static constexpr const char* kHeadless = "None";
  bool headless() const { return spec.cluster_ip == kHeadless; }
  // Before the name of an InferencePool: no Service's has a colon.
  static constexpr std::string_view kPoolMark = "pool:";
  bool is_pool() const { return metadata.name.starts_with(kPoolMark); }
  // As its own YAML has them: "Service" or "InferencePool", and the name.
  std::string_view kind() const;
  std::string_view own_name() const;
  std::string display() const;  // "Service classify", "InferencePool models/llama"
  Metadata metadata;
  Spec spec;
  // Places in ObjectSet::workloads of those that the selector selects, in http_routes and grpc_routes
  // of those that have it as a parent, in slices of those that are its own, and in traffic_policies
  // of those that target it, each in order; not in YAML.
  std::vector<std::size_t> members, http_routes, grpc_routes, slices, traffic_policies;
  std::optional<std::size_t> canary;        // Place in ObjectSet::canaries; not in YAML.
  std::optional<std::size_t> model_policy;  // In ObjectSet::model_policies; not in YAML.

  const Port* port(uint16_t number) const;  // Null if there is none.
  // Those that lead somewhere of their own: all, but of a pool, whose ports are one another's equals, the
  // first.
  std::span<const Port> entries() const;
  // What is behind such a one: itself, or all ports of the pool.
  std::span<const Port> behind(const Port& entry) const;
  // The port of `workload` behind `port`; null if it has no such port.
  static const Workload::Port* target(const Port& port, const Workload& workload);
};

// discovery.k8s.io/v1. Endpoints of a Service that has no selector.
struct EndpointSlice {
  static constexpr const char* kKind = "EndpointSlice";
  // The label that names the Service.
  static constexpr const char* kServiceLabel = "kubernetes.io/service-name";
  enum class AddressType : uint8_t { kIpv4, kIpv6 };
  struct Conditions {
    bool ready = true;
    std::optional<bool> serving;  // Nothing: as `ready`.
    bool terminating = false;
  };
  struct Endpoint {
    std::vector<std::string> addresses;  // The first is used.
    Conditions conditions;
    std::string zone;  // "": unknown.
    Place at;

    enum class State : uint8_t { kReady, kDraining, kAway };
    State state() const;
  };
  struct Port {
    std::string name;  // That of a port of the Service.
    uint16_t port = 0;
    Place at;
  };
  Metadata metadata;
  AddressType address_type = AddressType::kIpv4;
  std::vector<Endpoint> endpoints;
  std::vector<Port> ports;
  Place at;

  const Port* port(std::string_view name) const;  // Null if there is none.
};

struct HeaderValue {
  std::string name, value;
  Place at;
};

// RequestHeaderModifier and ResponseHeaderModifier.
struct HeaderEdit {
  std::vector<HeaderValue> set, add;
  std::vector<std::string> remove;
};

// The parts that HTTPRoute and GRPCRoute share (gateway.networking.k8s.io/v1).
struct RouteParent {
  std::string group;  // Only "".
  std::string kind = "Service";
  std::string ns;  // Filled in with the namespace of the route.
  std::string name;
  std::optional<uint16_t> port;  // Nothing: all ports.
  Place at;
};

// A condition on a header or a query parameter.
struct NameCondition {
  enum class Type : uint8_t { kExact, kRegularExpression };
  Type type = Type::kExact;
  std::string name, value;
  Place at;
};

// Only the member that `type` names is set.
struct PathChange {
  enum class Type : uint8_t { kReplaceFullPath, kReplacePrefixMatch };
  Type type = Type::kReplacePrefixMatch;
  std::optional<std::string> replace_full_path, replace_prefix_match;
  Place at;
};

struct RequestRedirect {
  std::string scheme, hostname;  // "" leaves it.
  std::optional<PathChange> path;
  std::optional<uint16_t> port;
  uint16_t status_code = 302;
  Place at;
};

struct UrlRewrite {
  std::string hostname;  // "" leaves it.
  std::optional<PathChange> path;
  Place at;
};

struct MirrorFraction {
  uint32_t numerator = 0, denominator = 100;
  Place at;
};

// Copies of requests for a Service that nobody waits for.
struct RequestMirror {
  struct Target {
    std::string group;  // Only "".
    std::string kind = "Service";
    std::string ns;  // Filled in with the namespace of the route.
    std::string name;
    uint16_t port = 0;
    Place at;
  };
  Target backend_ref;
  std::optional<uint32_t> percent;  // At most one of the two; none: every request.
  std::optional<MirrorFraction> fraction;
  Place at;

  uint32_t per_million() const;
};

// Which pages of other origins may read the answers.
struct CorsRule {
  std::vector<std::string> allow_origins;                                 // "*" alone: any.
  std::vector<std::string> allow_methods, allow_headers, expose_headers;  // Also "*".
  bool allow_credentials = false;
  uint32_t max_age = 5;  // seconds
  Place at;
};

// Only the member that `type` names is set.
struct RouteFilter {
  enum class Type : uint8_t {
    kRequestHeaderModifier,
    kResponseHeaderModifier,
    kRequestRedirect,
    kUrlRewrite,
    kRequestMirror,
    kCors
  };
  Type type = Type::kRequestHeaderModifier;
  std::optional<HeaderEdit> request_header_modifier, response_header_modifier;
  std::optional<RequestRedirect> request_redirect;
  std::optional<UrlRewrite> url_rewrite;
  std::optional<RequestMirror> request_mirror;
  std::optional<CorsRule> cors;
  Place at;
};

struct RouteBackend {
  std::string group;
  std::string kind = "Service";  // Or InferencePool, of its group.
  std::string ns;                // Filled in with the namespace of the route.
  std::string name;
  uint16_t port = 0;  // Of a Service; a pool knows its own.
  uint32_t weight = 1;
  std::vector<RouteFilter> filters;  // Only the two header modifiers.
  Place at;
};

// When a request that a backend may have acted on is sent again.
struct RetryRule {
  enum class On : uint8_t {
    kConnectFailure,
    kReset,
    kGatewayError,
    kServerError,
    kUnavailable,
    kResourceExhausted
  };
  std::vector<On> on;
  std::vector<uint16_t> codes;  // Statuses of answers, besides what `on` says.
  uint32_t attempts = 1;        // After the first.
  std::optional<Duration> backoff;
  Place at;
};

struct HttpRoute {
  static constexpr const char* kKind = "HTTPRoute";
  struct PathCondition {
    enum class Type : uint8_t { kExact, kPathPrefix, kRegularExpression };
    Type type = Type::kPathPrefix;
    std::string value = "/";
    Place at;
  };
  struct Match {
    PathCondition path;
    std::vector<NameCondition> headers, query_params;
    std::string method;  // "": any.
    Place at;
  };
  struct Timeouts {
    std::optional<Duration> request;          // 0: none.
    std::optional<Duration> backend_request;  // 0: none; not above `request`.
    Place at;
  };
  struct Rule {
    std::string name;
    std::vector<Match> matches;  // Empty: every request.
    std::vector<RouteFilter> filters;
    std::vector<RouteBackend> backend_refs;
    Timeouts timeouts;
    std::optional<RetryRule> retry;
    Place at;
  };
  struct Spec {
    std::vector<RouteParent> parent_refs;
    std::vector<Rule> rules;
    Place at;
  };
  Metadata metadata;
  Spec spec;
};

struct GrpcMethodCondition {
  NameCondition::Type type = NameCondition::Type::kExact;
  std::string service, method;  // At least one is set.
  Place at;
};

struct GrpcRoute {
  static constexpr const char* kKind = "GRPCRoute";
  struct Match {
    std::optional<GrpcMethodCondition> method;
    std::vector<NameCondition> headers;
    Place at;
  };
  struct Rule {
    std::string name;
    std::vector<Match> matches;        // Empty: every call.
    std::vector<RouteFilter> filters;  // Only the two header modifiers.
    std::vector<RouteBackend> backend_refs;
    Place at;
  };
  struct Spec {
    std::vector<RouteParent> parent_refs;
    std::vector<Rule> rules;
    Place at;
  };
  Metadata metadata;
  Spec spec;
};

// gateway.networking.k8s.io. Allows routes of other namespaces to name Services of its own.
struct ReferenceGrant {
  static constexpr const char* kKind = "ReferenceGrant";
  struct From {
    std::string group, kind;  // The Gateway API's group; HTTPRoute or GRPCRoute.
    std::string ns;
    Place at;
  };
  struct To {
    std::string group, kind;  // "" and Service, or those of InferencePool.
    std::string name;         // "": every one of the kind in the namespace.
    Place at;
  };
  struct Spec {
    std::vector<From> from;
    std::vector<To> to;
    Place at;
  };
  Metadata metadata;
  Spec spec;
};

// The least speed of whoever sends a request or takes an answer.
struct MinimumBodyRate {
  uint32_t bytes_per_second = 240;  // 0: none.
  Duration window = std::chrono::seconds(20);
  Place at;
};

// glia.dev/v1. How requests for a Service are treated, where no rule of a route says otherwise.
struct TrafficPolicy {
  static constexpr const char* kKind = "TrafficPolicy";
  enum class Balancing : uint8_t { kLeastRequest, kRoundRobin, kRandom };
  struct Target {
    std::string group;  // Only "".
    std::string kind = "Service";
    std::string name;
    std::optional<uint16_t> port;  // Nothing: all ports that no other policy names.
    Place at;
  };
  struct Timeouts {
    // 0: none; not for `connect`.
    std::optional<Duration> request, backend_request, idle, connect;
    Place at;
  };
  struct Limits {
    std::optional<uint32_t> connections, connections_per_endpoint, pending_requests, requests;
    std::optional<uint32_t> requests_per_connection;
    Place at;
  };
  struct Spec {
    Target target_ref;
    Timeouts timeouts;
    Limits limits;
    std::optional<Balancing> balancing;
    std::optional<RetryRule> retry;
    std::optional<MinimumBodyRate> minimum_body_rate;
    Place at;
  };
  Metadata metadata;
  Spec spec;
};

// glia.dev/v1. Who may call the workloads that it selects.
struct AuthorizationPolicy {
  static constexpr const char* kKind = "AuthorizationPolicy";
  enum class Action : uint8_t { kAllow, kDeny };
  struct From {
    std::vector<std::string> identities;  // "name", "namespace/name", "spiffe://..." or "*".
    Place at;
  };
  struct To {
    std::vector<std::string> methods, paths, ports;  // Each empty: any.
    Place at;
  };
  struct Rule {
    std::vector<From> from;  // Empty: any caller.
    std::vector<To> to;      // Empty: any request.
    Place at;
  };
  struct Spec {
    TextMap selector;  // Empty: every Workload of the namespace.
    Action action = Action::kAllow;
    std::vector<Rule> rules;  // Empty: matches nothing.
    Place at;
  };
  Metadata metadata;
  Spec spec;
};

}  // namespace glia
