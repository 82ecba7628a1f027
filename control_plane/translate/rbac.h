// AuthorizationPolicies as the rbac filters of one inbound listener.
#pragma once

#include <vector>

#include "control_plane/objects/object_set.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace glia {

using HttpFilterMessage =
    envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

// Deny first, then Allow; none where nothing is to be refused.
std::vector<HttpFilterMessage> rbac_filters(const ObjectSet& objects, const Workload& workload,
                                            const Workload::Port& port);

}  // namespace glia
