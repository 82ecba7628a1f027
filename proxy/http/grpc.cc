#include "proxy/http/grpc.h"

#include <array>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::array<std::string_view, 17> kNames = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

struct Unit {
  char letter;
  Duration length;
};

// Finest first.
constexpr Unit kUnits[] = {{'n', 1ns}, {'u', 1us}, {'m', 1ms}, {'S', 1s}, {'M', 1min}, {'H', 1h}};
constexpr std::size_t kTimeoutDigits = 8;
constexpr int64_t kTimeoutMost = 99'999'999;

}  // namespace

std::string_view name_of(GrpcStatus status) { return kNames[static_cast<std::size_t>(status)]; }

GrpcStatus grpc_status_of_http(int http_status) {
  switch (http_status) {
    case 400: return GrpcStatus::kInternal;
    case 401: return GrpcStatus::kUnauthenticated;
    case 403: return GrpcStatus::kPermissionDenied;
    case 404: return GrpcStatus::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return GrpcStatus::kUnavailable;
    default: return GrpcStatus::kUnknown;
  }
}

// grpc/doc/PROTOCOL-HTTP2.md, "Errors"; the codes are those of RFC 9113 section 7.
GrpcStatus grpc_status_of_reset(uint32_t http2_error) {
  constexpr uint32_t kRefusedStream = 7, kCancel = 8, kEnhanceYourCalm = 11,
                     kInadequateSecurity = 12, kLastCode = 13;
  switch (http2_error) {
    case kRefusedStream: return GrpcStatus::kUnavailable;
    case kCancel: return GrpcStatus::kCancelled;
    case kEnhanceYourCalm: return GrpcStatus::kResourceExhausted;
    case kInadequateSecurity: return GrpcStatus::kPermissionDenied;
    default: return http2_error <= kLastCode ? GrpcStatus::kInternal : GrpcStatus::kUnknown;
  }
}

int http_status_of_grpc(GrpcStatus status) {
  switch (status) {
    case GrpcStatus::kOk: return 200;
    case GrpcStatus::kCancelled: return 499;
    case GrpcStatus::kInvalidArgument:
    case GrpcStatus::kFailedPrecondition:
    case GrpcStatus::kOutOfRange: return 400;
    case GrpcStatus::kDeadlineExceeded: return 504;
    case GrpcStatus::kNotFound: return 404;
    case GrpcStatus::kAlreadyExists:
    case GrpcStatus::kAborted: return 409;
    case GrpcStatus::kPermissionDenied: return 403;
    case GrpcStatus::kUnauthenticated: return 401;
    case GrpcStatus::kResourceExhausted: return 429;
    case GrpcStatus::kUnimplemented: return 501;
    case GrpcStatus::kUnavailable: return 503;
    case GrpcStatus::kUnknown:
    case GrpcStatus::kInternal:
    case GrpcStatus::kDataLoss: return 500;
  }
  return 500;
}

std::optional<GrpcStatus> parse_grpc_status(std::string_view text) {
  const auto code = parse_decimal(text);
  if (!code || *code >= kNames.size()) return {};
  return static_cast<GrpcStatus>(*code);
}

std::optional<Duration> parse_grpc_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > kTimeoutDigits + 1) return {};
  const auto count = parse_decimal(text.substr(0, text.size() - 1));
  if (!count) return {};
  for (const Unit& unit : kUnits) {
    if (unit.letter != text.back()) continue;
    // Eight digits of hours are 11,000 years, more than Duration holds.
    const auto most = static_cast<uint64_t>(Duration::max() / unit.length);
    return *count > most ? Duration::max() : static_cast<int64_t>(*count) * unit.length;
  }
  return {};
}

std::string format_grpc_timeout(Duration timeout) {
  if (timeout <= Duration::zero()) return "0n";
  for (const Unit& unit : kUnits) {
    const int64_t count = timeout / unit.length;
    if (count <= kTimeoutMost) return cat(count, unit.letter);
  }
  return cat(kTimeoutMost, 'H');
}

std::string encode_grpc_message(std::string_view message) {
  std::string out;
  out.reserve(message.size());
  for (std::size_t i = 0; i < message.size(); ++i) {
    const char c = message[i];
    const bool end = i == 0 || i + 1 == message.size();
    const bool plain = c >= ' ' && c <= '~' && c != '%' && !(end && c == ' ');
    plain ? out.push_back(c) : append_escaped(out, c);
  }
  return out;
}

std::string decode_grpc_message(std::string_view value) {
  std::string out;
  out.reserve(value.size());
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto byte = escaped_byte(value.substr(i));
    out += byte ? static_cast<char>(*byte) : value[i];
    if (byte) i += 2;
  }
  return out;
}

void append_grpc_message(std::string& out, std::string_view message) {
  CHECK(message.size() <= UINT32_MAX);
  const auto size = static_cast<uint32_t>(message.size());
  out += '\0';
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
  out += message;
}

Result<std::optional<std::string>> GrpcDecoder::next() {
  const std::string_view rest = std::string_view(held_).substr(used_);
  if (rest.size() < kPrefix) return std::optional<std::string>();
  if (rest[0] != 0) {
    return Error(ErrorKind::kProtocol, Fault::kUpstream,
                 cat("gRPC message has flags ", static_cast<int>(static_cast<uint8_t>(rest[0])),
                     "; only 0, not compressed, was offered"));
  }
  std::size_t size = 0;
  for (int i = 1; i < 5; ++i) size = size << 8 | static_cast<uint8_t>(rest[i]);
  if (size > most_) {
    return Error(ErrorKind::kTooLarge, Fault::kUpstream,
                 cat("gRPC message of ", size, " bytes is above the limit of ", most_));
  }
  if (rest.size() - kPrefix < size) {
    // What was handed out goes before more comes in.
    held_.erase(0, std::exchange(used_, 0));
    return std::optional<std::string>();
  }
  std::optional<std::string> message(rest.substr(kPrefix, size));
  used_ += kPrefix + size;
  if (used_ == held_.size()) {
    held_.clear();
    used_ = 0;
  }
  return message;
}

}  // namespace glia
