// envoy.config.route.v3.RouteConfiguration to RouteTable, with inheritance resolved.
#pragma once

#include <memory>

#include "proxy/mesh/route.h"
#include "proxy/xds/reader.h"

namespace glia {

std::shared_ptr<const RouteTable> decode_route_table(const Reader& table, std::string version);

}  // namespace glia
