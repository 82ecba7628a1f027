// Rules of HTTPRoutes and GRPCRoutes as Envoy routes, in the order in which the Gateway API wants
// them tried.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "envoy/config/route/v3/route_components.pb.h"

namespace glia {

// The routes of all HTTPRoutes or GRPCRoutes that have `port` of `service` as a parent, as callers of
// namespace `ns` meet them; a request that none matches is for the caller to answer.
std::vector<envoy::config::route::v3::Route> service_routes(const ObjectSet& objects,
                                                            const MeshService& service,
                                                            uint16_t port, const std::string& ns);

}  // namespace glia
