#include "proxy/flow/rescue.h"

namespace glia {
namespace {

// gRPC status codes.
constexpr int kInvalidArgument = 3, kDeadlineExceeded = 4, kPermissionDenied = 7,
              kResourceExhausted = 8, kUnimplemented = 12, kInternal = 13, kUnavailable = 14;

}  // namespace

Rescue rescue_for(const Error& error) {
  using enum ResponseFlag;
  const bool upstream = error.fault() == Fault::kUpstream;
  switch (error.kind()) {
    case ErrorKind::kInvalid: return {400, kInvalidArgument, kDownstreamProtocol, "bad_request"};
    case ErrorKind::kTooLarge:
      if (upstream) return {502, kUnavailable, kUpstreamProtocol, "upstream_protocol"};
      return {413, kResourceExhausted, {}, "too_large"};
    case ErrorKind::kNoRoute: return {404, kUnimplemented, kNoRoute, "no_route"};
    case ErrorKind::kNoCluster: return {503, kUnavailable, kNoCluster, "no_cluster"};
    case ErrorKind::kNoEndpoint: return {503, kUnavailable, kNoHealthyUpstream, "no_endpoint"};
    case ErrorKind::kDenied: return {403, kPermissionDenied, {}, "denied"};
    case ErrorKind::kOverflow: return {503, kUnavailable, kUpstreamOverflow, "overflow"};
    case ErrorKind::kOverload: return {503, kUnavailable, kOverload, "overload", 1};
    case ErrorKind::kConnectFailed:
      return {503, kUnavailable, kUpstreamConnectFailed, "connect_failed"};
    case ErrorKind::kReset:
      if (upstream) return {503, kUnavailable, kUpstreamReset, "upstream_reset"};
      return {400, kUnavailable, kDownstreamGone, "downstream_reset"};
    case ErrorKind::kTimeout:
      if (upstream) return {504, kDeadlineExceeded, kUpstreamTimeout, "upstream_timeout"};
      return {408, kDeadlineExceeded, kIdleTimeout, "downstream_timeout"};
    case ErrorKind::kProtocol:
      if (upstream) return {502, kUnavailable, kUpstreamProtocol, "upstream_protocol"};
      return {400, kInternal, kDownstreamProtocol, "bad_request"};
    case ErrorKind::kClosed:
      if (upstream) return {503, kUnavailable, kUpstreamReset, "upstream_reset"};
      return {503, kUnavailable, kLocalReset, "shutting_down"};
    case ErrorKind::kInternal: return {500, kInternal, kLocalReset, "internal"};
  }
  CHECK(!"unknown kind of error");
}

std::string_view refusal_word(int status) {
  switch (status) {
    case 405: return "method_not_allowed";
    case 408: return "downstream_timeout";
    case 413:
    case 414:
    case 431: return "too_large";
    case 417: return "expectation_failed";
    case 500: return "internal";
    case 501: return "not_implemented";
    case 505: return "version_not_supported";
    case 508: return "loop";
    default: return "bad_request";
  }
}

}  // namespace glia
