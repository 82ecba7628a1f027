// Rules of HTTPRoutes and GRPCRoutes as Envoy routes, in the order in which the Gateway API wants
// them tried.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "envoy/config/route/v3/route_components.pb.h"

namespace glia {

// The routes of all HTTPRoutes or GRPCRoutes that have `port` of `service` as a parent; a request
// that none matches is for the caller to answer. Backends that do not exist are added to `missing`.
std::vector<envoy::config::route::v3::Route> service_routes(const ObjectSet& objects,
                                                            const MeshService& service,
                                                            uint16_t port,
                                                            std::set<std::string>& missing);

// A route that answers by itself; `why` is the body.
void answer(envoy::config::route::v3::Route& route, int status, const std::string& why);

}  // namespace glia
