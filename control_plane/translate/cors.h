// CORS filters of HTTPRoutes, as Envoy's CorsPolicy.
#pragma once

#include "control_plane/objects/objects.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace glia {

// The filter that reads the policies of routes. Every outbound listener has it from the beginning,
// for a route with a policy may come at any time and must find it there.
void add_cors(
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager);
void set_cors(const CorsRule& cors, envoy::config::route::v3::Route& route);

}  // namespace glia
