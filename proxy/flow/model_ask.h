// What a request asks of the application: whether it is work at all, whose, how much, how urgent and
// until when. Functions of the exchange, for filters that let requests in by that.
#pragma once

#include <optional>
#include <string>

#include "proxy/admission/admission_config.h"
#include "proxy/flow/exchange.h"

namespace glia {

// What only asks for the state of models and servers is let through: health must not wait behind work.
bool asks_for_work(const Exchange& exchange, const AdmissionConfig& config);
// At most kLongestTenant bytes.
std::string tenant_of(const Exchange& exchange, AdmissionConfig::Tenants tenants);
inline constexpr std::size_t kLongestTenant = 128;  // bytes; the rest of a name is not looked at
// As ModelRequest::priority; else from the field `priority` (RFC 9218).
int64_t priority_of(const Exchange& exchange);
// Saturating; nothing of it is known of a request without tokens.
struct TokensAsked {
  uint64_t input = 0;
  uint64_t output = 0;  // At most; `usual_output` for each answer of a request that does not say.
  uint64_t all() const { return input > UINT64_MAX - output ? UINT64_MAX : input + output; }
};
TokensAsked tokens_asked(const ModelRequest& model, const Request& request, uint64_t usual_output);
uint64_t cost_of(const Exchange& exchange, const AdmissionConfig& config);
// The earliest of grpc-timeout, the dialect's own timeout, max_stream_duration, the route's timeout, and
// how long the caller's proxy waits (x-envoy-expected-rq-timeout-ms).
std::optional<TimePoint> deadline_of(const Exchange& exchange);

}  // namespace glia
