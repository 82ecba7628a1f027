// KubernetesSource: a Kubernetes cluster as a source of mesh objects.
//
// It watches what a mesh is made of (resource_watch.h), translates it (cluster_view.h), and tells what has changed,
// what came in one moment together. Objects come one by one, from many people: a mistake in one is told and
// concerns that one alone (MistakesOf::kThisSource). Belongs to one loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control_plane/kubernetes/cluster_view.h"
#include "control_plane/kubernetes/resource_watch.h"
#include "control_plane/kubernetes/status_writer.h"
#include "control_plane/source/source.h"

namespace glia {

class KubernetesSource final : public Source, private ResourceWatch::Owner {
 public:
  // What comes within this of the first change goes with it: a rollout touches many objects at once.
  static constexpr Duration kGather = 10ms;
  // While the first lists are awaited, how often the loop says what for.
  static constexpr Duration kStillWaiting = 30s;

  // All outlive it. `changed` is called from the top of the loop, after the first read(); `ended`, if there is
  // one, says when to give up in that.
  KubernetesSource(ApiServer& server, ClusterView::MeshObject mesh, uint64_t seed,
                   std::function<void(const SourceEdit&)> changed, const bool* ended = nullptr);

  // Says in the cluster what became of its objects; call it whenever that may be something else.
  void tell_status(const ObjectSet& objects, const std::map<std::string, std::string>& set_aside) {
    statuses_.tell(objects, set_aside);
  }

  // The first time, turns the loop until every kind was listed, or may not or cannot be: a control plane that
  // begins with half of the mesh would take the other half away from its sidecars.
  Result<SourceEdit> read() override;

  // Of those that cannot be watched now: why.
  std::vector<std::string> troubles() const;

  // In the order in which they are watched.
  static std::vector<Resource> resources();

 private:
  void on_object(const Resource& resource, const Json& object) override;
  void on_gone(const Resource& resource, const std::string& ns, const std::string& name) override;
  bool settled() const;
  void note();
  void flush();

  ApiServer& server_;
  ClusterView view_;
  StatusWriter statuses_;
  const std::function<void(const SourceEdit&)> changed_;
  const bool* const ended_;
  bool read_ = false;
  CallbackTimer gather_;
  std::vector<std::unique_ptr<ResourceWatch>> watches_;
};

}  // namespace glia
