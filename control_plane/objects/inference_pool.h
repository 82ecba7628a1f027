// InferencePool: model servers to which routes send requests (inference.networking.k8s.io/v1, the Gateway
// API's inference extension).
//
// It is to the rest what a Service without a name is: add_pools() makes a MeshService of each, whose name
// begins with MeshService::kPoolMark, so that members, clusters, endpoints and edits are those of Services.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control_plane/objects/objects.h"

namespace glia {

struct ObjectSet;

struct PoolPort {
  uint16_t number = 0;
  Place at;
};

struct PoolSelector {
  TextMap match_labels;
  Place at;
};

// A server that gateways would ask where each request goes. Read, and not asked: sidecars choose.
struct PoolPicker {
  std::string group, kind = "Service", name;
  std::optional<PoolPort> port;
  std::string failure_mode;
  Place at;
};

struct InferencePool {
  static constexpr const char* kKind = "InferencePool";
  static constexpr const char* kGroup = "inference.networking.k8s.io";
  using Port = PoolPort;
  using Selector = PoolSelector;
  using Picker = PoolPicker;
  struct Spec {
    Selector selector;
    std::vector<Port> target_ports;  // Each is an endpoint of each workload.
    std::string app_protocol;        // Of pods in a cluster; in files not looked at.
    std::optional<Picker> endpoint_picker_ref;
    Place at;
  };
  Metadata metadata;
  Spec spec;
};

// What it is to the rest.
MeshService service_of(const InferencePool& pool);
// Puts the Service that each pool is to the rest in its place among `objects.services`.
void add_pools(ObjectSet& objects);

}  // namespace glia
