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

// How the body of `response` to `method` is framed: by its length if it is known, else in chunks.
H1Framing framing_of(const Response& response, std::string_view method);
H1Framing framing_of(const Request& request);

void write_head(ByteQueue& out, const Response& response, const H1Framing& framing,
                std::string_view method, AfterThis after);
// Host first, as RFC 9110 section 7.2 asks.
void write_head(ByteQueue& out, const Request& request, const H1Framing& framing);

// A response of ours to a message that broke a rule: the reason as header and as text.
void write_refusal(ByteQueue& out, const H1Refusal& refusal);

void write_chunk(ByteQueue& out, Slice data);
// The last chunk; `trailers` may be null.
void write_last_chunk(ByteQueue& out, const Headers* trailers);

}  // namespace glia
