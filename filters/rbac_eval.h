// The rules of RBAC applied to one request, or one connection: functions, so that they can be compared
// with a slow and obvious model (rbac_eval_test.cc). Letting somebody in allocates nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/http/message.h"
#include "proxy/mesh/rbac.h"
#include "proxy/net/stream.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

// What a policy can ask about. Views and references live during the call.
struct RbacInput {
  const Request& request;
  const ConnectionInfo& connection;
  std::string_view path;        // Without query: path_of(request).
  std::string_view plain_path;  // plain_path(path), or `path` if that is plain already.
};

// The path as a lenient application may read it: escapes decoded once, '\\' as '/', no empty and no dot
// segments, no ";parameters", nothing after an escaped '?', '#' or NUL. Nothing if that is `path`.
std::optional<std::string> plain_path(std::string_view path);

struct RbacVerdict {
  bool allowed = false;
  const RbacPolicy* policy = nullptr;  // The first that matched; null if none did.
};

// Allow: what no policy matches is refused, also when there are no policies. Deny: the reverse.
RbacVerdict evaluate(const RbacRules& rules, const RbacInput& input);

// Verdicts of one filter or gate on one worker.
struct RbacCounts {
  uint64_t allowed = 0, denied = 0, shadow_allowed = 0, shadow_denied = 0;
  // `prefix`: "envoy_http_rbac_".
  void collect(MetricsPage& page, std::string_view prefix, const Labels& labels) const;
};

struct RbacOutcome {
  RbacVerdict verdict{.allowed = true};  // Of the rules that are enforced, if there are any.
  // For the log: which policy refused; if none did, what the shadow rules would have refused.
  std::string policy;
};
// All that a configuration says about one input, counted.
RbacOutcome judge(const RbacConfig& config, const RbacInput& input, RbacCounts& counts);

// Which policy refused; if none matched, those that were looked at.
std::string refusing_policy(const RbacRules& rules, const RbacVerdict& verdict);
// Why, for the person who asked: names the caller, what was tried and the policies.
std::string refusal_sentence(const RbacRules& rules, const RbacVerdict& verdict,
                             const RbacInput& input);
// The same for a connection that has no request.
std::string refusal_sentence(const RbacRules& rules, const RbacVerdict& verdict,
                             const ConnectionInfo& connection);

}  // namespace glia
