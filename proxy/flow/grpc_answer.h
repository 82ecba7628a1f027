// What a gRPC caller is answered when the upstream's answer is not a whole gRPC answer.
#pragma once

#include "proxy/http/message.h"

namespace glia {

class Exchange;

// `response`, made such that the caller always finds a grpc-status: an answer that is not gRPC's
// (another HTTP status, another content type) becomes a trailers-only answer with the status that
// the specification maps it to; a stream that ends without a status, or breaks off, gets one in its
// trailers. What is gRPC's own passes byte for byte.
Response answer_for_grpc(Exchange& exchange, Response response);

}  // namespace glia
