#include "control_plane/objects/reference.h"

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {

namespace {

bool granted(const ReferenceGrant& grant, const Referrer& from, const Referent& to) {
  const auto here = [&](const ReferenceGrant::From& f) {
    return f.kind == from.kind && f.ns == from.metadata.ns;
  };
  const auto there = [&](const ReferenceGrant::To& t) {
    return t.kind == to.kind && (t.name.empty() || t.name == to.name);
  };
  return std::ranges::any_of(grant.spec.from, here) && std::ranges::any_of(grant.spec.to, there);
}

std::string_view reason(Reference reference) {
  switch (reference) {
    case Reference::kResolved: return "ResolvedRefs";
    case Reference::kBackendNotFound: return "BackendNotFound";
    case Reference::kRefNotPermitted: return "RefNotPermitted";
  }
  return "";
}

class Resolution {
 public:
  Resolution(const ObjectSet& objects, Referrer from) : objects_(objects), from_(from) {}

  template <class Target>
  void look_at(const Target& target, std::string_view where) {
    const Reference found = resolve(objects_, from_, target);
    if (found == Reference::kResolved) return;
    // The first is the reason, all are in the message.
    if (condition_.holds) condition_.reason = reason(found);
    condition_.holds = false;
    condition_.message +=
        cat(condition_.message.empty() ? "" : "; ", where, ": ",
            found == Reference::kRefNotPermitted ? "no ReferenceGrant allows " : "there is no ",
            target.kind, " ", target.ns, "/", target.name);
    if (target.kind == MeshService::kKind) condition_.message += cat(" with port ", target.port);
  }
  Condition take() { return std::move(condition_); }

 private:
  const ObjectSet& objects_;
  Referrer from_;
  Condition condition_{"ResolvedRefs", true, "ResolvedRefs", ""};
};

template <class Route>
Condition resolved_refs(const ObjectSet& objects, const Route& route) {
  Resolution resolution(objects, Referrer::of(route));
  for (std::size_t r = 0; r < route.spec.rules.size(); ++r) {
    const auto& rule = route.spec.rules[r];
    for (std::size_t b = 0; b < rule.backend_refs.size(); ++b) {
      resolution.look_at(rule.backend_refs[b], cat("rules[", r, "].backendRefs[", b, "]"));
    }
    for (std::size_t f = 0; f < rule.filters.size(); ++f) {
      if (!rule.filters[f].request_mirror) continue;
      resolution.look_at(rule.filters[f].request_mirror->backend_ref,
                         cat("rules[", r, "].filters[", f, "]"));
    }
  }
  return resolution.take();
}

Condition accepted(const ObjectSet& objects, const RouteParent& parent) {
  const MeshService* service = objects.service(parent.ns, parent.name);
  if (service && (!parent.port || service->port(*parent.port))) {
    return {"Accepted", true, "Accepted", ""};
  }
  return {"Accepted", false, "NoMatchingParent",
          service ? cat("Service ", service->metadata.key(), " has no port ", *parent.port)
                  : cat("there is no Service ", parent.ns, "/", parent.name)};
}

template <class Route>
void add_statuses(const ObjectSet& objects, const std::vector<Route>& routes,
                  std::vector<RouteStatus>& out) {
  for (const Route& route : routes) {
    const Condition resolved = resolved_refs(objects, route);
    for (const RouteParent& parent : route.spec.parent_refs) {
      out.push_back({Route::kKind,
                     route.metadata.key(),
                     cat(parent.ns, "/", parent.name, parent.port ? cat(":", *parent.port) : ""),
                     {accepted(objects, parent), resolved}});
    }
  }
}

}  // namespace

bool may_refer(const ObjectSet& objects, const Referrer& from, const Referent& to) {
  if (from.metadata.ns == to.ns) return true;
  const auto is_parent = [&](const RouteParent& p) {
    return p.kind == to.kind && p.ns == to.ns && p.name == to.name;
  };
  return std::ranges::any_of(from.parents, is_parent) ||
         std::ranges::any_of(objects.grants, [&](const ReferenceGrant& grant) {
           return grant.metadata.ns == to.ns && granted(grant, from, to);
         });
}

// Whoever may not refer to a Service does not learn whether it is there.
Reference resolve(const ObjectSet& objects, const Referrer& from, const Referent& to) {
  if (!may_refer(objects, from, to)) return Reference::kRefNotPermitted;
  const MeshService* service = to.in(objects);
  const bool there =
      service != nullptr && (service->is_pool() || service->port(to.port) != nullptr);
  return there ? Reference::kResolved : Reference::kBackendNotFound;
}

std::vector<RouteStatus> route_statuses(const ObjectSet& objects) {
  std::vector<RouteStatus> out;
  add_statuses(objects, objects.http_routes, out);
  add_statuses(objects, objects.grpc_routes, out);
  return out;
}

}  // namespace glia
