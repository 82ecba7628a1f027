// Workloads that are not among the endpoints of their Services, as a part of what sidecars shall have.
#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/control_plane.h"
#include "proxy/base/log.h"

namespace glia {

bool MeshState::away(const AwayWorkloads& away) {
  if (away == away_) return false;
  away_ = away;
  const Touched touched = live_.away(away_);
  remake(touched);
  return !touched.services.empty();
}

void ControlPlane::away(const AwayWorkloads& away) {
  const AwayWorkloads& before = mesh_.away();
  if (away == before) return;
  for (const auto& [workload, why] : away) {
    if (before.contains(workload)) continue;
    LOG(warning, workload, " is not among the endpoints of its Services: ", why);
  }
  for (const auto& [workload, why] : before) {
    if (!away.contains(workload)) LOG(info, workload, " is among the endpoints of its Services");
  }
  const bool changed = mesh_.away(away);
  // It goes with what is told or tried out now, which is not for everybody yet.
  if (changed && !telling_ && !trial_) push();
}

}  // namespace glia
