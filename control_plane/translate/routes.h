// The outbound routing table: a virtual host for every port of every Service.
#pragma once

#include <string>

#include "control_plane/translate/translate.h"

namespace glia {

// "<service>.<namespace>:<port>": the virtual host of a port.
std::string service_host(const MeshService& service, uint16_t port);

// Appends the hosts of a Service, as a workload of namespace `ns` sees them: bare names are Services of
// its own namespace.
void add_hosts(const ObjectSet& objects, const MeshService& service, const std::string& ns,
               envoy::config::route::v3::RouteConfiguration& table);
// Appends those of the workloads that may be named alone, and the one that answers unknown names.
void add_other_hosts(const ObjectSet& objects, const std::string& ns,
                     envoy::config::route::v3::RouteConfiguration& table);

}  // namespace glia
