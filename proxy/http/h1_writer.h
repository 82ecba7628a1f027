// Writes HTTP/1.1 messages into a connection's queue: heads in one piece, chunks, trailers.
#pragma once

#include <string_view>

#include "proxy/base/bytes.h"
#include "proxy/http/h1_parser.h"
#include "proxy/http/message.h"

namespace glia {

// The reason phrase of a status, "" for one without a name.
std::string_view reason_phrase(int status);

// Whether a response to `method` with `status` has a body at all (RFC 9112 section 6.3).
bool response_has_body(std::string_view method, int status);

enum class AfterThis : uint8_t { kKeepAlive, kClose };
// Whether the receiver can read chunks: an HTTP/1.0 client cannot.
enum class Chunks : uint8_t { kUnderstood, kUnknown };

// How the body of `response` to `method` is framed: by its length if it is known, else in chunks,
// or by the end of the connection.
H1Framing framing_of(const Response& response, std::string_view method,
                     Chunks chunks = Chunks::kUnderstood);
// The body of a request that asks for an upgrade does not belong to it.
H1Framing framing_of(const Request& request);

void write_head(ByteQueue& out, const Response& response, const H1Framing& framing,
                std::string_view method, AfterThis after);
// The 101 that answers a request for `upgrade`.
void write_switch(ByteQueue& out, const Response& response, std::string_view upgrade);
// Host first, as RFC 9110 section 7.2 asks.
void write_head(ByteQueue& out, const Request& request, const H1Framing& framing);

void write_chunk(ByteQueue& out, Slice data);
// The last chunk; `trailers` may be null.
void write_last_chunk(ByteQueue& out, const Headers* trailers);

}  // namespace glia
