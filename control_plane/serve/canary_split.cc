// How far the canaries are, as a part of what sidecars shall have.
#include <algorithm>
#include <utility>

#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/control_plane.h"
#include "control_plane/translate/canary.h"

namespace glia {

bool MeshState::split(CanarySplits splits) {
  if (splits == splits_) return false;
  splits_ = std::move(splits);
  std::set<std::string> versions;
  const std::vector<std::size_t> changed = live_.split(splits_);
  for (const std::size_t place : changed) {
    const Canary& canary = objects().canaries[place];
    const MeshService& target = *objects().service(canary.metadata.ns, canary.spec.target_ref.name);
    for (const MeshService::Port& port : target.spec.ports) {
      const VersionClusters clusters = version_clusters(objects(), canary, port.port);
      versions.insert({clusters.stable, clusters.candidate});
    }
  }
  // Both versions stand in every route that leads to the target, whatever their shares.
  Touched touched;
  const auto is_version = [&](const std::string& cluster) { return versions.contains(cluster); };
  for (const auto& [key, out] : now_.outbound) {
    for (const auto& [service, leads] : out.leads_to) {
      if (std::ranges::any_of(leads, is_version)) touched.services.insert(service);
    }
  }
  remake(touched);
  return !changed.empty();
}

void ControlPlane::split(const CanarySplits& splits) {
  if (trial_) {
    waiting_.splits = splits;
  } else if (mesh_.split(splits) && !telling_) {
    push();
  }
}

}  // namespace glia
