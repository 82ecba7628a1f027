// envoy.config.cluster.v3.Cluster to ClusterResource.
#pragma once

#include "proxy/xds/reader.h"
#include "proxy/xds/resources.h"

namespace glia {

ClusterResource decode_cluster(const Reader& cluster, std::string version);

}  // namespace glia
