#include "filters/rbac.h"

#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"

namespace glia {
namespace {

Task<Reply> refuse(Error error) { co_return error; }

}  // namespace

RbacFilter::RbacFilter(std::string name, std::shared_ptr<const RbacConfig> config,
                       std::string stat_prefix, const RbacFilter* before)
    : name_(std::move(name)), stat_prefix_(std::move(stat_prefix)), config_(std::move(config)) {
  CHECK(config_ != nullptr);
  if (before != nullptr) counts_ = before->counts_;
}

Task<Reply> RbacFilter::handle(Exchange& exchange, Next next) {
  const RbacConfig* config = settings_for(exchange.route(), name_, config_);
  if (config == nullptr) return next(exchange);  // The route switched the filter off.
  const Request& request = exchange.request();
  const std::string_view path = path_of(request);
  const std::optional<std::string> plain = plain_path(path);
  const RbacInput input{request, exchange.connection(), path, plain ? *plain : path};
  if (config->shadow) shadow(*config->shadow, input, exchange);
  if (!config->rules) return next(exchange);

  const RbacVerdict verdict = evaluate(*config->rules, input);
  if (verdict.allowed) {
    ++counts_.allowed;
    return next(exchange);
  }
  ++counts_.denied;
  exchange.policy(refusing_policy(*config->rules, verdict));
  return refuse(Error(ErrorKind::kDenied, Fault::kDownstream,
                      refusal_sentence(*config->rules, verdict, input)));
}

// The log shows the shadow's verdict unless the request is refused: then the refusal's policy stands
// there.
void RbacFilter::shadow(const RbacRules& rules, const RbacInput& input, Exchange& exchange) {
  const RbacVerdict verdict = evaluate(rules, input);
  if (verdict.allowed) {
    ++counts_.shadow_allowed;
    return;
  }
  ++counts_.shadow_denied;
  exchange.policy(cat("shadow: ", refusing_policy(rules, verdict)));
}

void RbacFilter::collect(MetricsPage& page) const {
  const Labels labels = {{"envoy_http_conn_manager_prefix", stat_prefix_}};
  page.counter("envoy_http_rbac_allowed", labels, counts_.allowed);
  page.counter("envoy_http_rbac_denied", labels, counts_.denied);
  page.counter("envoy_http_rbac_shadow_allowed", labels, counts_.shadow_allowed);
  page.counter("envoy_http_rbac_shadow_denied", labels, counts_.shadow_denied);
}

}  // namespace glia
