// envoy.config.route.v3.RouteConfiguration to RouteTable, with inheritance resolved.
#pragma once

#include <memory>

#include <string>
#include <vector>

#include "proxy/mesh/route.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/xds/reader.h"

namespace glia {

// glia.v1.DiscoverHost.timeout: how long a request waits for its host unless told otherwise.
inline constexpr Duration kDiscoverHost = 5s;
// glia.v1.DiscoverHost.idle: what was found and is not used for so long is given back.
inline constexpr Duration kForgetHost = 1h;

// `filters` are those that requests to this table pass: configuration for any other filter would be
// read by nobody and is an error. (Envoy passes over names that it does not find.)
std::shared_ptr<const RouteTable> decode_route_table(const Reader& table, std::string version,
                                                     const std::vector<FilterConfig>& filters);

}  // namespace glia
