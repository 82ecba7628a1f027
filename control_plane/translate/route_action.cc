#include "control_plane/translate/route_action.h"

#include <algorithm>

#include "control_plane/objects/reference.h"
#include "control_plane/translate/cors.h"
#include "control_plane/translate/outbound.h"
#include "control_plane/translate/pack.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

namespace core = envoy::config::core::v3;
using Message = envoy::config::route::v3::Route;
using Headers = google::protobuf::RepeatedPtrField<core::HeaderValueOption>;

// gRPC clients map HTTP 503 to UNAVAILABLE and 404 to UNIMPLEMENTED, as GRPCRoute asks.
enum class NoBackend : uint8_t { kHttp500, kGrpcUnavailable };

// Envoy reads '%' in header values as the start of a command.
std::string literal(std::string_view value) {
  std::string out;
  for (const char c : value) out.append(c == '%' ? 2 : 1, c);
  return out;
}

void add_headers(const std::vector<HeaderValue>& values,
                 core::HeaderValueOption::HeaderAppendAction action, Headers& out) {
  for (const HeaderValue& value : values) {
    auto* option = out.Add();
    option->mutable_header()->set_key(to_lower(value.name));
    option->mutable_header()->set_value(literal(value.value));
    option->set_append_action(action);
  }
}

void edit(const HeaderEdit& change, Headers& headers,
          google::protobuf::RepeatedPtrField<std::string>& removed) {
  add_headers(change.set, core::HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD, headers);
  add_headers(change.add, core::HeaderValueOption::APPEND_IF_EXISTS_OR_ADD, headers);
  for (const std::string& name : change.remove) *removed.Add() = to_lower(name);
}

// `message`: a route, or a share of one.
template <class Target>
void edit_headers(const std::vector<RouteFilter>& filters, Target& message) {
  for (const RouteFilter& filter : filters) {
    if (filter.request_header_modifier) {
      edit(*filter.request_header_modifier, *message.mutable_request_headers_to_add(),
           *message.mutable_request_headers_to_remove());
    }
    if (filter.response_header_modifier) {
      edit(*filter.response_header_modifier, *message.mutable_response_headers_to_add(),
           *message.mutable_response_headers_to_remove());
    }
  }
}

// The names of a route, which they are looked up for.
struct Names {
  const ObjectSet& objects;
  Referrer from;

  // A backend's cluster; none if there is no such port of a Service, or pool, or not for this route.
  template <class Target>
  std::optional<std::string> cluster(const Target& backend) const {
    if (resolve(objects, from, backend) != Reference::kResolved) return {};
    return outbound_cluster(*Referent::of(backend).in(objects), backend.port);
  }
};

// The cluster of a share of requests, with what is done to them alone.
void set_share(const Names& names, const RouteBackend& backend,
               envoy::config::route::v3::WeightedCluster::ClusterWeight& share) {
  share.set_name(names.cluster(backend).value_or(missing_cluster(backend)));
  share.mutable_weight()->set_value(backend.weight);
  edit_headers(backend.filters, share);
}

// The action of a rule with backends; nothing to send to is an answer of the Gateway API's kind.
void set_backends(const Names& names, const std::vector<RouteBackend>& backends,
                  NoBackend no_backend, Message& message) {
  std::vector<const RouteBackend*> shares;
  for (const RouteBackend& backend : backends) {
    if (backend.weight > 0) shares.push_back(&backend);
  }
  const int status = no_backend == NoBackend::kHttp500 ? 500 : 503;
  const auto exists = [&](const RouteBackend* b) { return names.cluster(*b).has_value(); };
  const auto missing = std::ranges::find_if_not(shares, exists);
  if (backends.empty()) return answer(message, status, cat(message.name(), " has no backend"));
  if (shares.empty()) {
    return answer(message, status, cat(message.name(), ": the weights of all backends are 0"));
  }
  if (std::ranges::none_of(shares, exists)) {
    return answer(message, status,
                  cat(message.name(), ": no backend exists: ", missing_cluster(**missing)));
  }
  auto* route = message.mutable_route();
  if (missing != shares.end() && no_backend == NoBackend::kHttp500) {
    route->set_cluster_not_found_response_code(
        envoy::config::route::v3::RouteAction::INTERNAL_SERVER_ERROR);
  }
  if (shares.size() == 1 && shares[0]->filters.empty()) {
    route->set_cluster(*names.cluster(*shares[0]));
    return;
  }
  for (const RouteBackend* backend : shares) {
    set_share(names, *backend, *route->mutable_weighted_clusters()->add_clusters());
  }
}

// A mirror that does not exist gets nothing; nobody waits for it.
void set_mirrors(const Names& names, const std::vector<RouteFilter>& filters, Message& message) {
  using Percent = envoy::type::v3::FractionalPercent;
  for (const RouteFilter& filter : filters) {
    if (!filter.request_mirror) continue;
    const auto cluster = names.cluster(filter.request_mirror->backend_ref);
    if (!cluster) continue;
    auto* mirror = message.mutable_route()->add_request_mirror_policies();
    mirror->set_cluster(*cluster);
    auto* share = mirror->mutable_runtime_fraction()->mutable_default_value();
    share->set_numerator(filter.request_mirror->per_million());
    share->set_denominator(Percent::MILLION);
  }
}

void set_redirect(const RequestRedirect& from, const std::string& prefix, Message& message) {
  auto* redirect = message.mutable_redirect();
  using Action = envoy::config::route::v3::RedirectAction;
  switch (from.status_code) {
    case 301: redirect->set_response_code(Action::MOVED_PERMANENTLY); break;
    case 303: redirect->set_response_code(Action::SEE_OTHER); break;
    case 307: redirect->set_response_code(Action::TEMPORARY_REDIRECT); break;
    case 308: redirect->set_response_code(Action::PERMANENT_REDIRECT); break;
    default: redirect->set_response_code(Action::FOUND); break;
  }
  if (!from.scheme.empty()) redirect->set_scheme_redirect(from.scheme);
  if (!from.hostname.empty()) redirect->set_host_redirect(from.hostname);
  if (from.port) redirect->set_port_redirect(*from.port);
  if (!from.path) return;
  if (from.path->replace_full_path)
    redirect->set_path_redirect(*from.path->replace_full_path);
  else
    redirect->set_prefix_rewrite(prefix);
}

// Envoy knows no replacing of a whole path but by a pattern; a backslash would name a group.
void set_full_path(const std::string& path, envoy::config::route::v3::RouteAction& route) {
  std::string substitution;
  for (const char c : path) substitution.append(c == '\\' ? 2 : 1, c);
  route.mutable_regex_rewrite()->mutable_pattern()->set_regex("/.*");
  route.mutable_regex_rewrite()->set_substitution(substitution);
}

void set_rewrite(const UrlRewrite& rewrite, const std::string& prefix,
                 envoy::config::route::v3::RouteAction& route) {
  if (!rewrite.hostname.empty()) route.set_host_rewrite_literal(rewrite.hostname);
  if (!prefix.empty()) route.set_prefix_rewrite(prefix);
  if (rewrite.path && rewrite.path->replace_full_path) {
    set_full_path(*rewrite.path->replace_full_path, route);
  }
}

std::string_view word(RetryRule::On on) {
  switch (on) {
    case RetryRule::On::kConnectFailure: return "connect-failure";
    case RetryRule::On::kReset: return "reset";
    case RetryRule::On::kGatewayError: return "gateway-error";
    case RetryRule::On::kServerError: return "5xx";
    case RetryRule::On::kUnavailable: return "unavailable";
    case RetryRule::On::kResourceExhausted: return "resource-exhausted";
  }
  return "";
}

void set_retry(const RetryRule& retry, envoy::config::route::v3::RetryPolicy& policy) {
  std::string on;
  for (const RetryRule::On reason : retry.on) on += cat(on.empty() ? "" : ",", word(reason));
  if (!retry.codes.empty()) on += cat(on.empty() ? "" : ",", "retriable-status-codes");
  policy.set_retry_on(on);
  for (const uint16_t code : retry.codes) policy.add_retriable_status_codes(code);
  policy.mutable_num_retries()->set_value(retry.attempts);
  if (!retry.backoff) return;
  constexpr int kGrows = 10;
  set_duration(*retry.backoff, *policy.mutable_retry_back_off()->mutable_base_interval());
  set_duration(kGrows * *retry.backoff, *policy.mutable_retry_back_off()->mutable_max_interval());
}

}  // namespace

std::string without_final_slash(const std::string& path) {
  return path.size() > 1 && path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

const PathChange* prefix_change(const HttpRoute::Rule& rule) {
  for (const RouteFilter& filter : rule.filters) {
    const auto* change = filter.url_rewrite && filter.url_rewrite->path ? &*filter.url_rewrite->path
                         : filter.request_redirect && filter.request_redirect->path
                             ? &*filter.request_redirect->path
                             : nullptr;
    if (change && change->replace_prefix_match) return change;
  }
  return nullptr;
}

void set_http_action(const ObjectSet& objects, const HttpRoute& route, const HttpRoute::Rule& rule,
                     const std::string& prefix, Message& message) {
  const Names names{objects, Referrer::of(route)};
  edit_headers(rule.filters, message);
  for (const RouteFilter& filter : rule.filters) {
    if (filter.cors) set_cors(*filter.cors, message);
  }
  for (const RouteFilter& filter : rule.filters) {
    if (filter.request_redirect) return set_redirect(*filter.request_redirect, prefix, message);
  }
  set_backends(names, rule.backend_refs, NoBackend::kHttp500, message);
  if (!message.has_route()) return;
  auto& action = *message.mutable_route();
  if (rule.timeouts.request) set_duration(*rule.timeouts.request, *action.mutable_timeout());
  if (rule.retry) set_retry(*rule.retry, *action.mutable_retry_policy());
  // A retry policy without reasons asks for no retries; it only says how long an attempt may take.
  if (const auto& limit = rule.timeouts.backend_request) {
    set_duration(*limit, *action.mutable_retry_policy()->mutable_per_try_timeout());
  }
  set_mirrors(names, rule.filters, message);
  for (const RouteFilter& filter : rule.filters) {
    if (filter.url_rewrite) set_rewrite(*filter.url_rewrite, prefix, *message.mutable_route());
  }
}

void set_grpc_action(const ObjectSet& objects, const GrpcRoute& route, const GrpcRoute::Rule& rule,
                     Message& message) {
  const Names names{objects, Referrer::of(route)};
  edit_headers(rule.filters, message);
  set_backends(names, rule.backend_refs, NoBackend::kGrpcUnavailable, message);
  if (!message.has_route()) return;
  set_mirrors(names, rule.filters, message);
}

// Without a timeout of anybody's there is no limit: answers of models take as long as they take.
void set_traffic(const TrafficPolicy* policy, Message& message) {
  if (!message.has_route()) return;
  static const TrafficPolicy::Spec kUsual;
  const TrafficPolicy::Spec& spec = policy != nullptr ? policy->spec : kUsual;
  auto& action = *message.mutable_route();
  if (!action.has_timeout()) {
    set_duration(spec.timeouts.request.value_or(0s), *action.mutable_timeout());
  }
  if (spec.retry && action.retry_policy().retry_on().empty()) {
    set_retry(*spec.retry, *action.mutable_retry_policy());
  }
  if (spec.timeouts.backend_request && !action.retry_policy().has_per_try_timeout()) {
    set_duration(*spec.timeouts.backend_request,
                 *action.mutable_retry_policy()->mutable_per_try_timeout());
  }
  if (spec.timeouts.idle) set_duration(*spec.timeouts.idle, *action.mutable_idle_timeout());
}

void answer(Message& message, int status, const std::string& why) {
  message.mutable_direct_response()->set_status(static_cast<uint32_t>(status));
  message.mutable_direct_response()->mutable_body()->set_inline_string(cat(why, "\n"));
}

}  // namespace glia
