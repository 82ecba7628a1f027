// envoy.config.accesslog.v3.AccessLog (file, stdout, stderr) to AccessLogConfig.
#pragma once

#include <optional>

#include "proxy/mesh/snapshot.h"
#include "proxy/xds/reader.h"

namespace glia {

std::optional<AccessLogConfig> decode_access_log(const Reader& log);

}  // namespace glia
