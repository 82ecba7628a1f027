// What routes and policies want to know of a request to a model, told by the header fields that they
// match on (proxy/model/fields.h).
#pragma once

#include "proxy/admission/admission_config.h"
#include "proxy/mesh/rbac.h"
#include "proxy/mesh/route.h"
#include "proxy/model/fields.h"

namespace glia {

ModelNeed model_need_of(const FilterSettings& settings);
ModelNeed model_need_of(const Route& route);

}  // namespace glia
