// The kinds of HTTP filters: which of Envoy's messages configures each, in a listener and in a
// route.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/mesh/snapshot.h"
#include "proxy/xds/reader.h"

namespace glia {

// What stands in http_filters, the router excepted; nothing if it is no filter of ours, which is
// then reported.
std::optional<FilterSettings> decode_filter(const Reader& config);
// What stands in typed_per_filter_config under `name`; nothing if it is no filter's. A name that
// none of `filters` has is reported: nobody would read what stands under it.
std::optional<FilterSettings> decode_filter_of_route(const Reader& config, const std::string& name,
                                                     const std::vector<FilterConfig>& filters);

}  // namespace glia
