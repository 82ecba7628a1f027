// glia.v1.Admission (api/glia/v1/admission.proto).
#pragma once

#include <memory>

#include "proxy/admission/admission_config.h"
#include "proxy/xds/reader.h"

namespace glia {

std::shared_ptr<const AdmissionConfig> decode_admission(const Reader& config);

}  // namespace glia
