// The kinds that say where requests go: HTTPRoute and GRPCRoute of the Gateway API, with Services
// as parents (GAMMA, gateway-api.sigs.k8s.io/mesh).
#include <initializer_list>
#include <set>

#include "control_plane/objects/kind.h"

namespace glia {

namespace {

constexpr char kGatewayApi[] = "gateway.networking.k8s.io/v1";
constexpr uint32_t kMaxWeight = 1'000'000;
constexpr std::size_t kMaxParents = 32, kMaxRules = 64, kMaxMatches = 128, kMaxFilters = 16;
constexpr std::size_t kMaxBackends = 16, kMaxConditions = 16, kMaxHeaderChanges = 64;

Type<std::string> service_kind_name() { return one_of({"Service"}, {"Gateway", "InferencePool"}); }
Type<std::string> service_name() {
  return text("name of a Service", "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", check_service_name);
}
// The core group, which Service is in, is the empty text.
Type<std::string> core_group() {
  return text("the empty text", "^$", [](std::string_view group) -> Wrong {
    if (group.empty()) return {};
    return "must be \"\", the group of Service";
  });
}

Type<RouteParent> parent_ref() {
  ObjectType<RouteParent> type("the Service whose requests a route takes");
  type.optional("group", &RouteParent::group, core_group(), "\"\", the group of Service.", "\"\"")
      .optional("kind", &RouteParent::kind, service_kind_name(), "", "Service")
      .required("name", &RouteParent::name, service_name(), "")
      .optional("namespace", &RouteParent::ns, label_name("a name in lower case"),
                "Must be that of the route.", "that of the route")
      .optional("port", &RouteParent::port, port_number(), "A port of the Service.", "all ports")
      .not_yet({"sectionName"});
  return type;
}

Type<RouteBackend> backend_ref() {
  ObjectType<RouteBackend> type("a Service that answers");
  type.optional("group", &RouteBackend::group, core_group(), "\"\", the group of Service.", "\"\"")
      .optional("kind", &RouteBackend::kind, service_kind_name(), "", "Service")
      .required("name", &RouteBackend::name, service_name(), "")
      .optional("namespace", &RouteBackend::ns, label_name("a name in lower case"),
                "Must be that of the route: ReferenceGrant is not supported yet.",
                "that of the route")
      .required("port", &RouteBackend::port, port_number(), "A port of the Service.")
      .optional("weight", &RouteBackend::weight, integer<uint32_t>("a weight", 0, kMaxWeight),
                "Its share is weight / sum of the weights of the rule.", "1")
      .not_yet({"filters"});
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

Type<HeaderEdit> header_edit() {
  const auto name =
      text("a header name", "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]{1,256}$", check_changed_header);
  ObjectType<HeaderValue> value("a header");
  value.required("name", &HeaderValue::name, name, "")
      .required("value", &HeaderValue::value, text("any text", "", check_header_value), "");
  const auto values = list(Type<HeaderValue>(value), 0, kMaxHeaderChanges);
  ObjectType<HeaderEdit> type("changes of headers");
  type.optional("set", &HeaderEdit::set, values, "Replaces what was there.")
      .optional("add", &HeaderEdit::add, values, "Joins what was there.")
      .optional("remove", &HeaderEdit::remove, list(name, 0, kMaxHeaderChanges), "");
  return type;
}

using PathChangeType = PathChange::Type;

Type<PathChange> path_change(Choices<PathChangeType> choices, std::vector<std::string> not_yet) {
  ObjectType<PathChange> type("a change of the path");
  type.required("type", &PathChange::type,
                enumeration<PathChangeType>(std::move(choices), std::move(not_yet)), "");
  const auto path = text("an absolute path", "^/", check_path);
  type.optional("replacePrefixMatch", &PathChange::replace_prefix_match, path,
                "With type ReplacePrefixMatch: takes the place of what the PathPrefix matched.");
  type.optional("replaceFullPath", &PathChange::replace_full_path, path,
                "With type ReplaceFullPath: takes the place of the path.");
  type.check([](PathChange& change, const YamlNode&, Reader& reader) {
    const bool full = change.type == PathChangeType::kReplaceFullPath;
    const char* needed = full ? "replaceFullPath" : "replacePrefixMatch";
    const char* other = full ? "replacePrefixMatch" : "replaceFullPath";
    if (!(full ? change.replace_full_path : change.replace_prefix_match)) {
      reader.error_in(needed, change.at, "is missing");
    }
    if (full ? change.replace_prefix_match : change.replace_full_path) {
      reader.error_in(other, change.at, cat("does not belong to this type; use ", needed));
    }
  });
  return type;
}

Type<RequestRedirect> redirect() {
  const auto hostname = text("a host name", "", check_hostname);
  ObjectType<RequestRedirect> type("a redirect");
  type.optional("scheme", &RequestRedirect::scheme, one_of({"http", "https"}), "")
      .optional("hostname", &RequestRedirect::hostname, hostname, "")
      .optional("path", &RequestRedirect::path,
                path_change({{"ReplaceFullPath", PathChangeType::kReplaceFullPath},
                             {"ReplacePrefixMatch", PathChangeType::kReplacePrefixMatch}},
                            {}),
                "")
      .optional("port", &RequestRedirect::port, port_number(), "")
      .optional("statusCode", &RequestRedirect::status_code,
                integer<uint16_t>("301, 302, 303, 307 or 308", 301, 308), "", "302")
      .check([](RequestRedirect& value, const YamlNode&, Reader& reader) {
        if (value.status_code < 304 || value.status_code > 306) return;
        reader.error_in("statusCode", value.at,
                        cat("must be 301, 302, 303, 307 or 308, not ", value.status_code));
      });
  return type;
}

Type<UrlRewrite> url_rewrite() {
  ObjectType<UrlRewrite> type("a rewrite of host and path");
  type.optional("hostname", &UrlRewrite::hostname, text("a host name", "", check_hostname),
                "What the backend sees as host.")
      .optional("path", &UrlRewrite::path,
                path_change({{"ReplacePrefixMatch", PathChangeType::kReplacePrefixMatch}},
                            {"ReplaceFullPath"}),
                "");
  return type;
}

// Each type has its own member and no other.
void check_filter(RouteFilter& filter, const YamlNode& node, Reader& reader) {
  struct Member {
    RouteFilter::Type type;
    const char* name;
    bool set;
  };
  const Member members[] = {
      {RouteFilter::Type::kRequestHeaderModifier, "requestHeaderModifier",
       filter.request_header_modifier.has_value()},
      {RouteFilter::Type::kResponseHeaderModifier, "responseHeaderModifier",
       filter.response_header_modifier.has_value()},
      {RouteFilter::Type::kRequestRedirect, "requestRedirect", filter.request_redirect.has_value()},
      {RouteFilter::Type::kUrlRewrite, "urlRewrite", filter.url_rewrite.has_value()}};
  for (const Member& member : members) {
    if (member.set == (member.type == filter.type)) continue;
    reader.error_in(
        member.name, filter.at,
        member.set ? "does not belong to this type of filter; remove it" : "is missing");
  }
}

Type<RouteFilter> filter(bool grpc) {
  using Kind = RouteFilter::Type;
  Choices<Kind> choices = {{"RequestHeaderModifier", Kind::kRequestHeaderModifier},
                           {"ResponseHeaderModifier", Kind::kResponseHeaderModifier}};
  std::vector<std::string> not_yet = {"RequestMirror", "ExtensionRef"};
  if (!grpc) {
    choices.push_back({"RequestRedirect", Kind::kRequestRedirect});
    choices.push_back({"URLRewrite", Kind::kUrlRewrite});
    not_yet.insert(not_yet.end(), {"CORS", "ExternalAuth"});
  }
  ObjectType<RouteFilter> type("a filter");
  type.required("type", &RouteFilter::type,
                enumeration<Kind>(std::move(choices), std::move(not_yet)), "")
      .optional("requestHeaderModifier", &RouteFilter::request_header_modifier, header_edit(), "")
      .optional("responseHeaderModifier", &RouteFilter::response_header_modifier, header_edit(),
                "");
  if (!grpc) {
    type.optional("requestRedirect", &RouteFilter::request_redirect, redirect(), "")
        .optional("urlRewrite", &RouteFilter::url_rewrite, url_rewrite(), "")
        .not_yet({"cors", "externalAuth"});
  }
  type.not_yet({"requestMirror", "extensionRef"}).check(check_filter);
  return type;
}

void check_filters(const std::vector<RouteFilter>& filters, Reader& reader) {
  std::set<RouteFilter::Type> seen;
  for (std::size_t i = 0; i < filters.size(); ++i) {
    if (seen.insert(filters[i].type).second) continue;
    reader.error_in(cat("filters[", i, "].type"), filters[i].at,
                    "is that of another filter of this rule; a type may be used once a rule");
  }
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
    return change && change->type == PathChangeType::kReplacePrefixMatch;
  };
  return (filter.request_redirect && prefix(filter.request_redirect->path)) ||
         (filter.url_rewrite && prefix(filter.url_rewrite->path));
}

void check_http_rule(HttpRoute::Rule& rule, const YamlNode&, Reader& reader) {
  check_filters(rule.filters, reader);
  bool redirects = false, rewrites = false;
  for (const RouteFilter& filter : rule.filters) {
    redirects |= filter.type == RouteFilter::Type::kRequestRedirect;
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
}

Type<HttpRoute::Rule> http_rule() {
  using Rule = HttpRoute::Rule;
  ObjectType<HttpRoute::Timeouts> timeouts("time limits");
  timeouts
      .optional("request", &HttpRoute::Timeouts::request, duration(),
                "From the end of the request to the end of the response; 0s is none.", "none")
      .not_yet({"backendRequest"});
  ObjectType<Rule> type("a rule");
  type.optional("name", &Rule::name, text("a name in lower case", "", check_subdomain_name),
                "Shown in the configuration of the sidecars.")
      .optional("matches", &Rule::matches, list(http_match(), 0, kMaxMatches),
                "One of them must hold; without, every request matches.")
      .optional("filters", &Rule::filters, list(filter(false), 0, kMaxFilters), "")
      .optional("backendRefs", &Rule::backend_refs, list(backend_ref(), 0, kMaxBackends),
                "Without backends and redirect, the answer is 500.")
      .optional("timeouts", &Rule::timeouts, Type<HttpRoute::Timeouts>(timeouts), "")
      .not_yet({"retry", "sessionPersistence"})
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
      .optional("filters", &Rule::filters, list(filter(true), 0, kMaxFilters), "")
      .optional("backendRefs", &Rule::backend_refs, list(backend_ref(), 0, kMaxBackends),
                "Without backends, the answer is UNAVAILABLE.")
      .not_yet({"sessionPersistence", "timeouts", "retry"})
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
    timeouts: {request: 10s}
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
