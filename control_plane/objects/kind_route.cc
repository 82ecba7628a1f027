// The kinds that say where requests go: HTTPRoute and GRPCRoute of the Gateway API, with Services
// as parents (GAMMA, gateway-api.sigs.k8s.io/mesh).
#include <initializer_list>
#include <set>

#include "control_plane/objects/kind.h"
#include "control_plane/objects/route_filter.h"

namespace glia {

namespace {

constexpr char kGatewayApi[] = "gateway.networking.k8s.io/v1";
constexpr uint32_t kMaxWeight = 1'000'000;
constexpr std::size_t kMaxParents = 32, kMaxRules = 64, kMaxMatches = 128, kMaxBackends = 16;
constexpr std::size_t kMaxConditions = 16;

Type<RouteParent> parent_ref() {
  ObjectType<RouteParent> type("the Service whose requests a route takes");
  type.optional("group", &RouteParent::group, core_group(), "\"\", the group of Service.", "\"\"")
      .optional("kind", &RouteParent::kind, service_kind_name(), "", "Service")
      .required("name", &RouteParent::name, service_name(), "")
      .optional("namespace", &RouteParent::ns, label_name("a name in lower case"),
                "If it is another one, the route is for the workloads of its own namespace only, "
                "and there takes the place of the Service's own routes.",
                "that of the route")
      .optional("port", &RouteParent::port, port_number(), "A port of the Service.", "all ports")
      .not_yet({"sectionName"});
  return type;
}

Type<RouteBackend> backend_ref() {
  ObjectType<RouteBackend> type("a Service or an InferencePool that answers");
  type.optional("group", &RouteBackend::group, backend_group(),
                "\"\", the group of Service, or that of InferencePool.", "\"\"")
      .optional("kind", &RouteBackend::kind, backend_kind_name(), "", "Service")
      .required("name", &RouteBackend::name, backend_name(), "")
      .optional("namespace", &RouteBackend::ns, label_name("a name in lower case"),
                "Another one needs a ReferenceGrant there, unless the Service is a parent of the "
                "route.",
                "that of the route")
      .optional(
          "port", &RouteBackend::port, port_number(),
          "A port of the Service, which needs it. An InferencePool knows its own ports; it is "
          "not looked at then.")
      .optional("weight", &RouteBackend::weight, integer<uint32_t>("a weight", 0, kMaxWeight),
                "Its share is weight / sum of the weights of the rule.", "1")
      .optional("filters", &RouteBackend::filters, route_filters(FilterSet::kBackend),
                "For its share of the requests.")
      .check([](RouteBackend& backend, const YamlNode&, Reader& reader) {
        check_filters(backend.filters, reader);
        check_backend_kind(backend.group, backend.kind, backend.name, backend.at, reader);
        if (backend.port != 0 || backend.kind != MeshService::kKind) return;
        reader.error_in("port", backend.at, "is missing");
      });
  return type;
}

// The value is checked here because its rule depends on `type`.
void check_condition(NameCondition& condition, const YamlNode&, Reader& reader) {
  const auto wrong = condition.type == NameCondition::Type::kRegularExpression
                         ? check_regex(condition.value)
                         : check_header_value(condition.value);
  if (wrong) reader.error_in("value", condition.at, cat(*wrong, ", not \"", condition.value, '"'));
}

Type<NameCondition> condition(std::string what, const Type<std::string>& name) {
  using Kind = NameCondition::Type;
  ObjectType<NameCondition> type(std::move(what));
  type.optional("type", &NameCondition::type,
                enumeration<Kind>(
                    {{"Exact", Kind::kExact}, {"RegularExpression", Kind::kRegularExpression}}),
                "", "Exact")
      .required("name", &NameCondition::name, name, "")
      .required("value", &NameCondition::value, text("any text"),
                "The whole value, or a regular expression (RE2) that matches the whole value.")
      .check(check_condition);
  return type;
}

Type<HttpRoute::PathCondition> path_condition() {
  using Path = HttpRoute::PathCondition;
  ObjectType<Path> type("a condition on the path");
  type.optional("type", &Path::type,
                enumeration<Path::Type>({{"Exact", Path::Type::kExact},
                                         {"PathPrefix", Path::Type::kPathPrefix},
                                         {"RegularExpression", Path::Type::kRegularExpression}}),
                "PathPrefix matches whole parts: /a matches /a and /a/b, not /ab.", "PathPrefix")
      .optional("value", &Path::value, text("a path or a regular expression (RE2)"), "", "/")
      .check([](Path& path, const YamlNode&, Reader& reader) {
        const auto wrong = path.type == Path::Type::kRegularExpression ? check_regex(path.value)
                                                                       : check_path(path.value);
        if (wrong) reader.error_in("value", path.at, cat(*wrong, ", not \"", path.value, '"'));
      });
  return type;
}

Type<HttpRoute::Match> http_match() {
  using Match = HttpRoute::Match;
  ObjectType<Match> type("conditions that must all hold");
  type.optional("path", &Match::path, path_condition(), "", "{type: PathPrefix, value: /}")
      .optional("headers", &Match::headers,
                list(condition("a condition on a header", header_name()), 0, kMaxConditions), "")
      .optional(
          "queryParams", &Match::query_params,
          list(condition("a condition on a query parameter", header_name()), 0, kMaxConditions), "")
      .optional(
          "method", &Match::method,
          one_of({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}),
          "", "any");
  return type;
}

// ReplacePrefixMatch needs a prefix to replace in every match.
bool replaces_prefix(const RouteFilter& filter) {
  const auto prefix = [](const std::optional<PathChange>& change) {
    return change && change->type == PathChange::Type::kReplacePrefixMatch;
  };
  return (filter.request_redirect && prefix(filter.request_redirect->path)) ||
         (filter.url_rewrite && prefix(filter.url_rewrite->path));
}

void check_http_rule(HttpRoute::Rule& rule, const YamlNode&, Reader& reader) {
  check_filters(rule.filters, reader);
  bool redirects = false, rewrites = false, mirrors = false;
  for (const RouteFilter& filter : rule.filters) {
    redirects |= filter.type == RouteFilter::Type::kRequestRedirect;
    mirrors |= filter.type == RouteFilter::Type::kRequestMirror;
    rewrites |= filter.type == RouteFilter::Type::kUrlRewrite;
    if (!replaces_prefix(filter)) continue;
    for (std::size_t i = 0; i < rule.matches.size(); ++i) {
      if (rule.matches[i].path.type == HttpRoute::PathCondition::Type::kPathPrefix) continue;
      reader.error_in(cat("matches[", i, "].path.type"), rule.matches[i].path.at,
                      "must be PathPrefix, because a filter of this rule has ReplacePrefixMatch");
    }
  }
  if (redirects && !rule.backend_refs.empty()) {
    reader.error_in("backendRefs", rule.at, "must be left out in a rule with a RequestRedirect");
  }
  if (redirects && rewrites) {
    reader.error_in("filters", rule.at, "must not have both a RequestRedirect and a URLRewrite");
  }
  if (redirects && mirrors) {
    reader.error_in("filters", rule.at,
                    "must not have both a RequestRedirect and a RequestMirror: what is redirected "
                    "is not copied");
  }
}

Type<HttpRoute::Rule> http_rule() {
  using Rule = HttpRoute::Rule;
  ObjectType<HttpRoute::Timeouts> timeouts("time limits");
  timeouts
      .optional("request", &HttpRoute::Timeouts::request, duration(),
                "From the end of the request to the end of the response; 0s is none.", "none")
      .optional(
          "backendRequest", &HttpRoute::Timeouts::backend_request, duration(),
          "From the end of the request to the head of the answer to one attempt at a backend; "
          "not above `request`; 0s is none. What happens then says `retry`.",
          "none")
      .check([](HttpRoute::Timeouts& times, const YamlNode&, Reader& reader) {
        const Duration whole = times.request.value_or(0s);
        const Duration one = times.backend_request.value_or(0s);
        if (whole == 0s || one <= whole) return;
        reader.error_in("backendRequest", times.at, "must not be longer than request");
      });
  ObjectType<Rule> type("a rule");
  type.optional("name", &Rule::name, text("a name in lower case", "", check_subdomain_name),
                "Shown in the configuration of the sidecars.")
      .optional("matches", &Rule::matches, list(http_match(), 0, kMaxMatches),
                "One of them must hold; without, every request matches.")
      .optional("filters", &Rule::filters, route_filters(FilterSet::kHttpRule), "")
      .optional("backendRefs", &Rule::backend_refs, list(backend_ref(), 0, kMaxBackends),
                "Without backends and redirect, the answer is 500.")
      .optional("timeouts", &Rule::timeouts, Type<HttpRoute::Timeouts>(timeouts), "")
      .optional(
          "retry", &Rule::retry, http_retry(),
          "Also after a connection that could not be made, broke off, or gave no answer "
          "within `timeouts.backendRequest`. Without it, only what no backend has acted on is "
          "sent again.",
          "that of the TrafficPolicy")
      .not_yet({"sessionPersistence"})
      .check(check_http_rule);
  return type;
}

// At least one of service and method; names as they stand in a path.
void check_grpc_method(GrpcMethodCondition& method, const YamlNode&, Reader& reader) {
  if (method.service.empty() && method.method.empty()) {
    return reader.error_in("service", method.at, "or method must be given");
  }
  const bool regex = method.type == NameCondition::Type::kRegularExpression;
  for (const auto& [field, value] :
       {std::pair<const char*, const std::string&>{"service", method.service},
        {"method", method.method}}) {
    if (value.empty()) continue;
    const bool bad = !regex && value.find_first_not_of(
                                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
                                   ".") != value.npos;
    auto wrong = regex ? check_regex(value) : std::nullopt;
    if (bad) wrong = "must be a name as in the .proto file, letters, digits, '_' and '.'";
    if (wrong) reader.error_in(field, method.at, cat(*wrong, ", not \"", value, '"'));
  }
}

Type<GrpcRoute::Rule> grpc_rule() {
  using Rule = GrpcRoute::Rule;
  using Match = GrpcRoute::Match;
  using Kind = NameCondition::Type;
  ObjectType<GrpcMethodCondition> method("a condition on the gRPC method");
  method
      .optional("type", &GrpcMethodCondition::type,
                enumeration<Kind>(
                    {{"Exact", Kind::kExact}, {"RegularExpression", Kind::kRegularExpression}}),
                "", "Exact")
      .optional("service", &GrpcMethodCondition::service, text("package.Service"), "", "any")
      .optional("method", &GrpcMethodCondition::method, text("a method"), "", "any")
      .check(check_grpc_method);
  ObjectType<Match> match("conditions that must all hold");
  match.optional("method", &Match::method, Type<GrpcMethodCondition>(method), "", "any")
      .optional("headers", &Match::headers,
                list(condition("a condition on a header", header_name()), 0, kMaxConditions), "");
  ObjectType<Rule> type("a rule");
  type.optional("name", &Rule::name, text("a name in lower case", "", check_subdomain_name),
                "Shown in the configuration of the sidecars.")
      .optional("matches", &Rule::matches, list(Type<Match>(match), 0, kMaxMatches),
                "One of them must hold; without, every call matches.")
      .optional("filters", &Rule::filters, route_filters(FilterSet::kGrpcRule), "")
      .optional("backendRefs", &Rule::backend_refs, list(backend_ref(), 0, kMaxBackends),
                "Without backends, the answer is UNAVAILABLE.")
      .not_yet({"sessionPersistence"})
      .not_yet(
          {"timeouts", "retry"},
          "is not in the Gateway API's GRPCRoute; write it into a TrafficPolicy of the Service")
      .check(
          [](Rule& rule, const YamlNode&, Reader& reader) { check_filters(rule.filters, reader); });
  return type;
}

template <class Route>
ObjectType<typename Route::Spec> route_spec(const Type<typename Route::Rule>& rule) {
  using Spec = typename Route::Spec;
  ObjectType<Spec> spec(cat("spec of ", Route::kKind));
  spec.required("parentRefs", &Spec::parent_refs, list(parent_ref(), 1, kMaxParents),
                "The Services whose requests take this route, in place of their own workloads.")
      .required("rules", &Spec::rules, list(rule, 1, kMaxRules),
                "The most exact match wins, over all routes of the Service.")
      .not_yet({"hostnames"},
               "has no meaning here: requests are found by the names of the parent Service; remove "
               "it")
      .not_yet({"useDefaultGateways"});
  return spec;
}

// Names without a namespace are in that of the route.
template <class Route>
void fill_namespaces(Route& route) {
  for (RouteParent& parent : route.spec.parent_refs) {
    if (parent.ns.empty()) parent.ns = route.metadata.ns;
  }
  for (auto& rule : route.spec.rules) {
    for (RouteBackend& backend : rule.backend_refs) {
      if (backend.ns.empty()) backend.ns = route.metadata.ns;
    }
    for (RouteFilter& filter : rule.filters) {
      if (!filter.request_mirror) continue;
      auto& target = filter.request_mirror->backend_ref;
      if (target.ns.empty()) target.ns = route.metadata.ns;
    }
  }
}

}  // namespace

Kind http_route_kind() {
  Kind kind = make_kind<HttpRoute, HttpRoute::Spec>(
      kGatewayApi, check_subdomain_name, route_spec<HttpRoute>(http_rule()), SpecNeed::kRequired,
      [](HttpRoute&& route, Draft& draft) {
        fill_namespaces(route);
        draft.objects.http_routes.push_back(std::move(route));
      });
  kind.documentation =
      "Where HTTP requests for a Service go. It takes the place of the workloads behind the parent "
      "Service: a request that no rule matches is answered with 404.";
  kind.example = R"(apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: classify}
spec:
  parentRefs: [{group: "", kind: Service, name: classify, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /v2}, method: POST}]
    timeouts: {request: 10s, backendRequest: 4s}
    retry: {codes: [503], attempts: 2, backoff: 50ms}
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: x-route, value: split}]}
    backendRefs:
    - {name: classify-v1, port: 80, weight: 90}
    - {name: classify-v2, port: 80, weight: 10}
)";
  return kind;
}

Kind grpc_route_kind() {
  Kind kind = make_kind<GrpcRoute, GrpcRoute::Spec>(
      kGatewayApi, check_subdomain_name, route_spec<GrpcRoute>(grpc_rule()), SpecNeed::kRequired,
      [](GrpcRoute&& route, Draft& draft) {
        fill_namespaces(route);
        draft.objects.grpc_routes.push_back(std::move(route));
      });
  kind.documentation =
      "Where gRPC calls for a Service go. A call that no rule matches ends with UNIMPLEMENTED. A "
      "port of a Service has HTTPRoutes or GRPCRoutes, not both.";
  kind.example = R"(apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: classify-grpc}
spec:
  parentRefs: [{group: "", kind: Service, name: classify, port: 81}]
  rules:
  - matches: [{method: {service: inference.GRPCInferenceService, method: ModelInfer}}]
    backendRefs:
    - {name: classify-v1, port: 81, weight: 90}
    - {name: classify-v2, port: 81, weight: 10}
)";
  return kind;
}

}  // namespace glia
