#include "control_plane/translate/route_rules.h"

#include <algorithm>
#include <tuple>

#include "control_plane/translate/outbound.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

namespace core = envoy::config::core::v3;
using Message = envoy::config::route::v3::Route;
using MatchMessage = envoy::config::route::v3::RouteMatch;
using Headers = google::protobuf::RepeatedPtrField<core::HeaderValueOption>;
using PathType = HttpRoute::PathCondition::Type;

// gRPC clients map HTTP 503 to UNAVAILABLE and 404 to UNIMPLEMENTED, as GRPCRoute asks.
constexpr int kNoBackendHttp = 500, kNoBackendGrpc = 503;

// Gateway API, HTTPRouteRule.matches: exact path, then (ours to choose) regular expression, then
// the longest prefix; a method; most headers; most query parameters; then name of the route and
// order in it. GRPCRouteRule.matches is the same with service and method in place of the path.
struct Rank {
  int path = 0;  // Higher is earlier, as all below.
  std::size_t length = 0, second_length = 0;
  bool method = false;
  std::size_t headers = 0, query = 0;

  auto key() const { return std::tie(path, length, second_length, method, headers, query); }
};

struct Ranked {
  Rank rank;
  Message message;
};

std::string without_final_slash(const std::string& path) {
  return path.size() > 1 && path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

// Envoy reads '%' in header values as the start of a command.
std::string literal(std::string_view value) {
  std::string out;
  for (const char c : value) out.append(c == '%' ? 2 : 1, c);
  return out;
}

void add_headers(const std::vector<HeaderValue>& values,
                 core::HeaderValueOption::HeaderAppendAction action, Headers& out) {
  for (const HeaderValue& value : values) {
    auto* option = out.Add();
    option->mutable_header()->set_key(to_lower(value.name));
    option->mutable_header()->set_value(literal(value.value));
    option->set_append_action(action);
  }
}

void edit(const HeaderEdit& change, Headers& headers,
          google::protobuf::RepeatedPtrField<std::string>& removed) {
  add_headers(change.set, core::HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD, headers);
  add_headers(change.add, core::HeaderValueOption::APPEND_IF_EXISTS_OR_ADD, headers);
  for (const std::string& name : change.remove) *removed.Add() = to_lower(name);
}

void edit_headers(const std::vector<RouteFilter>& filters, Message& message) {
  for (const RouteFilter& filter : filters) {
    if (filter.request_header_modifier) {
      edit(*filter.request_header_modifier, *message.mutable_request_headers_to_add(),
           *message.mutable_request_headers_to_remove());
    }
    if (filter.response_header_modifier) {
      edit(*filter.response_header_modifier, *message.mutable_response_headers_to_add(),
           *message.mutable_response_headers_to_remove());
    }
  }
}

void match_headers(const std::vector<NameCondition>& conditions, MatchMessage& match) {
  for (const NameCondition& condition : conditions) {
    auto* header = match.add_headers();
    header->set_name(to_lower(condition.name));
    auto* text = header->mutable_string_match();
    if (condition.type == NameCondition::Type::kExact)
      text->set_exact(condition.value);
    else
      text->mutable_safe_regex()->set_regex(condition.value);
  }
}

void match_query(const std::vector<NameCondition>& conditions, MatchMessage& match) {
  for (const NameCondition& condition : conditions) {
    auto* parameter = match.add_query_parameters();
    parameter->set_name(condition.name);
    auto* text = parameter->mutable_string_match();
    if (condition.type == NameCondition::Type::kExact)
      text->set_exact(condition.value);
    else
      text->mutable_safe_regex()->set_regex(condition.value);
  }
}

void match_path(const HttpRoute::PathCondition& path, MatchMessage& match) {
  const std::string prefix = without_final_slash(path.value);
  switch (path.type) {
    case PathType::kExact: match.set_path(path.value); return;
    case PathType::kRegularExpression: match.mutable_safe_regex()->set_regex(path.value); return;
    case PathType::kPathPrefix: break;
  }
  if (prefix == "/")
    match.set_prefix("/");
  else
    match.set_path_separated_prefix(prefix);
}

Rank rank_of(const HttpRoute::Match& match) {
  Rank rank;
  rank.path = match.path.type == PathType::kExact        ? 2
              : match.path.type == PathType::kPathPrefix ? 0
                                                         : 1;
  rank.length = without_final_slash(match.path.value).size();
  rank.method = !match.method.empty();
  rank.headers = match.headers.size();
  rank.query = match.query_params.size();
  return rank;
}

Rank rank_of(const GrpcRoute::Match& match) {
  Rank rank;
  rank.headers = match.headers.size();
  if (!match.method) return rank;
  rank.path = match.method->type == NameCondition::Type::kExact ? 2 : 1;
  rank.length = match.method->service.size();
  rank.second_length = match.method->method.size();
  return rank;
}

MatchMessage match_message(const HttpRoute::Match& match) {
  MatchMessage message;
  match_path(match.path, message);
  if (!match.method.empty()) {
    auto* header = message.add_headers();
    header->set_name(":method");
    header->mutable_string_match()->set_exact(match.method);
  }
  match_headers(match.headers, message);
  match_query(match.query_params, message);
  return message;
}

MatchMessage match_message(const GrpcRoute::Match& match) {
  MatchMessage message;
  match_headers(match.headers, message);
  if (!match.method) {
    message.set_prefix("/");
    return message;
  }
  constexpr std::string_view kAnyName = "[^/]+";
  const GrpcMethodCondition& m = *match.method;
  const bool exact = m.type == NameCondition::Type::kExact;
  if (exact && m.method.empty()) {
    message.set_prefix(cat("/", m.service, "/"));
  } else if (exact && !m.service.empty()) {
    message.set_path(cat("/", m.service, "/", m.method));
  } else if (exact) {
    // A name holds only letters, digits, '_' and '.'.
    std::string name;
    for (const char c : m.method) name += c == '.' ? std::string("\\.") : std::string(1, c);
    message.mutable_safe_regex()->set_regex(cat("/", kAnyName, "/", name));
  } else {
    const auto part = [&](const std::string& regex) {
      return regex.empty() ? std::string(kAnyName) : cat("(?:", regex, ")");
    };
    message.mutable_safe_regex()->set_regex(cat("/", part(m.service), "/", part(m.method)));
  }
  return message;
}

// A backend's cluster, or the one that stands for its absence.
std::string cluster_of(const ObjectSet& objects, const RouteBackend& backend,
                       std::set<std::string>& missing) {
  const MeshService* service = objects.service(backend.ns, backend.name);
  if (service && service->port(backend.port)) return outbound_cluster(*service, backend.port);
  return *missing.insert(missing_cluster(backend)).first;
}

// The action of a rule with backends; nothing to send to is an answer of the Gateway API's kind.
void set_backends(const ObjectSet& objects, const std::vector<RouteBackend>& backends,
                  int no_backend_status, const std::string& rule_name,
                  std::set<std::string>& missing, Message& message) {
  std::vector<std::pair<std::string, uint32_t>> shares;
  bool any_exists = false;
  std::set<std::string> absent;
  for (const RouteBackend& backend : backends) {
    if (backend.weight == 0) continue;
    const std::size_t before = absent.size();
    shares.emplace_back(cluster_of(objects, backend, absent), backend.weight);
    any_exists |= absent.size() == before && !absent.contains(shares.back().first);
  }
  if (backends.empty())
    return answer(message, no_backend_status, cat(rule_name, " has no backend"));
  if (shares.empty()) {
    return answer(message, no_backend_status,
                  cat(rule_name, ": the weights of all backends are 0"));
  }
  if (!any_exists) {
    return answer(message, no_backend_status,
                  cat(rule_name, ": no backend exists: ", *absent.begin()));
  }
  missing.insert(absent.begin(), absent.end());
  if (shares.size() == 1) {
    message.mutable_route()->set_cluster(shares[0].first);
    return;
  }
  for (const auto& [cluster, weight] : shares) {
    auto* share = message.mutable_route()->mutable_weighted_clusters()->add_clusters();
    share->set_name(cluster);
    share->mutable_weight()->set_value(weight);
  }
}

// Without `timeouts` there is no limit: answers of models take as long as they take.
void set_timeout(Duration limit, Message& message) {
  auto* timeout = message.mutable_route()->mutable_timeout();
  timeout->set_seconds(std::chrono::duration_cast<std::chrono::seconds>(limit).count());
  timeout->set_nanos(static_cast<int32_t>((limit % 1s).count()));
}

void set_redirect(const RequestRedirect& from, const std::string& prefix, Message& message) {
  auto* redirect = message.mutable_redirect();
  using Action = envoy::config::route::v3::RedirectAction;
  switch (from.status_code) {
    case 301: redirect->set_response_code(Action::MOVED_PERMANENTLY); break;
    case 303: redirect->set_response_code(Action::SEE_OTHER); break;
    case 307: redirect->set_response_code(Action::TEMPORARY_REDIRECT); break;
    case 308: redirect->set_response_code(Action::PERMANENT_REDIRECT); break;
    default: redirect->set_response_code(Action::FOUND); break;
  }
  if (!from.scheme.empty()) redirect->set_scheme_redirect(from.scheme);
  if (!from.hostname.empty()) redirect->set_host_redirect(from.hostname);
  if (from.port) redirect->set_port_redirect(*from.port);
  if (!from.path) return;
  if (from.path->replace_full_path)
    redirect->set_path_redirect(*from.path->replace_full_path);
  else
    redirect->set_prefix_rewrite(prefix);
}

const PathChange* prefix_change(const HttpRoute::Rule& rule) {
  for (const RouteFilter& filter : rule.filters) {
    const auto* change = filter.url_rewrite && filter.url_rewrite->path ? &*filter.url_rewrite->path
                         : filter.request_redirect && filter.request_redirect->path
                             ? &*filter.request_redirect->path
                             : nullptr;
    if (change && change->replace_prefix_match) return change;
  }
  return nullptr;
}

// `prefix` takes the place of what the match's path matched; "" leaves the path.
void set_http_action(const ObjectSet& objects, const HttpRoute::Rule& rule, const std::string& name,
                     const std::string& prefix, std::set<std::string>& missing, Message& message) {
  edit_headers(rule.filters, message);
  for (const RouteFilter& filter : rule.filters) {
    if (filter.request_redirect) return set_redirect(*filter.request_redirect, prefix, message);
  }
  set_backends(objects, rule.backend_refs, kNoBackendHttp, name, missing, message);
  if (!message.has_route()) return;
  set_timeout(rule.timeouts.request.value_or(0s), message);
  for (const RouteFilter& filter : rule.filters) {
    if (!filter.url_rewrite) continue;
    if (!filter.url_rewrite->hostname.empty()) {
      message.mutable_route()->set_host_rewrite_literal(filter.url_rewrite->hostname);
    }
    if (!prefix.empty()) message.mutable_route()->set_prefix_rewrite(prefix);
  }
}

// One match of one rule. Where a prefix becomes "/", "/a/b" must become "/b" and "/a" must become
// "/": that is two routes, because Envoy replaces text.
void add_http_match(const ObjectSet& objects, const HttpRoute::Rule& rule,
                    const HttpRoute::Match& match, const std::string& name,
                    std::set<std::string>& missing, std::vector<Ranked>& out) {
  Ranked ranked{rank_of(match), {}};
  ranked.message.set_name(name);
  *ranked.message.mutable_match() = match_message(match);
  const PathChange* change = prefix_change(rule);
  std::string prefix = change ? without_final_slash(*change->replace_prefix_match) : "";
  const std::string matched = without_final_slash(match.path.value);
  if (change && matched == "/" && prefix != "/") prefix += "/";
  if (change && matched != "/" && prefix == "/") {
    Ranked whole = ranked;
    whole.message.mutable_match()->set_path(matched);
    set_http_action(objects, rule, name, "/", missing, whole.message);
    out.push_back(std::move(whole));
    ranked.message.mutable_match()->set_prefix(matched + "/");
  }
  set_http_action(objects, rule, name, prefix, missing, ranked.message);
  out.push_back(std::move(ranked));
}

std::string rule_name(const char* kind, const Metadata& metadata, const std::string& name,
                      std::size_t index) {
  return cat(kind, "/", metadata.key(), "/", name.empty() ? cat(index) : name);
}

void add_rule(const ObjectSet& objects, const HttpRoute& route, std::size_t index,
              std::set<std::string>& missing, std::vector<Ranked>& out) {
  const HttpRoute::Rule& rule = route.spec.rules[index];
  const std::string name = rule_name(HttpRoute::kKind, route.metadata, rule.name, index);
  for (const HttpRoute::Match& match : rule.matches) {
    add_http_match(objects, rule, match, name, missing, out);
  }
  if (rule.matches.empty()) add_http_match(objects, rule, {}, name, missing, out);
}

void add_rule(const ObjectSet& objects, const GrpcRoute& route, std::size_t index,
              std::set<std::string>& missing, std::vector<Ranked>& out) {
  const GrpcRoute::Rule& rule = route.spec.rules[index];
  const std::string name = rule_name(GrpcRoute::kKind, route.metadata, rule.name, index);
  std::vector<GrpcRoute::Match> matches = rule.matches;
  if (matches.empty()) matches.emplace_back();
  for (const GrpcRoute::Match& match : matches) {
    Ranked ranked{rank_of(match), {}};
    ranked.message.set_name(name);
    *ranked.message.mutable_match() = match_message(match);
    edit_headers(rule.filters, ranked.message);
    set_backends(objects, rule.backend_refs, kNoBackendGrpc, name, missing, ranked.message);
    if (ranked.message.has_route()) set_timeout(0s, ranked.message);
    out.push_back(std::move(ranked));
  }
}

template <class Route>
void add_routes(const ObjectSet& objects, const std::vector<Route>& routes,
                const std::vector<std::size_t>& places, const MeshService& service, uint16_t port,
                std::set<std::string>& missing, std::vector<Ranked>& out) {
  for (const std::size_t place : places) {
    const Route& route = routes[place];
    const bool here = std::any_of(
        route.spec.parent_refs.begin(), route.spec.parent_refs.end(), [&](const RouteParent& p) {
          return p.name == service.metadata.name && p.ns == service.metadata.ns &&
                 (!p.port || *p.port == port);
        });
    if (!here) continue;
    for (std::size_t r = 0; r < route.spec.rules.size(); ++r) {
      add_rule(objects, route, r, missing, out);
    }
  }
}

}  // namespace

void answer(Message& message, int status, const std::string& why) {
  message.mutable_direct_response()->set_status(static_cast<uint32_t>(status));
  message.mutable_direct_response()->mutable_body()->set_inline_string(cat(why, "\n"));
}

std::vector<Message> service_routes(const ObjectSet& objects, const MeshService& service,
                                    uint16_t port, std::set<std::string>& missing) {
  std::vector<Ranked> ranked;
  add_routes(objects, objects.http_routes, service.http_routes, service, port, missing, ranked);
  add_routes(objects, objects.grpc_routes, service.grpc_routes, service, port, missing, ranked);
  // Equal ranks stay in the order of names of routes, rules and matches.
  std::vector<std::size_t> order(ranked.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (ranked[a].rank.key() != ranked[b].rank.key()) {
      return ranked[a].rank.key() > ranked[b].rank.key();
    }
    return a < b;
  });
  std::vector<Message> routes;
  for (const std::size_t i : order) routes.push_back(std::move(ranked[i].message));
  return routes;
}

}  // namespace glia
