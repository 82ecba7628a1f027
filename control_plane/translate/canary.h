// How the requests for the target of a Canary are shared between its two versions.
#pragma once

#include <string>

#include "control_plane/objects/object_set.h"
#include "envoy/config/route/v3/route_components.pb.h"

namespace glia {

// The clusters of the two versions at a port of the target. Versions that are Services have theirs
// anyway; those by label have clusters of their own, for as long as there is the Canary:
// "stable:<port>:<service>.<namespace>" and "candidate:<port>:<service>.<namespace>".
struct VersionClusters {
  std::string stable, candidate;
};
VersionClusters version_clusters(const ObjectSet& objects, const Canary& canary, uint16_t port);

// The target with the workloads of one version alone.
enum class CanaryVersion : uint8_t { kStable, kCandidate };
MeshService only_version(const MeshService& target, const Canary& canary, CanaryVersion version);

// Shares what `host` sends to targets, as Canary::split says: 100 parts, the candidate's first. Both
// clusters stand in the route even with a weight of 0, so that every sidecar that may need them holds
// them before it does, and keeps them while streams on them last.
void share_between_versions(const ObjectSet& objects, envoy::config::route::v3::VirtualHost& host);

}  // namespace glia
