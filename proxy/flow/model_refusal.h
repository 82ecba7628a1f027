// A refusal in the words of the dialect that the request speaks, so that its client understands it: the
// error object of OpenAI, Anthropic, OIP and TensorFlow Serving, a status of gRPC, or plain text.
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/time.h"
#include "proxy/flow/exchange.h"

namespace glia {

struct ModelRefusal {
  int status = 503;
  GrpcStatus grpc_status = GrpcStatus::kUnavailable;
  ResponseFlag flag = ResponseFlag::kUpstreamOverflow;
  std::string_view reason;  // Value of x-glia-reason.
  std::string sentence;     // As Error::message().
  Duration come_again{0};   // Told in whole seconds, rounded up; 0: not told.
};

// Signed, and told to the log.
Response refuse_in_dialect(Exchange& exchange, const ModelRefusal& refusal);

}  // namespace glia
