// The outbound routing table: a virtual host for every port of every Service.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control_plane/translate/translate.h"
#include "proxy/base/time.h"

namespace glia {

// "<service>.<namespace>:<port>": the virtual host of a port.
std::string service_host(const MeshService& service, uint16_t port);

// Names by which callers in namespace `ns` may know a port of a Service.
std::vector<std::string> service_domains(const MeshService& service, uint16_t port,
                                         const std::string& ns);
// Those of one workload by itself: its address, and its name in each headless Service that it is behind.
std::vector<std::string> alone_domains(const ObjectSet& objects, const Workload& workload,
                                       const Workload::Port& port);
// In place of kUnknownHost, for a sidecar that asks for what it does not hold. `idle`: when it gives
// back what it does not use, in whole seconds, 0 for never; nothing: when it likes.
envoy::config::route::v3::VirtualHost undiscovered_host(std::optional<Duration> idle = {});

// Appends the hosts of a Service (an InferencePool has none), as a workload of namespace `ns` sees them: bare names are Services of
// its own namespace.
void add_hosts(const ObjectSet& objects, const MeshService& service, const std::string& ns,
               envoy::config::route::v3::RouteConfiguration& table);
// Appends those of the workloads that may be named alone, and the one that answers unknown names.
void add_other_hosts(const ObjectSet& objects, const std::string& ns,
                     envoy::config::route::v3::RouteConfiguration& table);

}  // namespace glia
