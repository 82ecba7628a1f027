// envoy.config.endpoint.v3.ClusterLoadAssignment to EndpointSet.
#pragma once

#include <memory>

#include "proxy/mesh/cluster_config.h"
#include "proxy/xds/reader.h"

namespace glia {

// `names_allowed`: endpoints of a STRICT_DNS cluster may be host names.
std::shared_ptr<const EndpointSet> decode_endpoints(const Reader& assignment, std::string version,
                                                    bool names_allowed);

}  // namespace glia
