#include "control_plane/objects/route_check.h"

#include <algorithm>
#include <map>
#include <ranges>
#include <tuple>

#include "control_plane/objects/check.h"
#include "control_plane/objects/reference.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

// A match as text that is the same for matches of the same requests.
std::string conditions_text(std::vector<NameCondition> conditions, char mark) {
  std::sort(conditions.begin(), conditions.end(), [](const auto& a, const auto& b) {
    return std::tie(a.name, a.value) < std::tie(b.name, b.value);
  });
  std::string out;
  for (const NameCondition& c : conditions) {
    out += cat(mark, static_cast<int>(c.type), c.name.size(), ":", c.name, "=", c.value.size(), ":",
               c.value);
  }
  return out;
}
std::string match_text(const HttpRoute::Match& match) {
  return cat(match.method, static_cast<int>(match.path.type), " ", match.path.value,
             conditions_text(match.headers, '#'), conditions_text(match.query_params, '?'));
}
std::string match_text(const GrpcRoute::Match& match) {
  std::string out = conditions_text(match.headers, '#');
  if (!match.method) return out;
  return cat(static_cast<int>(match.method->type), " ", match.method->service, "/",
             match.method->method, out);
}

template <class Rule>
bool redirects(const Rule& rule) {
  return std::ranges::any_of(
      rule.filters, [](const RouteFilter& filter) { return filter.request_redirect.has_value(); });
}

// A regular expression comes before every prefix: one that takes each path leaves nothing to those.
bool takes_every_path(const HttpRoute::Match& match) {
  using Type = HttpRoute::PathCondition::Type;
  constexpr std::string_view kEvery[] = {".*", ".+", "/.*", "^.*$", "^/.*", "^/.*$"};
  return match.path.type == Type::kRegularExpression && match.headers.empty() &&
         match.query_params.empty() && match.method.empty() &&
         std::ranges::find(kEvery, match.path.value) != std::end(kEvery);
}
bool takes_every_path(const GrpcRoute::Match&) { return false; }
bool is_prefix(const HttpRoute::Match& match) {
  return match.path.type == HttpRoute::PathCondition::Type::kPathPrefix;
}
bool is_prefix(const GrpcRoute::Match&) { return false; }

class RouteChecks {
 public:
  RouteChecks(ObjectSet& objects, const Unread& unread, References references,
              std::vector<Problem>& problems)
      : objects_(objects), unread_(unread), references_(references), problems_(problems) {}

  void run() {
    const auto all = [](const auto& routes) {
      return std::views::iota(std::size_t{0}, routes.size());
    };
    check_all(objects_.http_routes, all(objects_.http_routes), &MeshService::http_routes);
    check_all(objects_.grpc_routes, all(objects_.grpc_routes), &MeshService::grpc_routes);
    tell_shadowed();
  }
  void run(const RouteSubset& subset) {
    check_all(objects_.http_routes, subset.http_routes, &MeshService::http_routes);
    check_all(objects_.grpc_routes, subset.grpc_routes, &MeshService::grpc_routes);
    tell_shadowed();
  }

 private:
  template <class Route>
  void say(const Route& route, Problem::Severity severity, Place at, std::string_view sentence) {
    problems_.push_back({route.metadata.file, at.line, at.column,
                         cat(Route::kKind, " ", route.metadata.display(), ": ", sentence),
                         severity});
  }
  template <class Route>
  void error(const Route& route, Place at, std::string_view sentence) {
    say(route, Problem::Severity::kError, at, sentence);
  }

  // Something that the route names is not there, or not for it. Who gets no requests may be
  // missing.
  template <class Route, class Reference>
  void unresolved(const Route& route, const Reference& to, std::string_view sentence) {
    bool fatal = references_ == References::kMustExist;
    if constexpr (requires { to.weight; }) fatal = fatal && to.weight > 0;
    const Place at = to.at;
    say(route, fatal ? Problem::Severity::kError : Problem::Severity::kWarning, at, sentence);
  }

  template <class Route, class Some>
  void check_all(const std::vector<Route>& routes, const Some& some,
                 std::vector<std::size_t> MeshService::* places) {
    for (const std::size_t i : some) {
      const Route& route = routes[i];
      for (std::size_t p = 0; p < route.spec.parent_refs.size(); ++p) {
        check_parent(route, i, p, places);
      }
      for (std::size_t r = 0; r < route.spec.rules.size(); ++r) check_rule(route, r);
    }
  }

  // The Service, or null with an error for the route if that is its mistake.
  template <class Route, class Reference>
  const MeshService* resolve(const Route& route, const Reference& to, const std::string& path) {
    const MeshService* service = objects_.backend(to.kind, to.ns, to.name);
    if (service || unread_.has(to.kind, to.ns, to.name)) return service;
    const auto meant = closest_of(to.name, backend_names(objects_, to.kind, to.ns));
    unresolved(route, to,
               cat(path, ".name is ", to.name, ", but there is no such ", to.kind, " in namespace ",
                   to.ns, meant ? cat("; did you mean ", *meant, "?") : ""));
    return nullptr;
  }

  // The same for a backend, which the Service's namespace must allow.
  template <class Route, class Reference>
  void check_backend(const Route& route, const Reference& backend, const std::string& path) {
    const MeshService* service = resolve(route, backend, path);
    if (!service) return;
    if (!service->is_pool()) check_port(route, *service, backend.port, backend, path);
    if (may_refer(objects_, Referrer::of(route), Referent::of(backend))) return;
    if (unread_.any()) return;
    unresolved(route, backend,
               cat(path, ".namespace is ", backend.ns, ", where no ReferenceGrant lets a ",
                   Route::kKind, " of namespace ", route.metadata.ns, " name ", backend.kind, " ",
                   backend.name, "; add one to namespace ", backend.ns));
  }

  template <class Route, class Reference>
  void check_port(const Route& route, const MeshService& service, uint16_t port,
                  const Reference& to, const std::string& path) {
    if (service.port(port)) return;
    std::string ports;
    for (const MeshService::Port& p : service.spec.ports) {
      ports += cat(ports.empty() ? "" : ", ", p.port);
    }
    unresolved(route, to,
               cat(path, ".port is ", port, ", but Service ", service.metadata.display(),
                   " has the port", service.spec.ports.size() > 1 ? "s " : " ", ports));
  }

  template <class Route>
  void check_parent(const Route& route, std::size_t place, std::size_t index,
                    std::vector<std::size_t> MeshService::* places) {
    const RouteParent& parent = route.spec.parent_refs[index];
    const std::string path = cat("spec.parentRefs[", index, "]");
    const MeshService* found = resolve(route, parent, path);
    if (!found) return;
    if (parent.port) check_port(route, *found, *parent.port, parent, path);
    for (std::size_t i = 0; i < index; ++i) {
      const RouteParent& other = route.spec.parent_refs[i];
      const bool same_port = !other.port || !parent.port || *other.port == *parent.port;
      if (other.name != parent.name || other.ns != parent.ns || !same_port) continue;
      error(route, parent.at, cat(path, " names the same Service and port as parentRefs[", i, "]"));
      return;
    }
    MeshService& service =
        objects_.services[static_cast<std::size_t>(found - &objects_.services[0])];
    auto& routes = service.*places;
    const auto at = std::ranges::lower_bound(routes, place);
    if (at == routes.end() || *at != place) routes.insert(at, place);
    for (const MeshService::Port& port : service.spec.ports) {
      if (!parent.port || *parent.port == port.port) check_shared(route, service, port, parent.at);
    }
  }

  // What several routes of one port may not do: be of two kinds, or match the same requests.
  template <class Route>
  void check_shared(const Route& route, const MeshService& service, const MeshService::Port& port,
                    Place at) {
    // A route of another namespace is for the callers there, and never meets those of others.
    const bool consumer = route.metadata.ns != service.metadata.ns;
    const std::string where = cat(service.metadata.key(), ":", port.port, " ",
                                  consumer ? route.metadata.ns : std::string());
    const std::string me = cat(Route::kKind, " ", route.metadata.display());
    const auto [kind, fresh] = kinds_.emplace(where, std::pair(Route::kKind, me));
    if (!fresh && kind->second.first != std::string_view(Route::kKind)) {
      error(route, at,
            cat("port ", port.port, " of Service ", service.metadata.display(), " already has ",
                kind->second.second, "; a port has HTTPRoutes or GRPCRoutes, not both"));
    }
    for (std::size_t r = 0; r < route.spec.rules.size(); ++r) {
      const auto& rule = route.spec.rules[r];
      for (std::size_t m = 0; m < rule.matches.size(); ++m) {
        note_shadow(route, r, m, where);
        const auto [taken, first] = matches_.emplace(cat(where, " ", match_text(rule.matches[m])),
                                                     cat("spec.rules[", r, "] of ", me));
        if (first) continue;
        say(route, Problem::Severity::kWarning, rule.matches[m].at,
            cat("spec.rules[", r, "].matches[", m, "] never gets a request: ", taken->second,
                " comes first and matches the same"));
      }
    }
  }

  // Looked at when all routes are known.
  template <class Route>
  void note_shadow(const Route& route, std::size_t r, std::size_t m, const std::string& where) {
    const auto& match = route.spec.rules[r].matches[m];
    const std::string name =
        cat("spec.rules[", r, "] of ", Route::kKind, " ", route.metadata.display());
    if (takes_every_path(match)) takes_all_.emplace(where, name);
    if (!is_prefix(match)) return;
    prefixes_.push_back({where, Problem{route.metadata.file, match.at.line, match.at.column,
                                        cat(Route::kKind, " ", route.metadata.display(),
                                            ": spec.rules[", r, "].matches[", m, "]"),
                                        Problem::Severity::kWarning}});
  }

  void tell_shadowed() {
    for (auto& [where, problem] : prefixes_) {
      const auto all = takes_all_.find(where);
      if (all == takes_all_.end()) continue;
      problem.message += cat(" never gets a request: the regular expression in ", all->second,
                             " takes every path and comes before prefixes; use PathPrefix / there");
      problems_.push_back(std::move(problem));
    }
  }

  template <class Route>
  void check_rule(const Route& route, std::size_t index) {
    const auto& rule = route.spec.rules[index];
    uint64_t sum = 0;
    for (std::size_t b = 0; b < rule.backend_refs.size(); ++b) {
      const RouteBackend& backend = rule.backend_refs[b];
      sum += backend.weight;
      check_backend(route, backend, cat("spec.rules[", index, "].backendRefs[", b, "]"));
    }
    for (std::size_t f = 0; f < rule.filters.size(); ++f) {
      if (!rule.filters[f].request_mirror) continue;
      check_backend(route, rule.filters[f].request_mirror->backend_ref,
                    cat("spec.rules[", index, "].filters[", f, "].requestMirror.backendRef"));
    }
    if (rule.backend_refs.empty() && !redirects(rule)) {
      say(route, Problem::Severity::kWarning, rule.at,
          cat("spec.rules[", index,
              "] has neither backendRefs nor a RequestRedirect, so that every "
              "request is refused"));
    }
    if (sum > 0 || rule.backend_refs.empty()) return;
    say(route, Problem::Severity::kWarning, rule.at,
        cat("spec.rules[", index,
            "].backendRefs: all weights are 0, so that every request is "
            "refused"));
  }

  ObjectSet& objects_;
  const Unread& unread_;
  const References references_;
  std::vector<Problem>& problems_;
  std::map<std::string, std::pair<const char*, std::string>> kinds_;  // Service port -> its routes.
  std::map<std::string, std::string> matches_;    // Service port and match -> the rule that has it.
  std::map<std::string, std::string> takes_all_;  // Service port -> the rule that takes every path.
  // Service port and the beginning of what is said of a match by prefix, if it gets nothing.
  std::vector<std::pair<std::string, Problem>> prefixes_;
};

}  // namespace

void check_routes(ObjectSet& objects, const Unread& unread, References references,
                  std::vector<Problem>& problems) {
  RouteChecks(objects, unread, references, problems).run();
}

void check_routes(ObjectSet& objects, const RouteSubset& routes, std::vector<Problem>& problems) {
  const Unread none;
  RouteChecks(objects, none, References::kMustExist, problems).run(routes);
}

}  // namespace glia
