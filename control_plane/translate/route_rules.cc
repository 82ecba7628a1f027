#include "control_plane/translate/route_rules.h"

#include <algorithm>
#include <tuple>

#include "control_plane/translate/route_action.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

using Message = envoy::config::route::v3::Route;
using MatchMessage = envoy::config::route::v3::RouteMatch;
using PathType = HttpRoute::PathCondition::Type;

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

// One match of one rule. Where a prefix becomes "/", "/a/b" must become "/b" and "/a" must become
// "/": that is two routes, because Envoy replaces text.
void add_http_match(const ObjectSet& objects, const HttpRoute& route, const HttpRoute::Rule& rule,
                    const HttpRoute::Match& match, const std::string& name,
                    std::vector<Ranked>& out) {
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
    set_http_action(objects, route, rule, "/", whole.message);
    out.push_back(std::move(whole));
    ranked.message.mutable_match()->set_prefix(matched + "/");
  }
  set_http_action(objects, route, rule, prefix, ranked.message);
  out.push_back(std::move(ranked));
}

std::string rule_name(const char* kind, const Metadata& metadata, const std::string& name,
                      std::size_t index) {
  return cat(kind, "/", metadata.key(), "/", name.empty() ? cat(index) : name);
}

void add_rule(const ObjectSet& objects, const HttpRoute& route, std::size_t index,
              std::vector<Ranked>& out) {
  const HttpRoute::Rule& rule = route.spec.rules[index];
  const std::string name = rule_name(HttpRoute::kKind, route.metadata, rule.name, index);
  for (const HttpRoute::Match& match : rule.matches) {
    add_http_match(objects, route, rule, match, name, out);
  }
  if (rule.matches.empty()) add_http_match(objects, route, rule, {}, name, out);
}

void add_rule(const ObjectSet& objects, const GrpcRoute& route, std::size_t index,
              std::vector<Ranked>& out) {
  const GrpcRoute::Rule& rule = route.spec.rules[index];
  const std::string name = rule_name(GrpcRoute::kKind, route.metadata, rule.name, index);
  std::vector<GrpcRoute::Match> matches = rule.matches;
  if (matches.empty()) matches.emplace_back();
  for (const GrpcRoute::Match& match : matches) {
    Ranked ranked{rank_of(match), {}};
    ranked.message.set_name(name);
    *ranked.message.mutable_match() = match_message(match);
    set_grpc_action(objects, route, rule, ranked.message);
    out.push_back(std::move(ranked));
  }
}

// Of the routes in `places`, those that have this port as a parent and are of namespace `ns`.
template <class Route>
std::vector<const Route*> routes_of(const std::vector<Route>& routes,
                                    const std::vector<std::size_t>& places,
                                    const MeshService& service, uint16_t port,
                                    const std::string& ns) {
  std::vector<const Route*> found;
  for (const std::size_t place : places) {
    const Route& route = routes[place];
    const bool here = std::any_of(
        route.spec.parent_refs.begin(), route.spec.parent_refs.end(), [&](const RouteParent& p) {
          return p.name == service.metadata.name && p.ns == service.metadata.ns &&
                 (!p.port || *p.port == port);
        });
    if (here && route.metadata.ns == ns) found.push_back(&route);
  }
  return found;
}

template <class Route>
void add_routes(const ObjectSet& objects, const std::vector<const Route*>& routes,
                std::vector<Ranked>& out) {
  for (const Route* route : routes) {
    for (std::size_t r = 0; r < route->spec.rules.size(); ++r) add_rule(objects, *route, r, out);
  }
}

std::vector<Ranked> ranked_routes(const ObjectSet& objects, const MeshService& service,
                                  uint16_t port, const std::string& ns) {
  std::vector<Ranked> ranked;
  add_routes(objects, routes_of(objects.http_routes, service.http_routes, service, port, ns),
             ranked);
  add_routes(objects, routes_of(objects.grpc_routes, service.grpc_routes, service, port, ns),
             ranked);
  return ranked;
}

}  // namespace

std::vector<Message> service_routes(const ObjectSet& objects, const MeshService& service,
                                    uint16_t port, const std::string& ns) {
  std::vector<Ranked> ranked = ranked_routes(objects, service, port, ns);
  // The callers' own routes win over those of the Service's namespace (GAMMA, consumer routes).
  if (ranked.empty()) ranked = ranked_routes(objects, service, port, service.metadata.ns);
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
