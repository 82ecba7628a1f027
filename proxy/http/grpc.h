// What a proxy has to know of gRPC: its status codes, its deadline, its message text and its
// framing.
//
// Source: gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md), status codes (grpc/doc/statuscodes.md) and
// the mapping of HTTP statuses (grpc/doc/http-grpc-status-mapping.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/bytes.h"
#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

enum class GrpcStatus : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "OK", "CANCELLED", ... as the specification spells them.
std::string_view name_of(GrpcStatus status);
// What a gRPC client makes of a response that is not gRPC's.
GrpcStatus grpc_status_of_http(int http_status);
// What a gRPC client makes of a stream that its peer reset, by HTTP/2's error code.
GrpcStatus grpc_status_of_reset(uint32_t http2_error);
// The HTTP status that says the same, for counters and for clients that do not speak gRPC.
int http_status_of_grpc(GrpcStatus status);
// The value of grpc-status; nothing if it is not one of the seventeen codes.
std::optional<GrpcStatus> parse_grpc_status(std::string_view text);

// The value of grpc-timeout: at most eight digits and one of H M S m u n. Nothing if it breaks the
// grammar.
std::optional<Duration> parse_grpc_timeout(std::string_view text);
// The finest unit whose eight digits hold `timeout`, never longer than it; "0n" for what has
// passed.
std::string format_grpc_timeout(Duration timeout);

// The value of grpc-message: bytes outside of space to '~', '%', and spaces at either end, which no
// field's value may have, as %XX.
std::string encode_grpc_message(std::string_view message);
// The reverse; an escape that is none stays as it is, as the specification asks.
std::string decode_grpc_message(std::string_view value);

// One message in front of its length (5 bytes, not compressed), appended to `out`.
void append_grpc_message(std::string& out, std::string_view message);

// Cuts a stream of bytes into messages. A length above the limit is an error before a byte of the
// message is kept.
class GrpcDecoder {
 public:
  // `most` bytes of one message.
  explicit GrpcDecoder(std::size_t most) : most_(most) {}

  // Takes bytes in; messages come out of next().
  void add(std::string_view bytes) { held_ += bytes; }
  // The next whole message, or nothing yet, or what is wrong; after an error it says so for ever.
  Result<std::optional<std::string>> next();
  // At the end of the stream: a message began that did not end.
  bool partial() const { return used_ < held_.size(); }

  static constexpr std::size_t kPrefix = 5;  // bytes: compressed flag, length in network order

 private:
  std::size_t most_;
  std::string held_;
  std::size_t used_ = 0;  // bytes of held_ that were handed out
};

}  // namespace glia
