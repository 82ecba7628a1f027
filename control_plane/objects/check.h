// Checks between objects: what each of them alone cannot see.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "control_plane/objects/object_set.h"

namespace glia {

// Objects that could not be read. What refers to them is not their referrer's mistake.
struct Unread {
  std::set<std::string> keys;  // "<kind> <namespace>/<name>"
  bool unknown = false;        // Some had no kind or name that could be read.

  bool any() const { return unknown || !keys.empty(); }
  bool has(std::string_view kind, std::string_view ns, std::string_view name) const;
};

// The Service or InferencePool (`kind`) called `name`. Null if it is not there; `mistake` then says so of
// the field `what`, unless it may be among the `unread`.
MeshService* find_service(ObjectSet& objects, const Unread& unread, std::string_view kind,
                          const std::string& ns, const std::string& name, std::string_view what,
                          std::string& mistake);
// What there is of a kind in a namespace, for who misspelt one.
std::vector<std::string_view> backend_names(const ObjectSet& objects, std::string_view kind,
                                            std::string_view ns);

// What a workload and its sidecar listen on.
struct SocketUse {
  std::string socket;  // "127.0.0.1:80"
  std::string what;    // "spec.ports[0].port"
  Place at;
};
std::vector<SocketUse> sockets_of(const Workload& workload);

// Fills in the places that objects hold of each other (Service::members and so on) and appends what
// is wrong. `objects` is sorted and without doubles.
void check_objects(ObjectSet& objects, const Unread& unread, References references,
                   std::vector<Problem>& problems);

}  // namespace glia
