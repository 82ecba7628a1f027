// What model servers add to clusters: at their own sidecar, where their metrics are; at their callers',
// that they are chosen by their load.
#pragma once

#include "control_plane/objects/object_set.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace glia {

// `cluster` leads to the application of `workload`.
void tell_model_server(const Workload& workload, envoy::config::cluster::v3::Cluster& cluster);
// If a workload behind the service is a model server, or it is an InferencePool. A real Envoy takes least_request, which stands
// behind ours in the list.
void choose_by_load(const ObjectSet& objects, const MeshService& service,
                    envoy::config::cluster::v3::Cluster& cluster);

// If there is a model server or an InferencePool in the mesh: callers read requests to models for what tells which server
// knows them. A real Envoy leaves the filter out.
void read_model_requests(
    const ObjectSet& objects,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager);

}  // namespace glia
