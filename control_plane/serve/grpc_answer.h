// How a unary call of gRPC is answered.
#pragma once

#include <grpcpp/grpcpp.h>

#include "control_plane/serve/ads_reactor.h"
#include "proxy/base/result.h"

namespace glia {

// Moves a result into a call's response and ends the call.
template <class Message>
void answer(grpc::ServerUnaryReactor& reactor, Result<Message> result, Message& response) {
  if (!result) {
    reactor.Finish(to_status(result.error()));
    return;
  }
  response = *std::move(result);
  reactor.Finish(grpc::Status::OK);
}

}  // namespace glia
