// Which Services and InferencePools a route may name, whether they are there, and what the Gateway API calls the
// result: the conditions of a route's status.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control_plane/objects/object_set.h"

namespace glia {

// Who names a Service. A view of a route that outlives it.
struct Referrer {
  std::string_view kind;
  const Metadata& metadata;
  const std::vector<RouteParent>& parents;

  template <class Route>
  static Referrer of(const Route& route) {
    return {Route::kKind, route.metadata, route.spec.parent_refs};
  }
};

// Whom it names: a Service's port, or an InferencePool. A view, as well.
struct Referent {
  std::string_view kind, ns, name;
  uint16_t port = 0;  // Of a Service.

  template <class Target>
  static Referent of(const Target& target) {
    return {target.kind, target.ns, target.name, target.port};
  }
  const MeshService* in(const ObjectSet& objects) const { return objects.backend(kind, ns, name); }
};

// May it name this one as a backend? In its own namespace, where a ReferenceGrant says so, and
// as one of its parents: then it only sends where the request was to go anyway.
bool may_refer(const ObjectSet& objects, const Referrer& from, const Referent& to);

enum class Reference : uint8_t { kResolved, kBackendNotFound, kRefNotPermitted };
Reference resolve(const ObjectSet& objects, const Referrer& from, const Referent& to);
template <class Target>
Reference resolve(const ObjectSet& objects, const Referrer& from, const Target& target) {
  return resolve(objects, from, Referent::of(target));
}

// Gateway API, RouteStatus: what became of a route at one of its parents.
struct Condition {
  std::string type;    // "Accepted", "ResolvedRefs"
  bool holds = true;   // "True" or "False"
  std::string reason;  // One of the Gateway API's words.
  std::string message;
};
struct RouteStatus {
  std::string kind, name;  // "namespace/name"
  std::string parent;      // "namespace/name", with ":port" if the route names one.
  std::vector<Condition> conditions;
};
// Of all routes, in order of kind, name and parent.
std::vector<RouteStatus> route_statuses(const ObjectSet& objects);

}  // namespace glia
