// The outbound routing table: a virtual host for every port of every Service.
#pragma once

#include <string>

#include "control_plane/translate/translate.h"

namespace glia {

// As a workload of namespace `ns` sees it: bare names are Services of its own namespace.
envoy::config::route::v3::RouteConfiguration outbound_routes(const ObjectSet& objects,
                                                             const std::string& ns);

}  // namespace glia
