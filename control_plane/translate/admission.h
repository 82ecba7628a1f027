// What Workload.spec.admission and tokenBudgets add to the listeners of its sidecar.
#pragma once

#include "control_plane/objects/object_set.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace glia {

// Budgets and one queue for all ports of `workload`, if it asks for them. A real Envoy leaves the filters
// out.
void add_admission(
    const Workload& workload,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager);

}  // namespace glia
