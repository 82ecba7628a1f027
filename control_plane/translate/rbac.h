// AuthorizationPolicies as the rbac filters of one inbound listener.
#pragma once

#include <optional>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "envoy/config/listener/v3/listener_components.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace glia {

using HttpFilterMessage =
    envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

// Deny first, then Allow; none where nothing is to be refused.
std::vector<HttpFilterMessage> rbac_filters(const ObjectSet& objects, const Workload& workload,
                                            const Workload::Port& port);

// The same for connections that are relayed, of which no more is known than who opened them: what asks
// for methods or paths allows none of them, and denies them all. Nothing where all may connect.
std::optional<envoy::config::listener::v3::Filter> network_rbac(const ObjectSet& objects,
                                                                const Workload& workload,
                                                                const Workload::Port& port);

}  // namespace glia
