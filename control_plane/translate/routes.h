// The outbound routing table: a virtual host for every port of every Service.
#pragma once

#include <string>
#include <vector>

#include "control_plane/translate/translate.h"

namespace glia {

struct OutboundRoutes {
  envoy::config::route::v3::RouteConfiguration table;
  std::vector<std::string> missing;  // Clusters that stand for backends that do not exist.
};

// As a workload of namespace `ns` sees it: bare names are Services of its own namespace.
OutboundRoutes outbound_routes(const ObjectSet& objects, const std::string& ns);

}  // namespace glia
