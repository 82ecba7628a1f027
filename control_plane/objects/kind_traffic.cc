// TrafficPolicy: how requests for a Service are treated.
#include "control_plane/objects/kind.h"
#include "control_plane/objects/route_filter.h"

namespace glia {

namespace {

using Policy = TrafficPolicy;

constexpr int64_t kMostCount = 1'000'000'000;

Type<Policy::Target> target() {
  ObjectType<Policy::Target> type("the Service whose requests are meant");
  type.optional("group", &Policy::Target::group, core_group(), "\"\", the group of Service.",
                "\"\"")
      .optional("kind", &Policy::Target::kind, service_kind_name(), "", "Service")
      .required("name", &Policy::Target::name, service_name(), "Of the same namespace.")
      .optional("port", &Policy::Target::port, port_number(),
                "A port of the Service; its policy takes the place of one for all ports.",
                "all ports");
  return type;
}

Type<Policy::Timeouts> timeouts() {
  ObjectType<Policy::Timeouts> type("time limits");
  type.optional("request", &Policy::Timeouts::request, duration(),
                "From the end of the request to the end of the response, where the rule of a route "
                "sets none; 0s is none.",
                "none")
      .optional(
          "backendRequest", &Policy::Timeouts::backend_request, duration(),
          "From the end of the request to the head of the answer to one attempt at a workload, "
          "where the rule of a route sets none; not above `request`; 0s is none.",
          "none")
      .optional("idle", &Policy::Timeouts::idle, duration(),
                "So long nothing may move in either direction; 0s is none.", "5m")
      .optional("connect", &Policy::Timeouts::connect, duration(),
                "For a connection to a workload, with its handshake.", "5s")
      .check([](Policy::Timeouts& times, const YamlNode&, Reader& reader) {
        if (times.connect && *times.connect == 0s) {
          reader.error_in("connect", times.at, "must be above 0s");
        }
        const Duration whole = times.request.value_or(0s);
        if (whole == 0s || times.backend_request.value_or(0s) <= whole) return;
        reader.error_in("backendRequest", times.at, "must not be longer than request");
      });
  return type;
}

Type<Policy::Limits> limits() {
  const auto count = integer<uint32_t>("a number", 1, kMostCount);
  ObjectType<Policy::Limits> type("limits of each sidecar that calls the Service, a worker thread");
  type.optional("connections", &Policy::Limits::connections, count,
                "To all workloads together; requests beyond what they carry wait.", "1024")
      .optional("connectionsPerEndpoint", &Policy::Limits::connections_per_endpoint, count,
                "To one workload.", "none")
      .optional("pendingRequests", &Policy::Limits::pending_requests, count,
                "That wait for a connection; further ones are refused with 503.", "1024")
      .optional("requests", &Policy::Limits::requests, count,
                "In progress at once; further ones are refused with 503.", "1024")
      .optional("requestsPerConnection", &Policy::Limits::requests_per_connection, count,
                "After so many, a connection is replaced.", "none");
  return type;
}

Type<MinimumBodyRate> minimum_body_rate() {
  ObjectType<MinimumBodyRate> type("the least speed of a caller");
  type.optional("bytesPerSecond", &MinimumBodyRate::bytes_per_second,
                integer<uint32_t>("a number", 0, 1 << 30),
                "Who sends a request, or takes an answer, more slowly for a whole window is given "
                "up; 0 is none. gRPC is never watched.",
                "240")
      .optional("window", &MinimumBodyRate::window, duration(), "At least 1s.", "20s")
      .check([](MinimumBodyRate& rate, const YamlNode&, Reader& reader) {
        if (rate.window >= 1s) return;
        reader.error_in("window", rate.at, "must be at least 1s");
      });
  return type;
}

}  // namespace

Kind traffic_policy_kind() {
  using Balancing = Policy::Balancing;
  ObjectType<Policy::Spec> spec("spec of a TrafficPolicy");
  spec.required("targetRef", &Policy::Spec::target_ref, target(), "")
      .optional("timeouts", &Policy::Spec::timeouts, timeouts(), "")
      .optional("limits", &Policy::Spec::limits, limits(), "")
      .optional(
          "balancing", &Policy::Spec::balancing,
          enumeration<Balancing>({{"LeastRequest", Balancing::kLeastRequest},
                                  {"RoundRobin", Balancing::kRoundRobin},
                                  {"Random", Balancing::kRandom}}),
          "How one of the workloads is chosen. LeastRequest: of two picked by chance, the one "
          "with fewer requests in progress.",
          "LeastRequest")
      .optional(
          "retry", &Policy::Spec::retry, policy_retry(),
          "Where the rule of a route has none. Without it, only what no workload has acted on "
          "is sent again.")
      .optional("minimumBodyRate", &Policy::Spec::minimum_body_rate, minimum_body_rate(), "")
      .not_yet({"targetRefs"});
  Kind kind =
      make_kind<Policy, Policy::Spec>("glia.dev/v1", check_subdomain_name, spec,
                                      SpecNeed::kRequired, [](Policy&& policy, Draft& draft) {
                                        draft.objects.traffic_policies.push_back(std::move(policy));
                                      });
  kind.documentation =
      "How requests for a Service are treated. Nothing of it is needed: the defaults are those of "
      "the table. What is about a request (`timeouts` but for `connect`, `retry`, "
      "`minimumBodyRate`) is that of the Service that the caller names; what is about connections "
      "(`timeouts.connect`, "
      "`limits`, `balancing`) is that of the Service that a route sends it to.";
  kind.example = R"(apiVersion: glia.dev/v1
kind: TrafficPolicy
metadata: {name: classify}
spec:
  targetRef: {kind: Service, name: classify, port: 80}
  timeouts: {request: 30s, backendRequest: 10s, idle: 1m, connect: 1s}
  limits: {connections: 64, pendingRequests: 100, requests: 200}
  balancing: RoundRobin
  retry: {on: [ConnectFailure, GatewayError], attempts: 2, backoff: 50ms}
  minimumBodyRate: {bytesPerSecond: 1000, window: 10s}
)";
  return kind;
}

}  // namespace glia
