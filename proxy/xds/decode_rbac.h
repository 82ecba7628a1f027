// envoy.config.rbac.v3 and the RBAC filter's messages to RbacConfig.
#pragma once

#include <memory>

#include "proxy/mesh/rbac.h"
#include "proxy/xds/reader.h"

namespace glia {

// envoy.extensions.filters.http.rbac.v3.RBAC
std::shared_ptr<const RbacConfig> decode_rbac(const Reader& filter);
// envoy.extensions.filters.network.rbac.v3.RBAC
std::shared_ptr<const RbacConfig> decode_network_rbac(const Reader& filter);
// envoy.extensions.filters.http.rbac.v3.RBACPerRoute; without a policy it turns the filter off.
std::shared_ptr<const RbacConfig> decode_rbac_per_route(const Reader& per_route);

}  // namespace glia
