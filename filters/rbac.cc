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
  RbacOutcome outcome = judge(*config, input, counts_);
  if (!outcome.policy.empty()) exchange.policy(std::move(outcome.policy));
  if (outcome.verdict.allowed) return next(exchange);
  return refuse(Error(ErrorKind::kDenied, Fault::kDownstream,
                      refusal_sentence(*config->rules, outcome.verdict, input)));
}

void RbacFilter::collect(MetricsPage& page) const {
  const Labels labels = {{"envoy_http_conn_manager_prefix", stat_prefix_}};
  counts_.collect(page, "envoy_http_rbac_", labels);
}

}  // namespace glia
