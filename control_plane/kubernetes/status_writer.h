// StatusWriter: what became of the cluster's objects in the mesh, in their status (subresource /status), where whoever
// made them looks for it: conditions of our own kinds, and of routes at each parent that is a Service.
//
// It writes only what is other than there, each time with the version that it has seen: what somebody else has written
// meanwhile is not lost, and several of us who say the same write once. Belongs to one loop.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>

#include "control_plane/kubernetes/api_questions.h"
#include "control_plane/kubernetes/resource_watch.h"
#include "control_plane/objects/object_set.h"
#include "control_plane/objects/reference.h"

namespace glia {

class StatusWriter {
 public:
  static constexpr std::size_t kMostAtOnce = 20;  // Writes under way; the others follow.
  static constexpr Duration kRetry = 10s;         // After a write that failed.
  static constexpr char kController[] = "glia.dev/mesh";

  // `server` outlives it.
  explicit StatusWriter(ApiServer& server);

  // The newest version of an object, and its end. Those of other kinds are passed over.
  void see(const Resource& resource, const Json& object);
  void forget(const Resource& resource, const std::string& ns, const std::string& name);
  // What is in force now, and what is not (MeshState::set_aside()).
  void tell(const ObjectSet& objects, const std::map<std::string, std::string>& set_aside);

 private:
  using Key = std::tuple<std::string, std::string, std::string>;  // Kind, namespace, name
  struct Seen {
    Resource resource;
    std::string version;
    int64_t generation = 0;
    Json parents;  // Of a route: its parentRefs that are Services.
    Json status;   // As it is there.
    Json wanted;   // As it shall be; null: not known yet.
  };

  Json wanted_conditions(const Seen& seen, const std::vector<Condition>& conditions,
                         const Json& before) const;
  Json wanted_parents(const Key& key, const Seen& seen, const std::string* wrong) const;
  void write();
  void written(const Key& key, const Result<ApiAnswer>& said);

  EventLoop& loop_;
  ApiQuestions questions_;
  std::map<Key, Seen> seen_;
  std::map<Key, std::map<std::string, std::vector<Condition>>> routes_;  // By parent.
  std::set<Key> due_, under_way_;
  std::string trouble_;
  CallbackTimer retry_;
};

}  // namespace glia
