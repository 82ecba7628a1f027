// What rules and backends of HTTPRoutes and GRPCRoutes do to requests besides sending them
// somewhere.
#pragma once

#include <vector>

#include "control_plane/objects/kind.h"

namespace glia {

// Where a list of filters stands decides which of them there are.
enum class FilterSet : uint8_t { kHttpRule, kGrpcRule, kBackend };

Type<std::vector<RouteFilter>> route_filters(FilterSet set);
// Says which filters are there twice.
void check_filters(const std::vector<RouteFilter>& filters, Reader& reader);

Type<CorsRule> cors_filter();

// Gateway API's HTTPRouteRetry.
Type<RetryRule> http_retry();
// That of a TrafficPolicy, which also says after what.
Type<RetryRule> policy_retry();

// How a Service is named by routes; its group is the core group, which is the empty text.
Type<std::string> service_kind_name();
Type<std::string> service_name();
Type<std::string> core_group();

}  // namespace glia
