#include "filters/cors.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"

namespace glia {
namespace {

constexpr std::string_view kAllowOrigin = "access-control-allow-origin";

Task<Reply> ready(Reply reply) { co_return reply; }

// A cache must not give one origin what was meant for another.
void add_vary(Headers& headers) { headers.add_kept("vary", "origin"); }

void allow_origin(const CorsPolicy& policy, std::string_view origin, Headers& headers) {
  headers.set(kAllowOrigin, origin);
  if (policy.credentials) headers.set("access-control-allow-credentials", "true");
  if (!policy.exposed.empty()) headers.set("access-control-expose-headers", policy.exposed);
}

// "*" is answered with what was asked: where credentials are allowed, browsers read it as a name.
void allow(std::string_view field, std::string_view allowed, std::string_view asked_by,
           const Exchange& exchange, Headers& headers) {
  const std::string_view value =
      allowed == "*" ? exchange.request().headers.get(asked_by).value_or("") : allowed;
  if (!value.empty()) headers.add(field, value);
}

Reply preflight(const CorsPolicy& policy, std::string_view origin, Exchange& exchange) {
  Response response(exchange.arena());
  response.status = 200;
  allow_origin(policy, origin, response.headers);
  allow("access-control-allow-methods", policy.methods, "access-control-request-method", exchange,
        response.headers);
  allow("access-control-allow-headers", policy.headers, "access-control-request-headers", exchange,
        response.headers);
  if (!policy.max_age.empty()) response.headers.add("access-control-max-age", policy.max_age);
  add_vary(response.headers);
  exchange.sign(response, "preflight");
  return response;
}

Error refusal(std::string_view origin, const Exchange& exchange) {
  return Error(ErrorKind::kDenied, Fault::kDownstream,
               cat("the CORS policy of route ", exchange.route()->name,
                   " does not allow the origin ", origin));
}

// `origin`: "" unless the policy allows it. Both outlive the exchange's task.
Task<Reply> share(Exchange& exchange, Next next, const CorsPolicy& policy,
                  std::string_view origin) {
  Reply reply = co_await next(exchange);
  if (!reply) co_return reply;
  if (!origin.empty()) allow_origin(policy, origin, reply->headers);
  add_vary(reply->headers);
  co_return reply;
}

}  // namespace

CorsFilter::CorsFilter(std::string name, std::shared_ptr<const CorsPolicy> config,
                       std::string stat_prefix, const CorsFilter* before)
    : name_(std::move(name)), stat_prefix_(std::move(stat_prefix)), config_(std::move(config)) {
  CHECK(config_ != nullptr);
  if (before != nullptr) valid_ = before->valid_, invalid_ = before->invalid_;
}

Task<Reply> CorsFilter::handle(Exchange& exchange, Next next) {
  const CorsPolicy* policy = settings_for(exchange.route(), name_, config_);
  if (policy == nullptr || policy->origins.empty()) return next(exchange);
  const Request& request = exchange.request();
  const std::string_view origin = request.headers.get("origin").value_or("");
  if (origin.empty()) return share(exchange, next, *policy, "");
  const bool allowed = std::ranges::any_of(
      policy->origins, [&](const TextMatcher& matcher) { return matcher.matches(origin); });
  ++(allowed ? valid_ : invalid_);
  const bool asks =
      request.method == "OPTIONS" && request.headers.has("access-control-request-method");
  if (asks && allowed) return ready(preflight(*policy, origin, exchange));
  if (asks && !policy->forward_others) return ready(refusal(origin, exchange));
  return share(exchange, next, *policy, allowed ? origin : "");
}

void CorsFilter::collect(MetricsPage& page) const {
  const Labels labels = {{"envoy_http_conn_manager_prefix", stat_prefix_}};
  page.counter("envoy_http_cors_origin_valid", labels, valid_);
  page.counter("envoy_http_cors_origin_invalid", labels, invalid_);
}

}  // namespace glia
