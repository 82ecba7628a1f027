// Rescue: what the proxy answers when a request cannot be served: one table from the kind of error to
// status, gRPC code, response flag and words.
#pragma once

#include <optional>
#include <string_view>

#include "proxy/base/result.h"
#include "proxy/flow/flags.h"

namespace glia {

struct Rescue {
  int status;       // HTTP
  int grpc_status;  // https://grpc.io/docs/guides/status-codes/
  std::optional<ResponseFlag> flag;
  std::string_view reason;  // Value of x-glia-reason: one word, stable, searchable.
  int retry_after = 0;      // seconds; 0: the client is not told when to come again
};

Rescue rescue_for(const Error& error);

// The word for a request that a codec, or the exchange before any route, refuses with `status`.
std::string_view refusal_word(int status);

}  // namespace glia
