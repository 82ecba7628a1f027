// The ADS call over our own HTTP/2 client: gRPC without the gRPC library.
#pragma once

#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/xds/ads.h"

namespace glia {

// Opens calls to the cluster that the bootstrap names for ADS, as the drawing in force has it (its
// TLS context may be waiting for a certificate); endpoints take turns. All arguments outlive the
// calls.
OpenAds ads_over_http(EventLoop& loop, Network& network, const Configuration& configuration);
// The same for glia.v1.ReportService: a call of its own to the same cluster.
OpenAds reports_over_http(EventLoop& loop, Network& network, const Configuration& configuration);
// And for glia.v1.HealthService.
OpenAds health_over_http(EventLoop& loop, Network& network, const Configuration& configuration);

}  // namespace glia
