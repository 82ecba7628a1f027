#include "control_plane/objects/route_filter.h"

#include <set>

namespace glia {

namespace {

constexpr std::size_t kMaxFilters = 16, kMaxHeaderChanges = 64;

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

Type<PathChange> path_change() {
  ObjectType<PathChange> type("a change of the path");
  type.required(
      "type", &PathChange::type,
      enumeration<PathChangeType>({{"ReplaceFullPath", PathChangeType::kReplaceFullPath},
                                   {"ReplacePrefixMatch", PathChangeType::kReplacePrefixMatch}}),
      "");
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
      .optional("path", &RequestRedirect::path, path_change(), "The query stays.")
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
      .optional("path", &UrlRewrite::path, path_change(), "The query stays.");
  return type;
}

Type<RequestMirror> mirror() {
  using Target = RequestMirror::Target;
  using Fraction = MirrorFraction;
  ObjectType<Target> target("a Service that gets copies");
  target.optional("group", &Target::group, core_group(), "\"\", the group of Service.", "\"\"")
      .optional("kind", &Target::kind, service_kind_name(), "", "Service")
      .required("name", &Target::name, service_name(), "")
      .optional("namespace", &Target::ns, label_name("a name in lower case"), "As in backendRefs.",
                "that of the route")
      .required("port", &Target::port, port_number(), "A port of the Service.");
  ObjectType<Fraction> fraction("a part of the requests");
  constexpr int64_t kMost = 0x7FFFFFFF;
  fraction.required("numerator", &Fraction::numerator, integer<uint32_t>("a number", 0, kMost), "")
      .optional("denominator", &Fraction::denominator, integer<uint32_t>("a number", 1, kMost), "",
                "100")
      .check([](Fraction& value, const YamlNode&, Reader& reader) {
        if (value.numerator <= value.denominator) return;
        reader.error_in("numerator", value.at, "must not be above the denominator");
      });
  ObjectType<RequestMirror> type("copies for another Service");
  type.required("backendRef", &RequestMirror::backend_ref, Type<Target>(target),
                "Each copy goes to one of its workloads, as host HOST-shadow.")
      .optional("percent", &RequestMirror::percent, integer<uint32_t>("percent", 0, 100),
                "How many of the requests are copied.", "100")
      .optional("fraction", &RequestMirror::fraction, Type<Fraction>(fraction),
                "The same, instead of percent.")
      .check([](RequestMirror& value, const YamlNode&, Reader& reader) {
        if (!value.percent || !value.fraction) return;
        reader.error_in("fraction", value.at, "and percent say the same; remove one of them");
      });
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
      {RouteFilter::Type::kUrlRewrite, "urlRewrite", filter.url_rewrite.has_value()},
      {RouteFilter::Type::kRequestMirror, "requestMirror", filter.request_mirror.has_value()},
      {RouteFilter::Type::kCors, "cors", filter.cors.has_value()}};
  for (const Member& member : members) {
    if (member.set == (member.type == filter.type)) continue;
    reader.error_in(
        member.name, filter.at,
        member.set ? "does not belong to this type of filter; remove it" : "is missing");
  }
}

Type<RouteFilter> filter(FilterSet set) {
  using Kind = RouteFilter::Type;
  const bool http = set == FilterSet::kHttpRule, rule = set != FilterSet::kBackend;
  Choices<Kind> choices = {{"RequestHeaderModifier", Kind::kRequestHeaderModifier},
                           {"ResponseHeaderModifier", Kind::kResponseHeaderModifier}};
  std::vector<std::string> not_yet = {"ExtensionRef"};
  if (rule)
    choices.push_back({"RequestMirror", Kind::kRequestMirror});
  else
    not_yet.push_back("RequestMirror");
  if (http) {
    choices.push_back({"RequestRedirect", Kind::kRequestRedirect});
    choices.push_back({"URLRewrite", Kind::kUrlRewrite});
    choices.push_back({"CORS", Kind::kCors});
    not_yet.push_back("ExternalAuth");
  } else {
    not_yet.insert(not_yet.end(), {"RequestRedirect", "URLRewrite", "CORS"});
  }
  ObjectType<RouteFilter> type("a filter");
  type.required("type", &RouteFilter::type,
                enumeration<Kind>(std::move(choices), std::move(not_yet)), "")
      .optional("requestHeaderModifier", &RouteFilter::request_header_modifier, header_edit(), "")
      .optional("responseHeaderModifier", &RouteFilter::response_header_modifier, header_edit(),
                "");
  if (rule) {
    type.optional("requestMirror", &RouteFilter::request_mirror, mirror(),
                  "May be there several times. Copies never hold the request up, and their answers "
                  "are dropped.");
  }
  if (http) {
    type.optional("requestRedirect", &RouteFilter::request_redirect, redirect(), "")
        .optional("urlRewrite", &RouteFilter::url_rewrite, url_rewrite(), "")
        .optional("cors", &RouteFilter::cors, cors_filter(),
                  "A browser asks with OPTIONS before it sends what a page wants; that is answered "
                  "by the sidecar, so the matches of the rule must take OPTIONS as well.")
        .not_yet({"externalAuth"});
  }
  type.not_yet({"extensionRef"}).check(check_filter);
  return type;
}

Type<std::vector<uint16_t>> retry_codes() {
  constexpr std::size_t kMostCodes = 100;
  return list(integer<uint16_t>("a status", 400, 599), 0, kMostCodes);
}

// The fields that both kinds of retry have.
void add_attempts(ObjectType<RetryRule>& type) {
  constexpr int64_t kMostAttempts = 100;  // As many as a sidecar takes.
  type.optional("attempts", &RetryRule::attempts, integer<uint32_t>("a number", 1, kMostAttempts),
                "At most so many after the first.", "1")
      .optional("backoff", &RetryRule::backoff, duration(),
                "The pause before the first of them is up to that, at least 1ms; it doubles with "
                "each, up to ten times of that.",
                "25ms");
}

void check_backoff(RetryRule& retry, const YamlNode&, Reader& reader) {
  if (!retry.backoff || *retry.backoff >= 1ms) return;
  reader.error_in("backoff", retry.at, "must be at least 1ms");
}

}  // namespace

Type<RetryRule> http_retry() {
  ObjectType<RetryRule> type("repeated attempts");
  type.optional("codes", &RetryRule::codes, retry_codes(),
                "Statuses of answers after which it is sent again.");
  add_attempts(type);
  type.check([](RetryRule& retry, const YamlNode& node, Reader& reader) {
    // The standard counts trouble with the connection as well.
    retry.on = {RetryRule::On::kConnectFailure, RetryRule::On::kReset};
    check_backoff(retry, node, reader);
  });
  return type;
}

Type<RetryRule> policy_retry() {
  using On = RetryRule::On;
  const Choices<On> reasons = {
      {"ConnectFailure", On::kConnectFailure}, {"Reset", On::kReset},
      {"GatewayError", On::kGatewayError},     {"ServerError", On::kServerError},
      {"Unavailable", On::kUnavailable},       {"ResourceExhausted", On::kResourceExhausted}};
  ObjectType<RetryRule> type("repeated attempts");
  type.required(
          "on", &RetryRule::on, list(enumeration<On>(reasons), 1, reasons.size()),
          "`ConnectFailure`: no connection could be made. `Reset`: it broke off, or an attempt "
          "took longer than `timeouts.backendRequest`. `GatewayError`: 502, 503 or 504. "
          "`ServerError`: 500 to 599. `Unavailable` and `ResourceExhausted`: of gRPC. All but "
          "the first may repeat what a workload has done already.")
      .optional("codes", &RetryRule::codes, retry_codes(),
                "Further statuses of answers after which it is sent again.");
  add_attempts(type);
  type.check(check_backoff);
  return type;
}

Type<std::string> service_kind_name() { return one_of({"Service"}, {"Gateway", "InferencePool"}); }

Type<std::string> service_name() {
  return text("name of a Service", "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", check_service_name);
}

Type<std::string> core_group() {
  return text("the empty text", "^$", [](std::string_view group) -> Wrong {
    if (group.empty()) return {};
    return "must be \"\", the group of Service";
  });
}

Type<std::string> backend_group() {
  return text(cat("the empty text or ", InferencePool::kGroup),
              "^(inference\\.networking\\.k8s\\.io)?$", [](std::string_view group) -> Wrong {
                if (group.empty() || group == InferencePool::kGroup) return {};
                return cat("must be \"\", the group of Service, or ", InferencePool::kGroup);
              });
}

Type<std::string> backend_kind_name() {
  return one_of({MeshService::kKind, InferencePool::kKind}, {"Gateway"});
}

Type<std::string> backend_name() {
  return text("a name in lower case", "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
              check_subdomain_name);
}

void check_backend_kind(std::string_view group, std::string_view kind, std::string_view name,
                        Place at, Reader& reader) {
  const bool service = kind == MeshService::kKind;
  const std::string_view needed = service ? "" : InferencePool::kGroup;
  if (group != needed) {
    reader.error_in("group", at,
                    cat("must be \"", needed, "\", the group of ", kind, ", not \"", group, '"'));
  }
  const Wrong wrong = service && !name.empty() ? check_service_name(name) : std::nullopt;
  if (wrong) reader.error_in("name", at, cat(*wrong, ", not \"", name, '"'));
}

Type<std::vector<RouteFilter>> route_filters(FilterSet set) {
  return list(filter(set), 0, kMaxFilters);
}

void check_filters(const std::vector<RouteFilter>& filters, Reader& reader) {
  std::set<RouteFilter::Type> seen;
  for (std::size_t i = 0; i < filters.size(); ++i) {
    if (filters[i].type == RouteFilter::Type::kRequestMirror) continue;
    if (seen.insert(filters[i].type).second) continue;
    reader.error_in(cat("filters[", i, "].type"), filters[i].at,
                    "is that of another filter of this rule; a type may be used once a rule");
  }
}

}  // namespace glia
