#include "control_plane/objects/route_check.h"

#include <algorithm>
#include <map>
#include <tuple>

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

class RouteChecks {
 public:
  RouteChecks(ObjectSet& objects, const Unread& unread, std::vector<Problem>& problems)
      : objects_(objects), unread_(unread), problems_(problems) {}

  void run() {
    check_all(objects_.http_routes, &MeshService::http_routes);
    check_all(objects_.grpc_routes, &MeshService::grpc_routes);
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

  template <class Route>
  void check_all(const std::vector<Route>& routes, std::vector<std::size_t> MeshService::* places) {
    for (std::size_t i = 0; i < routes.size(); ++i) {
      const Route& route = routes[i];
      for (std::size_t p = 0; p < route.spec.parent_refs.size(); ++p) {
        check_parent(route, i, p, places);
      }
      for (std::size_t r = 0; r < route.spec.rules.size(); ++r) check_rule(route, r);
    }
  }

  // The Service, or null with an error for the route if that is its mistake.
  template <class Route, class Reference>
  const MeshService* resolve(const Route& route, const Reference& to, const std::string& path,
                             std::string_view across) {
    if (to.ns != route.metadata.ns) {
      error(route, to.at,
            cat(path, ".namespace is ", to.ns, ", but the route is in ", route.metadata.ns, ": ",
                across));
      return nullptr;
    }
    const MeshService* service = objects_.service(to.ns, to.name);
    if (service || unread_.has(MeshService::kKind, to.ns, to.name)) return service;
    std::vector<std::string_view> names;
    for (const MeshService& s : objects_.services) {
      if (s.metadata.ns == to.ns) names.push_back(s.metadata.name);
    }
    const auto meant = closest_of(to.name, names);
    error(route, to.at,
          cat(path, ".name is ", to.name, ", but there is no such Service in namespace ", to.ns,
              meant ? cat("; did you mean ", *meant, "?") : ""));
    return nullptr;
  }

  template <class Route>
  void check_port(const Route& route, const MeshService& service, uint16_t port, Place at,
                  const std::string& path) {
    if (service.port(port)) return;
    std::string ports;
    for (const MeshService::Port& p : service.spec.ports) {
      ports += cat(ports.empty() ? "" : ", ", p.port);
    }
    error(route, at,
          cat(path, ".port is ", port, ", but Service ", service.metadata.display(),
              " has the port", service.spec.ports.size() > 1 ? "s " : " ", ports));
  }

  template <class Route>
  void check_parent(const Route& route, std::size_t place, std::size_t index,
                    std::vector<std::size_t> MeshService::* places) {
    const RouteParent& parent = route.spec.parent_refs[index];
    const std::string path = cat("spec.parentRefs[", index, "]");
    const MeshService* found =
        resolve(route, parent, path,
                "routes of other namespaces (consumer routes) are not supported "
                "yet");
    if (!found) return;
    if (parent.port) check_port(route, *found, *parent.port, parent.at, path);
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
    if (routes.empty() || routes.back() != place) routes.push_back(place);
    for (const MeshService::Port& port : service.spec.ports) {
      if (!parent.port || *parent.port == port.port) check_shared(route, service, port, parent.at);
    }
  }

  // What several routes of one port may not do: be of two kinds, or match the same requests.
  template <class Route>
  void check_shared(const Route& route, const MeshService& service, const MeshService::Port& port,
                    Place at) {
    const std::string where = cat(service.metadata.key(), ":", port.port);
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
        const auto [taken, first] = matches_.emplace(cat(where, " ", match_text(rule.matches[m])),
                                                     cat("spec.rules[", r, "] of ", me));
        if (first) continue;
        say(route, Problem::Severity::kWarning, rule.matches[m].at,
            cat("spec.rules[", r, "].matches[", m, "] never gets a request: ", taken->second,
                " comes first and matches the same"));
      }
    }
  }

  template <class Route>
  void check_rule(const Route& route, std::size_t index) {
    const auto& rule = route.spec.rules[index];
    uint64_t sum = 0;
    for (std::size_t b = 0; b < rule.backend_refs.size(); ++b) {
      const RouteBackend& backend = rule.backend_refs[b];
      sum += backend.weight;
      const std::string path = cat("spec.rules[", index, "].backendRefs[", b, "]");
      const MeshService* service =
          resolve(route, backend, path, "ReferenceGrant is not supported yet");
      if (service) check_port(route, *service, backend.port, backend.at, path);
    }
    if (sum > 0 || rule.backend_refs.empty()) return;
    say(route, Problem::Severity::kWarning, rule.at,
        cat("spec.rules[", index,
            "].backendRefs: all weights are 0, so that every request is "
            "refused"));
  }

  ObjectSet& objects_;
  const Unread& unread_;
  std::vector<Problem>& problems_;
  std::map<std::string, std::pair<const char*, std::string>> kinds_;  // Service port -> its routes.
  std::map<std::string, std::string> matches_;  // Service port and match -> the rule that has it.
};

}  // namespace

void check_routes(ObjectSet& objects, const Unread& unread, std::vector<Problem>& problems) {
  RouteChecks(objects, unread, problems).run();
}

}  // namespace glia
