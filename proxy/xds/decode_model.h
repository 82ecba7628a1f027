// glia.v1.ModelRequests and glia.v1.ModelRewrite (api/glia/v1/model.proto).
#pragma once

#include "proxy/mesh/snapshot.h"
#include "proxy/xds/reader.h"

namespace glia {

ModelReading decode_model_requests(const Reader& config);
ModelName decode_model_rewrite(const Reader& config);

}  // namespace glia
