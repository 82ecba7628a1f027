// ModelSight: what an exchange sees of a request to a model: the record, and the body that was held for
// it. Read before the route is chosen, because routes match on it.
#pragma once

#include <memory>
#include <optional>

#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/flow/held_body.h"
#include "proxy/mesh/route.h"
#include "proxy/model/request.h"

namespace glia {

class Exchange;

struct ModelSight {
  std::optional<ModelRequest> record;  // Nothing: the request is to no model.
  ModelCall call;
  HeldBody* held = nullptr;  // In the request's body; null if that was not read.
};

// Fills exchange.sight() and writes the x-glia-model-* fields of the request. An error refuses the
// request. The exchange outlives the task.
Task<Result<void>> read_model(Exchange& exchange);

// Gives the model of the request another name, in its path or body.
Result<void> rename_model(Exchange& exchange, const ModelName& name);

}  // namespace glia
