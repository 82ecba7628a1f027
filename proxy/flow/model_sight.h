// ModelSight: what an exchange sees of a request to a model: the record, and the body that was held for
// it, read before the route is chosen, because routes match on it; and then what the answer says.
#pragma once

#include <memory>
#include <optional>

#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/flow/held_body.h"
#include "proxy/http/message.h"
#include "proxy/mesh/route.h"
#include "proxy/model/answer_reader.h"
#include "proxy/model/request.h"

namespace glia {

class Exchange;

struct ModelSight {
  std::optional<ModelRequest> record;  // Nothing: the request is to no model.
  ModelCall call;
  HeldBody* held = nullptr;  // In the request's body; null if that was not read.
  // Reads the upstream's answer as it passes; null before, and if there is nothing to read in it.
  std::unique_ptr<AnswerReader> answer;

  // The head of an upstream's answer has come, maybe of another attempt. `tallied`: the control plane
  // asks for its cluster, so that an answer to a request to a model is read even where the request was
  // not.
  void look_at(const Request& request, const Response& response, bool tallied);

 private:
  std::optional<ModelRequest> by_path_;  // What `answer` knows of a request that was not read.
};

// Fills exchange.sight() and writes the x-glia-model-* fields of the request. An error refuses the
// request. The exchange outlives the task.
Task<Result<void>> read_model(Exchange& exchange);

// Gives the model of the request another name, in its path or body.
Result<void> rename_model(Exchange& exchange, const ModelName& name);

}  // namespace glia
