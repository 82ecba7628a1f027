// LiveSet: the objects in force, and how to edit one of them without looking at all the others.
//
// What people change every day (where a workload is, what an endpoint slice, a route or a policy
// says, an endpoint slice that comes or goes beside others) concerns few other objects, and those are
// found by name. Any other edit, and any that looks
// as if it might be a mistake, is for combine(), which checks everything against everything and
// says what is wrong. So nothing here makes up sentences, and an edit that is taken is one that
// combine() would take with the same result (a test compares them).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control_plane/objects/label_index.h"
#include "control_plane/objects/reading.h"

namespace glia {

// For whom an edit makes a difference.
struct Touched {
  std::set<std::size_t>
      services;  // Places of those whose clusters, endpoints or routes it changes.
  std::set<std::size_t> workloads;  // Of those whose own listeners it changes.
};

// Of workloads that are not among the endpoints of their Services, why. By "namespace/name".
using AwayWorkloads = std::map<std::string, std::string, std::less<>>;

class LiveSet {
 public:
  // Of a report that is ok().
  explicit LiveSet(ObjectSet objects);

  const ObjectSet& objects() const { return objects_; }

  // What the controller says of each Canary; nothing goes to the candidate of one that is not named.
  // Returns the places of those for which that is new.
  std::vector<std::size_t> split(const CanarySplits& splits);

  // Those alone are not among the endpoints of the Services that select them. Returns the Services for
  // which that is new.
  Touched away(const AwayWorkloads& away);

  // Puts what `after` says in the place of what `before`, which is in force, said. Nothing if that
  // is more than one object with other content, or concerns more than a few others, or may be a
  // mistake; then nothing is changed. Appends warnings.
  std::optional<Touched> replace(const Reading& before, const Reading& after,
                                 std::vector<Problem>& warnings);

 private:
  using Places = std::vector<std::size_t>;

  // Each of them says who is concerned if `now` takes the place of the object at `place`, and does
  // it; or nothing, and does nothing.
  std::optional<Touched> put(std::size_t place, const Workload& now, std::vector<Problem>&);
  std::optional<Touched> put(std::size_t place, const EndpointSlice& now, std::vector<Problem>&);
  std::optional<Touched> put(std::size_t place, const TrafficPolicy& now, std::vector<Problem>&);
  std::optional<Touched> put(std::size_t place, const AuthorizationPolicy& now,
                             std::vector<Problem>&);
  template <class Route>
  std::optional<Touched> put_route(std::vector<Route>& routes, Places MeshService::* list,
                                   std::size_t place, const Route& now,
                                   std::vector<Problem>& warnings);
  std::optional<Touched> put(std::size_t place, const HttpRoute& now,
                             std::vector<Problem>& warnings);
  std::optional<Touched> put(std::size_t place, const GrpcRoute& now,
                             std::vector<Problem>& warnings);
  // What other kinds say concerns too many.
  template <class Other>
  std::optional<Touched> put(std::size_t, const Other&, std::vector<Problem>&) {
    return {};
  }

  // An object that comes or goes; as put().
  std::optional<Touched> add(const EndpointSlice& now, std::vector<Problem>& warnings);
  std::optional<Touched> remove(const EndpointSlice& gone);
  template <class Other>
  std::optional<Touched> add(const Other&, std::vector<Problem>&) {
    return {};
  }
  template <class Other>
  std::optional<Touched> remove(const Other&) {
    return {};
  }
  // Takes an object out of the list, or puts one in, where others refer to it by its place.
  void insert_slice(std::size_t place, std::size_t service, EndpointSlice slice);
  void erase_slice(std::size_t place, std::size_t service);
  // Does `take` with the object of that key in `draft`, which is of any kind.
  template <class Take>
  static std::optional<Touched> with_object(const mesh_objects::Draft& draft,
                                            const std::string& key, Take take);

  std::optional<std::size_t> service_place(std::string_view ns, std::string_view name) const;
  bool known(const AuthorizationPolicy& policy, const Places& selected) const;
  template <class Route>
  std::set<std::size_t> parents_of(const Route& route) const;
  // Who is behind each port must be in the mesh, or nobody.
  bool is_mixed(const MeshService& service) const;

  ObjectSet objects_;
  // Of workloads and services, which come and go only with another LiveSet.
  LabelIndex labels_;
  std::vector<Places> member_of_;  // By workload: the services that it is behind.
  std::set<std::string> cluster_ips_, identities_;
  // In endpoint slices, now or earlier.
  std::set<std::string> slice_addresses_;
};

}  // namespace glia
