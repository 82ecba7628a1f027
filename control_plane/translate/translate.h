// translate: mesh objects in, the Envoy v3 resources of one workload's sidecar out.
//
// A pure function, so that the control plane and a proxy without one (`glia-proxy --mesh`) say the
// same, and so that a version is nothing but a hash of the content. docs/mesh-objects.md says how
// objects become resources.
#pragma once

#include <string>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"

namespace glia {

// Names that others need: secrets that the proxy holds itself, and the RDS resource.
inline constexpr char kCertificateSecret[] = "default";
inline constexpr char kTrustBundleSecret[] = "ROOTCA";
inline constexpr char kOutboundName[] = "outbound";
inline constexpr char kUnknownHost[] = "unknown-host";  // Of every table: answers other names.

struct Resources {
  std::vector<envoy::config::listener::v3::Listener> listeners;
  std::vector<envoy::config::cluster::v3::Cluster> clusters;
  std::vector<envoy::config::route::v3::RouteConfiguration> routes;
  std::vector<envoy::config::endpoint::v3::ClusterLoadAssignment> endpoints;
  // Hash over the resources of a kind, 16 hexadecimal digits: same content, same version.
  std::string listeners_version, clusters_version, routes_version, endpoints_version;
};

// What protects the hops between sidecars. kClearText is only for a standalone proxy without a CA.
enum class HopSecurity : uint8_t { kMutualTls, kClearText };

// `workload` is one of `objects.workloads`; `objects` comes from a LoadReport that is ok().
// Listeners refer to RDS and EDS "ads", clusters to secrets by name without an sds_config.
Resources translate(const ObjectSet& objects, const Workload& workload,
                    HopSecurity security = HopSecurity::kMutualTls);

// Its two halves, without versions. What is the workload's own: its listeners, and the way to its
// application.
Resources translate_own(const ObjectSet& objects, const Workload& workload,
                        HopSecurity security = HopSecurity::kMutualTls);
// What all workloads of a namespace share: the way to every Service. It is nearly all of a large
// mesh, so it is worth to be made once for many.
Resources translate_outbound(const ObjectSet& objects, const std::string& ns,
                             HopSecurity security = HopSecurity::kMutualTls);
// Its parts: what leads to one Service, and what leads to workloads that are called alone and answers
// unknown names. `routes` is one table with the hosts of that part.
Resources translate_service(const ObjectSet& objects, const MeshService& service,
                            const std::string& ns, HopSecurity security = HopSecurity::kMutualTls);
Resources translate_others(const ObjectSet& objects, const std::string& ns,
                           HopSecurity security = HopSecurity::kMutualTls);

}  // namespace glia
