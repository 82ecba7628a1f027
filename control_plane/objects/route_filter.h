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

// The same where an InferencePool may stand as well: its group, its kind, either's name; and whether they
// belong together, which needs all three; a name that may be left out can be "".
Type<std::string> backend_group();
Type<std::string> backend_kind_name();
Type<std::string> backend_name();
void check_backend_kind(std::string_view group, std::string_view kind, std::string_view name,
                        Place at, Reader& reader);

}  // namespace glia
