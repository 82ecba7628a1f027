#include "proxy/xds/decode_route.h"

#include <algorithm>
#include <set>
#include <utility>

#include "proxy/base/text.h"
#include "proxy/http/message.h"
#include "proxy/http/syntax.h"
#include "proxy/xds/decode_common.h"
#include "proxy/xds/decode_filter.h"
#include "proxy/xds/decode_model.h"

namespace glia {

namespace {

using Filters = std::vector<FilterConfig>;

constexpr std::size_t kMostMirrors = 16;  // of one route

// What a route inherits from its virtual host and table.
struct Inherited {
  std::vector<HeaderMutation> request_headers, response_headers;
  std::map<std::string, FilterSettings> filters;
  std::optional<MinimumRate> rate;
  std::optional<ModelName> model_name;
  std::optional<SessionKey> session;
  std::optional<Hedging> hedging;
  std::shared_ptr<const CompareRules> compare;
  std::optional<DiscoverHost> discover;
};

std::optional<TextMatcher> path_text(const Reader& match, std::string_view field,
                                     TextMatcher::Kind kind, std::string text, bool ignore_case) {
  if (text.empty() || (text[0] != '/' && text != "*")) {
    match.fail(field, cat("\"", text, "\" does not begin with /"));
    return {};
  }
  return *TextMatcher::create(kind, std::move(text), ignore_case);
}

PathMatch decode_path_match(const Reader& match) {
  PathMatch decoded;
  if (match.has("connect_matcher")) {
    (void)match.message("connect_matcher");
    decoded.kind = PathMatch::Kind::kConnect;
    return decoded;
  }
  decoded.ignore_case = !match.flag("case_sensitive", true);
  std::optional<TextMatcher> text;
  if (match.has("path")) {
    decoded.kind = PathMatch::Kind::kExact;
    text = path_text(match, "path", TextMatcher::Kind::kExact, match.text("path"),
                     decoded.ignore_case);
  } else if (match.has("path_separated_prefix")) {
    decoded.kind = PathMatch::Kind::kPathSeparatedPrefix;
    std::string prefix = match.text("path_separated_prefix");
    if (prefix.ends_with('/')) match.fail("path_separated_prefix", "must not end with /");
    text = path_text(match, "path_separated_prefix", TextMatcher::Kind::kPrefix, std::move(prefix),
                     decoded.ignore_case);
  } else if (match.has("safe_regex")) {
    decoded.kind = PathMatch::Kind::kRegex;
    text = decode_regex(match.message("safe_regex"));
  } else if (match.has("prefix")) {
    const std::string prefix = match.text("prefix");
    // An empty prefix takes every path, as in Envoy.
    text = path_text(match, "prefix", TextMatcher::Kind::kPrefix, prefix.empty() ? "/" : prefix,
                     decoded.ignore_case);
  } else {
    match.fail("needs prefix, path, safe_regex, path_separated_prefix or connect_matcher");
  }
  if (text) decoded.text = *std::move(text);
  return decoded;
}

RouteMatch decode_match(const Reader& match) {
  RouteMatch decoded;
  decoded.path = decode_path_match(match);
  match.each("headers", [&](const Reader& header, std::size_t) {
    decoded.headers.push_back(decode_header_matcher(header));
  });
  match.each("query_parameters", [&](const Reader& parameter, std::size_t) {
    QueryMatch query{.name = parameter.text("name")};
    if (query.name.empty()) parameter.fail("has no name");
    if (parameter.has("string_match"))
      query.value = decode_text_matcher(parameter.message("string_match"));
    else if (parameter.has("present_match") && !parameter.flag("present_match")) {
      parameter.fail("present_match", "only true is supported by glia-proxy");
    }
    decoded.query.push_back(std::move(query));
  });
  if (match.has("grpc")) {
    (void)match.message("grpc");
    decoded.grpc = true;
  }
  return decoded;
}

void decode_weighted(const Reader& weighted, ForwardAction& forward) {
  weighted.each("clusters", [&](const Reader& cluster, std::size_t) {
    WeightedCluster target{
        .cluster = cluster.text("name"),
        .weight = static_cast<uint32_t>(cluster.number("weight", 0, 0xFFFFFFFF)),
        .request_headers = decode_header_mutation(cluster, "request"),
        .response_headers = decode_header_mutation(cluster, "response"),
    };
    if (target.cluster.empty()) cluster.fail("has no name");
    cluster.each_in_map("typed_per_filter_config", [&](const std::string&, const Reader& any) {
      const Reader config = any.content();
      if (!config.present()) return;
      if (config.type() == "glia.v1.ModelRewrite") {
        target.model_name = decode_model_rewrite(config);
        return;
      }
      config.accept_all();
      config.fail(cat("the type ", config.type(), " is not supported by glia-proxy here"));
    });
    forward.total_weight += target.weight;
    forward.clusters.push_back(std::move(target));
  });
  if (forward.total_weight == 0)
    weighted.fail("the weights add up to 0, so no cluster could be chosen");
  if (forward.total_weight > 0xFFFFFFFF)
    weighted.fail("the weights add up to more than 4294967295");
}

void decode_mirrors(const Reader& action, ForwardAction& forward) {
  action.each("request_mirror_policies", [&](const Reader& policy, std::size_t index) {
    if (index == kMostMirrors) policy.fail(cat("a route has at most ", kMostMirrors, " mirrors"));
    Mirror mirror{.cluster = policy.text("cluster")};
    if (mirror.cluster.empty()) policy.fail("has no cluster");
    if (policy.has("runtime_fraction")) {
      mirror.per_million = decode_share(policy.message("runtime_fraction"));
    }
    mirror.mark_host = !policy.flag("disable_shadow_host_suffix_append");
    if (index < kMostMirrors) forward.mirrors.push_back(std::move(mirror));
  });
}

void decode_path_rewrite(const Reader& action, ForwardAction& forward) {
  const Reader rewrite = action.message("regex_rewrite");
  if (!rewrite.present()) return;
  if (!forward.prefix_rewrite.empty()) rewrite.fail("cannot stand beside prefix_rewrite");
  const Reader pattern = rewrite.message("pattern");
  pattern.accept("google_re2");  // Deprecated, and what we use.
  auto made = TextRewrite::create(pattern.text("regex"), rewrite.text("substitution"));
  if (!made) return rewrite.fail(made.error().message());
  forward.path_rewrite = *std::move(made);
}

int decode_no_cluster_status(const Reader& action) {
  const std::string code = action.choice("cluster_not_found_response_code");
  return code == "NOT_FOUND" ? 404 : code == "INTERNAL_SERVER_ERROR" ? 500 : 503;
}

// As in Envoy, a route that says how long its streams may be has no timeout unless it says that, too.
void decode_max_duration(const Reader& action, ForwardAction& forward) {
  const Reader longest = action.message("max_stream_duration");
  if (!longest.present()) return;
  if (!action.has("timeout")) forward.timeout = 0s;
  forward.max_stream_duration = longest.duration("max_stream_duration");
  forward.grpc_timeout_max = longest.duration("grpc_timeout_header_max", 0s);
  forward.grpc_timeout_offset = longest.duration("grpc_timeout_header_offset", 0s);
}

// Which other protocols may be switched to is said for all routes, where the first bytes are read.
ConnectAction decode_connect(const Reader& action) {
  ConnectAction connect = ConnectAction::kAsManager;
  action.each("upgrade_configs", [&](const Reader& config, std::size_t) {
    const std::string type = config.text("upgrade_type");
    if (to_lower(type) != Request::kConnect) {
      config.fail("upgrade_type",
                  cat("\"", type,
                      "\" is not supported by glia-proxy at a route, only CONNECT; "
                      "write it into the upgrade_configs of the HttpConnectionManager"));
    }
    const bool terminate = config.message("connect_config").present();
    config.message("connect_config").only("allow_post", false);
    connect = !config.flag("enabled", true) ? ConnectAction::kRefuse
              : terminate                   ? ConnectAction::kTerminate
                                            : ConnectAction::kForward;
  });
  return connect;
}

// The words of retry_on. Those that are always done as far as it is safe ask for nothing.
std::optional<uint32_t> retry_reason(std::string_view word) {
  using On = RetryPolicy::On;
  constexpr std::pair<std::string_view, uint32_t> kReasons[] = {
      {"5xx", On::k5xx},
      {"gateway-error", On::kGatewayError},
      {"reset", On::kReset},
      {"connect-failure", On::kConnectFailure},
      {"retriable-4xx", On::kConflict},
      {"retriable-status-codes", On::kStatuses},
      {"cancelled", On::kGrpcCancelled},
      {"deadline-exceeded", On::kGrpcDeadlineExceeded},
      {"internal", On::kGrpcInternal},
      {"resource-exhausted", On::kGrpcResourceExhausted},
      {"unavailable", On::kGrpcUnavailable},
      {"refused-stream", 0},
      {"reset-before-request", 0},
      {"http3-post-connect-failure", 0},
  };
  for (const auto& [name, reason] : kReasons) {
    if (name == word) return reason;
  }
  return {};
}

void decode_retry_reasons(const Reader& policy, RetryPolicy& retry) {
  const std::string words = policy.text("retry_on");
  for_each_member(words, [&](std::string_view word) {
    const auto reason = retry_reason(word);
    if (reason) retry.on |= *reason;
    if (!reason) policy.fail("retry_on", cat("\"", word, "\" is not supported by glia-proxy"));
    return true;
  });
  for (const uint64_t status : policy.numbers("retriable_status_codes", 599, 100)) {
    retry.statuses.push_back(static_cast<int>(status));
  }
}

std::optional<RetryPolicy> decode_retry(const Reader& action) {
  const Reader policy = action.message("retry_policy");
  if (!policy.present()) return {};
  constexpr uint64_t kRetriesMost = 100;
  RetryPolicy retry;
  decode_retry_reasons(policy, retry);
  retry.retries = static_cast<uint32_t>(policy.number("num_retries", retry.retries, kRetriesMost));
  retry.per_try_timeout = policy.duration("per_try_timeout", retry.per_try_timeout);
  retry.per_try_idle_timeout = policy.duration("per_try_idle_timeout", retry.per_try_idle_timeout);
  const Reader pause = policy.message("retry_back_off");
  if (!pause.present()) return retry;
  retry.back_off = pause.duration("base_interval", retry.back_off);
  retry.back_off_most = pause.duration("max_interval", 10 * retry.back_off);
  if (retry.back_off < 1ms) pause.fail("base_interval", "must be at least 1ms");
  if (retry.back_off_most < retry.back_off) pause.fail("max_interval", "is below base_interval");
  return retry;
}

ForwardAction decode_forward(const Reader& action) {
  ForwardAction forward;
  if (action.has("weighted_clusters")) {
    decode_weighted(action.message("weighted_clusters"), forward);
  } else {
    forward.clusters.push_back({.cluster = action.text("cluster")});
    forward.total_weight = 1;
    if (forward.clusters[0].cluster.empty()) action.fail("needs cluster or weighted_clusters");
  }
  forward.timeout = action.duration("timeout", forward.timeout);
  decode_max_duration(action, forward);
  forward.idle_timeout = action.duration("idle_timeout");
  forward.prefix_rewrite = decode_path_text(action, "prefix_rewrite");
  decode_path_rewrite(action, forward);
  forward.host_rewrite = decode_authority(action, "host_rewrite_literal");
  forward.connect = decode_connect(action);
  forward.retry = decode_retry(action);
  decode_mirrors(action, forward);
  forward.no_cluster_status = decode_no_cluster_status(action);
  return forward;
}

DirectAction decode_direct(const Reader& action) {
  DirectAction direct;
  direct.status = static_cast<int>(action.number("status", 200, 599, 200));
  direct.body = decode_data_source(action.message("body"));
  return direct;
}

RedirectAction decode_redirect(const Reader& action) {
  RedirectAction redirect;
  const std::string code = action.choice("response_code");
  redirect.status = code == "FOUND"                ? 302
                    : code == "SEE_OTHER"          ? 303
                    : code == "TEMPORARY_REDIRECT" ? 307
                    : code == "PERMANENT_REDIRECT" ? 308
                                                   : 301;
  redirect.scheme = action.flag("https_redirect") ? "https" : action.text("scheme_redirect");
  if (!redirect.scheme.empty() && !is_token(redirect.scheme)) {
    action.fail("scheme_redirect", "is no scheme; write http or https");
  }
  redirect.host = decode_authority(action, "host_redirect");
  redirect.path = decode_path_text(action, "path_redirect");
  redirect.prefix = decode_path_text(action, "prefix_rewrite");
  if (action.has("port_redirect")) {
    redirect.port = static_cast<uint16_t>(action.number("port_redirect", 0, 65535));
  }
  redirect.strip_query = action.flag("strip_query");
  return redirect;
}

MinimumRate decode_minimum_rate(const Reader& config) {
  MinimumRate rate;
  rate.bytes_per_second = config.number("bytes_per_second", rate.bytes_per_second, 1 << 30);
  rate.window = config.duration("window", rate.window);
  if (rate.window < 1s) config.fail("window", "is below 1s");
  return rate;
}

SessionKey decode_session(const Reader& config) {
  SessionKey key{.name = to_lower(config.text("header"))};
  const std::string cookie = config.text("cookie");
  if (key.name.empty() == cookie.empty()) config.fail("needs either header or cookie");
  if (!cookie.empty()) key = {SessionKey::From::kCookie, cookie};
  return key;
}

Hedging decode_hedging(const Reader& config) {
  constexpr uint64_t kMostLeast = 1000, kMostKept = 16 * 1024 * 1024;
  Hedging hedging;
  if (!config.has("delay") && !config.has("quantile")) config.fail("needs delay or quantile");
  hedging.delay = config.duration("delay", hedging.delay);
  if (config.has("delay") && (hedging.delay < 1ms || hedging.delay > 3600s)) {
    config.fail("delay", "is not from 1ms to 1h");
  }
  hedging.quantile = config.real("quantile", hedging.quantile);
  if (config.has("quantile") && !(hedging.quantile >= 0.5 && hedging.quantile <= 0.999)) {
    config.fail("quantile", "is not from 0.5 to 0.999");
  }
  hedging.budget_percent = config.real("budget_percent", hedging.budget_percent);
  if (!(hedging.budget_percent >= 0 && hedging.budget_percent <= 100)) {
    config.fail("budget_percent", "is not from 0 to 100");
  }
  hedging.least = static_cast<uint32_t>(config.number("least", hedging.least, kMostLeast));
  if (config.choice("requests") == "ALL") hedging.requests = Hedging::Requests::kAll;
  hedging.kept_bytes =
      static_cast<uint32_t>(config.number("kept_bytes", hedging.kept_bytes, kMostKept));
  return hedging;
}

// Envoy's way to ask for it: a try that takes too long is not given up, another one begins beside it.
std::optional<Hedging> decode_hedge_policy(const Reader& action, ForwardAction& forward) {
  const Reader policy = action.message("hedge_policy");
  if (!policy.present()) return {};
  if (policy.number("initial_requests", 1, 1, 1) != 1) return {};
  if (!policy.flag("hedge_on_per_try_timeout")) return {};
  if (!forward.retry || forward.retry->per_try_timeout == 0s) {
    policy.fail("hedge_on_per_try_timeout", "needs a per_try_timeout in the route's retry_policy");
    return {};
  }
  return Hedging{.delay = std::exchange(forward.retry->per_try_timeout, 0s),
                 .requests = Hedging::Requests::kAll};
}

std::shared_ptr<const CompareRules> decode_compare(const Reader& config) {
  constexpr uint64_t kLeast = 1024, kMost = 4 * 1024 * 1024;
  CompareRules rules;
  rules.kept_bytes =
      static_cast<uint32_t>(config.number("kept_bytes", rules.kept_bytes, kMost, kLeast));
  if (config.has("ignore")) rules.ignore = config.texts("ignore");
  rules.absolute = config.real("absolute_tolerance", 0);
  rules.relative = config.real("relative_tolerance", 0);
  for (const auto& [field, value] : {std::pair("absolute_tolerance", rules.absolute),
                                     std::pair("relative_tolerance", rules.relative)}) {
    if (!(value >= 0)) config.fail(field, "is not a number from 0 on");
  }
  return std::make_shared<const CompareRules>(std::move(rules));
}

void decode_per_filter(const Reader& owner, Inherited& own, const Filters& filters) {
  owner.each_in_map("typed_per_filter_config", [&](const std::string& filter, const Reader& any) {
    Reader config = any.content();
    if (config.present() && config.type() == "envoy.config.route.v3.FilterConfig") {
      config.only("disabled", false);
      config.accept("is_optional");
      config = config.message("config").content();
    }
    if (!config.present()) return;
    if (auto settings = decode_filter_of_route(config, filter, filters)) {
      own.filters.insert_or_assign(filter, *std::move(settings));
      return;
    }
    if (config.type() == "glia.v1.MinimumRate") {
      own.rate = decode_minimum_rate(config);
      return;
    }
    if (config.type() == "glia.v1.ModelRewrite") {
      own.model_name = decode_model_rewrite(config);
      return;
    }
    if (config.type() == "glia.v1.Session") {
      own.session = decode_session(config);
      return;
    }
    if (config.type() == "glia.v1.Hedging") {
      own.hedging = decode_hedging(config);
      return;
    }
    if (config.type() == "glia.v1.CompareAnswers") {
      own.compare = decode_compare(config);
      return;
    }
    if (config.type() == "glia.v1.DiscoverHost") {
      own.discover = {.timeout = config.duration("timeout", kDiscoverHost),
                      .idle = config.duration("idle", kForgetHost)};
      if (own.discover->timeout <= 0s) config.fail("timeout", "must be above 0s");
      return;
    }
    config.accept_all();
    config.fail(cat("the type ", config.type(), " is not supported by glia-proxy here"));
  });
}

// An answer of our own to CONNECT must not look as if it opened the tunnel.
void check_direct(const Reader& action, const Route& route) {
  if (route.match.path.kind != PathMatch::Kind::kConnect || route.direct->status >= 300) return;
  action.fail("status", "must be 300 or more behind a connect_matcher: 200 would open a tunnel");
}

// What stands for the prefix that was matched.
void check_prefix_rewrite(const Reader& action, const Route& route, const std::string& rewrite) {
  if (rewrite.empty()) return;
  if (rewrite[0] != '/')
    action.fail("prefix_rewrite", cat("\"", rewrite, "\" does not begin with /"));
  if (route.match.path.kind == PathMatch::Kind::kRegex) {
    action.fail("prefix_rewrite", "needs a match by prefix or path; a safe_regex has no prefix");
  }
  if (route.match.path.kind == PathMatch::Kind::kConnect) {
    action.fail("prefix_rewrite", "needs a match by prefix or path; CONNECT has no path");
  }
}

// Envoy's default order: the most specific level is applied first.
Inherited inherit(const Reader& level, const Inherited& above, const Filters& filters) {
  Inherited own;
  own.request_headers.push_back(decode_header_mutation(level, "request"));
  own.response_headers.push_back(decode_header_mutation(level, "response"));
  for (auto* mutations : {&own.request_headers, &own.response_headers}) {
    if (mutations->front().empty()) mutations->clear();
  }
  own.request_headers.insert(own.request_headers.end(), above.request_headers.begin(),
                             above.request_headers.end());
  own.response_headers.insert(own.response_headers.end(), above.response_headers.begin(),
                              above.response_headers.end());
  if (level.schema()->field("typed_per_filter_config") != nullptr)
    decode_per_filter(level, own, filters);
  own.filters.insert(above.filters.begin(), above.filters.end());
  if (!own.rate) own.rate = above.rate;
  if (!own.model_name) own.model_name = above.model_name;
  if (!own.session) own.session = above.session;
  if (!own.hedging) own.hedging = above.hedging;
  if (own.compare == nullptr) own.compare = above.compare;
  if (!own.discover) own.discover = above.discover;
  return own;
}

Route decode_route(const Reader& route, std::string fallback_name, const Inherited& above,
                   const Filters& filters) {
  Route decoded;
  decoded.name = route.text("name");
  if (decoded.name.empty()) decoded.name = std::move(fallback_name);
  route.accept("metadata");
  if (!route.has("match"))
    route.fail("has no match");
  else
    decoded.match = decode_match(route.message("match"));
  if (route.has("route")) {
    decoded.forward = decode_forward(route.message("route"));
    decoded.hedging = decode_hedge_policy(route.message("route"), *decoded.forward);
    check_prefix_rewrite(route.message("route"), decoded, decoded.forward->prefix_rewrite);
  } else if (route.has("direct_response")) {
    decoded.direct = decode_direct(route.message("direct_response"));
    check_direct(route.message("direct_response"), decoded);
  } else if (route.has("redirect")) {
    decoded.redirect = decode_redirect(route.message("redirect"));
    check_prefix_rewrite(route.message("redirect"), decoded, decoded.redirect->prefix);
  } else {
    route.fail("needs route, redirect or direct_response");
  }
  Inherited all = inherit(route, above, filters);
  decoded.request_headers = std::move(all.request_headers);
  decoded.response_headers = std::move(all.response_headers);
  decoded.filters = std::move(all.filters);
  decoded.rate = all.rate.value_or(decoded.rate);
  decoded.model_name = std::move(all.model_name);
  decoded.discover = all.discover;
  if (decoded.forward && decoded.forward->clusters.size() > 1) decoded.session = all.session;
  if (decoded.forward && all.hedging) decoded.hedging = all.hedging;
  if (decoded.forward && !decoded.forward->mirrors.empty()) decoded.compare = all.compare;
  return decoded;
}

VirtualHost decode_host(const Reader& host, const Inherited& above, std::set<std::string>& taken,
                        const Filters& filters) {
  VirtualHost decoded;
  decoded.name = host.text("name");
  if (decoded.name.empty()) host.fail("has no name");
  host.only("require_tls", std::string_view("NONE"));
  for (const std::string& domain : host.texts("domains")) {
    decoded.domains.push_back(to_lower(domain));
    if (domain.empty()) host.fail("domains", "has an empty domain");
    const std::size_t star = domain.find('*');
    if (star != domain.npos && star != 0 && star + 1 != domain.size()) {
      host.fail("domains",
                cat("\"", domain, "\" may have a * only as its first or last character"));
    }
    if (!taken.insert(decoded.domains.back()).second) {
      host.fail("domains", cat("\"", domain, "\" is in another virtual host as well"));
    }
  }
  if (decoded.domains.empty()) host.fail("has no domains");
  const Inherited inherited = inherit(host, above, filters);
  host.each("routes", [&](const Reader& route, std::size_t index) {
    decoded.routes.push_back(
        decode_route(route, cat(decoded.name, "[", index, "]"), inherited, filters));
  });
  return decoded;
}

}  // namespace

std::shared_ptr<const RouteTable> decode_route_table(const Reader& table, std::string version,
                                                     const std::vector<FilterConfig>& filters) {
  table.only("validate_clusters", false);
  const Inherited inherited = inherit(table, {}, filters);
  std::vector<VirtualHost> hosts;
  std::set<std::string> names, domains;
  table.each("virtual_hosts", [&](const Reader& host, std::size_t) {
    hosts.push_back(decode_host(host, inherited, domains, filters));
    if (!names.insert(hosts.back().name).second) {
      host.fail("name",
                cat("\"", hosts.back().name, "\" is the name of another virtual host as well"));
    }
  });
  return std::make_shared<const RouteTable>(table.text("name"), std::move(version),
                                            std::move(hosts));
}

}  // namespace glia
