// Which objects make the resources of one sidecar.
#pragma once

#include <string>
#include <vector>

#include "control_plane/objects/object_set.h"

namespace glia {

struct MadeOf {
  std::string resource;              // "cluster outbound:80:a.default"
  std::vector<std::string> objects;  // "Service default/a (mesh.yaml:3)"
  // The sidecar is sent it when it asks for the host that leads there, and not before.
  bool on_demand = false;
};

// Listeners, virtual hosts and clusters, in the order in which translate() makes them.
std::vector<MadeOf> made_of(const ObjectSet& objects, const Workload& workload);

}  // namespace glia
