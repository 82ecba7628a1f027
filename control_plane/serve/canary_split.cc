// How far the canaries are, as a part of what sidecars shall have.
#include <utility>

#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/control_plane.h"

namespace glia {

void MeshState::put_splits() {
  for (Canary& canary : objects_.canaries) {
    const auto found = splits_.find(canary.metadata.key());
    canary.split = found == splits_.end() ? Canary::Split{} : found->second;
  }
}

bool MeshState::split(CanarySplits splits) {
  if (splits == splits_) return false;
  splits_ = std::move(splits);
  put_splits();
  before_ = std::exchange(now_, {});
  before_.whole.clear();
  return true;
}

void ControlPlane::split(const CanarySplits& splits) {
  if (!mesh_.split(splits)) return;
  // A transport may end its stream when it is told, which takes the stream out of the set.
  const std::vector<AdsStream*> streams(streams_.begin(), streams_.end());
  for (AdsStream* stream : streams) stream->retarget();
  for (AdsStream* stream : streams) stream->transport_.changed();
}

}  // namespace glia
