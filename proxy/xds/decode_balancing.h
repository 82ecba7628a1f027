// Decodes how endpoints are chosen (a Cluster's load_balancing_policy) and what a Cluster's
// metadata says of a model server behind it.
#pragma once

#include <optional>

#include "proxy/mesh/cluster_config.h"
#include "proxy/xds/reader.h"

namespace glia {

// envoy.config.cluster.v3.LoadBalancingPolicy: the first policy that we know counts.
Balancing decode_balancing_policy(const Reader& policy);
// How many endpoints a LeastRequest or LeastRequestLbConfig compares.
uint32_t decode_choices(const Reader& least_request);

// envoy.config.core.v3.Metadata: glia.v1.ModelServer under "glia.model_server"; nothing without
// one. Everything else in it is for others.
std::optional<ModelServerConfig> decode_model_server(const Reader& metadata);

}  // namespace glia
