// The CORS filter's messages (envoy.extensions.filters.http.cors.v3) to CorsPolicy.
#pragma once

#include <memory>

#include "proxy/mesh/cors.h"
#include "proxy/xds/reader.h"

namespace glia {

// Cors, which says nothing: routes do.
std::shared_ptr<const CorsPolicy> decode_cors(const Reader& filter);
// CorsPolicy, of a route, virtual host or table.
std::shared_ptr<const CorsPolicy> decode_cors_policy(const Reader& policy);

}  // namespace glia
