#include "proxy/flow/retry.h"

#include <algorithm>

#include "proxy/flow/exchange.h"
#include "proxy/flow/kept_body.h"
#include "proxy/flow/rescue.h"
#include "proxy/flow/router.h"

namespace glia {
namespace {

using On = RetryPolicy::On;

// The grpc-status of an answer without a message, as one of the reasons.
uint32_t grpc_reason(const Response& response) {
  const auto status = parse_grpc_status(response.headers.get("grpc-status").value_or(""));
  if (!status) return 0;
  switch (*status) {
    case GrpcStatus::kCancelled: return On::kGrpcCancelled;
    case GrpcStatus::kDeadlineExceeded: return On::kGrpcDeadlineExceeded;
    case GrpcStatus::kResourceExhausted: return On::kGrpcResourceExhausted;
    case GrpcStatus::kInternal: return On::kGrpcInternal;
    case GrpcStatus::kUnavailable: return On::kGrpcUnavailable;
    default: return 0;
  }
}

}  // namespace

Chances::Chances(Exchange& exchange, const ForwardAction& action)
    : exchange_(exchange), policy_(action.retry ? &*action.retry : nullptr) {
  Request& request = exchange.request();
  if (request.body == nullptr) return;
  const auto& hedging = exchange.route()->hedging;
  auto kept = std::make_unique<KeptBody>(
      std::move(request.body),
      hedging ? std::max<std::size_t>(hedging->kept_bytes, KeptBody::kMost) : KeptBody::kMost);
  kept_ = kept.get();
  request.body = std::move(kept);
}

bool Chances::safe(const Error& error) {
  if (error.retry() != Retry::kSafe || (kept_ != nullptr && !kept_->rewind())) return false;
  // An endpoint or a connection that was leaving says nothing about the next one.
  if (error.kind() == ErrorKind::kClosed) return ++moves_ < Router::kMoves;
  return ++failures_ < Router::kAttempts;
}

bool Chances::wanted(const Response& response) const {
  const auto is = [&](On reason) { return (policy_->on & reason) != 0; };
  const int status = response.status;
  if (status >= 502 && status <= 504 && is(On::kGatewayError)) return true;
  if (status >= 500 && is(On::k5xx)) return true;
  if (status == 409 && is(On::kConflict)) return true;
  if ((policy_->on & grpc_reason(response)) != 0) return true;
  return is(On::kStatuses) && std::ranges::count(policy_->statuses, status) > 0;
}

bool Chances::wanted(const Reply& reply) const {
  if (reply) return wanted(*reply);
  const Error& error = reply.error();
  if (error.fault() != Fault::kUpstream) return false;
  switch (error.kind()) {
    case ErrorKind::kReset:
    case ErrorKind::kClosed:
    case ErrorKind::kProtocol:
    case ErrorKind::kTimeout:
      return (policy_->on & (On::kReset | On::kGatewayError | On::k5xx)) != 0;
    case ErrorKind::kConnectFailed:
      return (policy_->on & (On::kConnectFailure | On::kGatewayError | On::k5xx)) != 0;
    default: return false;
  }
}

// Said beside what the last attempt ended with.
bool Chances::refuse(const Reply& reply, ResponseFlag why) {
  const auto ended = reply ? std::nullopt : rescue_for(reply.error()).flag;
  if (ended) exchange_.flag(*ended);
  exchange_.flag(why);
  return false;
}

bool Chances::take(const Reply& reply, Cluster* cluster) {
  if (!reply && safe(reply.error())) return true;
  if (policy_ == nullptr || cluster == nullptr || !wanted(reply)) return false;
  if (kept_ != nullptr && !kept_->rewind()) return false;
  if (retries_ >= policy_->retries) {
    ++cluster->stats().retry_limit;
    return refuse(reply, ResponseFlag::kRetryLimit);
  }
  if (cluster->stats().retries_active >= cluster->config().limits.retries) {
    ++cluster->stats().retry_overflow;
    return refuse(reply, ResponseFlag::kUpstreamOverflow);
  }
  ++retries_;
  return true;
}

bool Chances::move() { return ++moves_ < Router::kMoves && (kept_ == nullptr || kept_->rewind()); }

// As in Envoy: anywhere below a bound that doubles with each retry.
Duration Chances::pause() {
  if (retries_ == 0) return {};
  const uint32_t doubled = std::min<uint32_t>(retries_ - 1, 20);
  const Duration most =
      std::min(policy_->back_off * (int64_t{1} << doubled), policy_->back_off_most);
  if (most <= 0s) return {};
  Random& random = exchange_.site().context().random;
  return Duration(static_cast<Duration::rep>(random.below(static_cast<uint64_t>(most.count()))));
}

std::unique_ptr<Request> Chances::copy_of_request() const {
  if (kept_ != nullptr && !kept_->whole()) return nullptr;
  const Request& from = exchange_.request();
  auto copy = std::make_unique<Request>(exchange_.arena());
  copy->method = from.method;
  copy->scheme = from.scheme;
  copy->authority = from.authority;
  copy->path = from.path;
  copy->trailers_accepted = from.trailers_accepted;
  for (const Field& field : from.headers.fields()) {
    copy->headers.add_kept(field.name, field.value, field.unique);
  }
  if (kept_ != nullptr) copy->body = kept_->copy();
  return copy;
}

void Chances::answered() {
  if (kept_ != nullptr) kept_->forget();
}

}  // namespace glia
