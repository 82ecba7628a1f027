#include "proxy/xds/print.h"

#include "proxy/base/text.h"
#include "proxy/xds/decode_route.h"

namespace glia {

namespace {

using Lines = std::string;

template <class... Pieces>
void line(Lines& out, int depth, const Pieces&... pieces) {
  out.append(static_cast<std::size_t>(depth) * 2, ' ');
  out += cat(pieces...);
  out += '\n';
}

std::string seconds(Duration duration) { return cat(to_seconds(duration), "s"); }

// " word value" unless it is the default.
template <class Value>
std::string unless(std::string_view word, const Value& value, const Value& usual) {
  return value == usual ? "" : cat(" ", word, " ", value);
}
std::string unless(std::string_view word, Duration value, Duration usual) {
  return value == usual ? "" : cat(" ", word, " ", seconds(value));
}

// The word of an enum's value; the words stand in the enum's order.
template <std::size_t kCount, class Enum>
std::string_view named(const std::string_view (&words)[kCount], Enum value) {
  const auto index = static_cast<std::size_t>(value);
  CHECK(index < kCount);
  return words[index];
}

std::string_view word(TextMatcher::Kind kind) {
  constexpr std::string_view kWords[] = {"exact", "prefix", "suffix", "contains", "regex"};
  return named(kWords, kind);
}

std::string text_of(const TextMatcher& matcher) {
  return cat(word(matcher.kind()), " \"", matcher.pattern(), "\"",
             matcher.ignore_case() ? " any case" : "");
}

std::string text_of(const HeaderMatcher& matcher) {
  std::string text = cat(matcher.name, matcher.invert ? " not" : "");
  if (matcher.value)
    text += cat(" ", text_of(*matcher.value));
  else if (matcher.range)
    text += cat(" in [", matcher.range->start, ", ", matcher.range->end, ")");
  else
    text += matcher.present ? " present" : " absent";
  return text + (matcher.missing_is_empty ? " or missing as empty" : "");
}

std::string text_of(const RouteMatch& match) {
  std::string text = match.path.kind == PathMatch::Kind::kPathSeparatedPrefix ? "segments " : "";
  text += match.path.kind == PathMatch::Kind::kConnect ? "CONNECT" : text_of(match.path.text);
  for (const HeaderMatcher& header : match.headers) text += cat(" and ", text_of(header));
  for (const QueryMatch& query : match.query) {
    text += cat(" and ?", query.name, query.value ? cat(" ", text_of(*query.value)) : "");
  }
  return text + (match.grpc ? " and gRPC" : "");
}

std::string text_of(const RbacRule& rule) {
  using Kind = RbacRule::Kind;
  const auto children = [&](std::string_view between) {
    std::string text = "(";
    for (const RbacRule& child : rule.children)
      text += cat(text.size() > 1 ? between : "", text_of(child));
    return text + ")";
  };
  switch (rule.kind) {
    case Kind::kAny: return "any";
    case Kind::kAll: return children(" and ");
    case Kind::kEither: return children(" or ");
    case Kind::kNot: return cat("not ", children(""));
    case Kind::kHeader: return rule.header ? cat("header ", text_of(*rule.header)) : "";
    case Kind::kPath: return rule.text ? cat("path ", text_of(*rule.text)) : "";
    case Kind::kDestinationPort: return cat("port ", rule.port);
    case Kind::kDestinationIp: return rule.cidr ? cat("destination ", rule.cidr->text()) : "";
    case Kind::kServerName: return rule.text ? cat("server name ", text_of(*rule.text)) : "";
    case Kind::kAuthenticated: return rule.text ? cat("peer ", text_of(*rule.text)) : "any peer";
    case Kind::kSourceIp: return rule.cidr ? cat("source ", rule.cidr->text()) : "";
    case Kind::kPeerIp: return rule.cidr ? cat("peer address ", rule.cidr->text()) : "";
  }
  return "";
}

void print_rules(Lines& out, int depth, std::string_view what,
                 const std::optional<RbacRules>& rules) {
  if (!rules) return;
  line(out, depth, what, rules->action == RbacRules::Action::kAllow ? " allow" : " deny");
  for (const RbacPolicy& policy : rules->policies) {
    line(out, depth + 1, "policy ", policy.name);
    for (const RbacRule& rule : policy.permissions) line(out, depth + 2, "may ", text_of(rule));
    for (const RbacRule& rule : policy.principals) line(out, depth + 2, "who ", text_of(rule));
  }
}

// One for each alternative of FilterSettings.
void print_settings(Lines& out, int depth, std::string_view name, const RbacConfig& rbac) {
  line(out, depth, "filter ", name, rbac.rules || rbac.shadow ? "" : " off");
  print_rules(out, depth + 1, "rules", rbac.rules);
  print_rules(out, depth + 1, "shadow rules", rbac.shadow);
}

void print_settings(Lines& out, int depth, std::string_view name, const CorsPolicy& cors) {
  std::string text;
  for (const TextMatcher& origin : cors.origins) text += cat(" origin ", text_of(origin));
  const std::string none;
  text += cat(unless("methods", cors.methods, none), unless("headers", cors.headers, none),
              unless("exposed", cors.exposed, none), unless("max-age", cors.max_age, none),
              cors.credentials ? " credentials" : "",
              cors.forward_others ? "" : " other origins refused");
  line(out, depth, "filter ", name, text);
}

void print_settings(Lines& out, int depth, std::string_view name,
                    const AdmissionConfig& admission) {
  constexpr std::string_view kCosts[] = {"tokens", "rows", "requests"};
  const AdmissionConfig usual;
  line(out, depth, "filter ", name, " admission",
       unless("application", admission.application, usual.application), " concurrency ",
       admission.concurrency > 0 ? cat(admission.concurrency) : "learned",
       unless("at most", admission.most_concurrency, usual.most_concurrency),
       unless("cost at once", admission.cost_at_once, usual.cost_at_once),
       unless("queue", admission.queue, usual.queue), unless("wait", admission.wait, usual.wait),
       unless("heartbeat", admission.heartbeat, usual.heartbeat), " cost ",
       named(kCosts, admission.cost),
       unless("usual output tokens", admission.usual_output_tokens, usual.usual_output_tokens),
       admission.tenants == AdmissionConfig::Tenants::kCallers ? " tenants are callers" : "");
}

void print_settings(Lines& out, int depth, std::string_view name,
                    const TokenBudgetsConfig& budgets) {
  constexpr std::string_view kStops[] = {"never", "when empty", "at reservation"};
  const TokenBudgetsConfig usual;
  line(out, depth, "filter ", name, " token budgets",
       unless("application", budgets.application, usual.application),
       unless("usual output tokens", budgets.usual_output_tokens, usual.usual_output_tokens),
       budgets.tenants == AdmissionConfig::Tenants::kCallers ? " tenants are callers" : "",
       budgets.keep_requests ? " keep requests" : "");
  if (budgets.redis != nullptr) {
    constexpr std::string_view kAway[] = {"local", "allow", "refuse"};
    const RedisConfig& redis = *budgets.redis;
    line(out, depth + 1, "redis ", redis.address, unless("share", redis.share, std::string()),
         unless("username", redis.username, std::string()),
         redis.password.empty() ? "" : " with a password", " timeout ", seconds(redis.timeout),
         " when away ", named(kAway, redis.when_away));
  }
  for (const TokenBudget& budget : budgets.budgets) {
    const TokenBudget all;
    line(out, depth + 1, "budget ", budget.name, " ", budget.tokens, " tokens in ",
         seconds(budget.per), unless("model", budget.model, all.model),
         unless("tenant", budget.tenant, all.tenant), budget.each_model ? " each model" : "",
         budget.each_tenant ? " each tenant" : "",
         budget.stop == all.stop ? "" : cat(" stop streams ", named(kStops, budget.stop)));
  }
}

void print_filter(Lines& out, int depth, std::string_view name, const FilterSettings& settings) {
  std::visit([&](const auto& one) { print_settings(out, depth, name, *one); }, settings);
}

void print_mutation(Lines& out, int depth, std::string_view what, const HeaderMutation& mutation) {
  constexpr std::string_view kWords[] = {"append", "add if absent", "set", "replace"};
  for (const HeaderAddition& add : mutation.add) {
    line(out, depth, what, " ", named(kWords, add.action), " ", add.name, ": ", add.value);
  }
  for (const std::string& name : mutation.remove) line(out, depth, what, " remove ", name);
}

std::string text_of(const ModelName& name) {
  return cat("model becomes ", name.model,
             name.version.empty() ? "" : cat(" version ", name.version));
}

std::string text_of(const RetryPolicy& retry) {
  constexpr std::string_view kReasons[] = {
      "reset",     "gateway-error",     "5xx",      "connect-failure",    "409",        "status",
      "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"};
  std::string text = cat(unless("attempt", retry.per_try_timeout, 0s),
                         unless("attempt idle", retry.per_try_idle_timeout, 0s));
  if (retry.on == 0) return text;
  text += cat(" retries ", retry.retries, " on");
  for (std::size_t i = 0; i < std::size(kReasons); ++i) {
    if ((retry.on >> i & 1) != 0) text += cat(" ", kReasons[i]);
  }
  for (const int status : retry.statuses) text += cat(" ", status);
  const RetryPolicy usual;
  return cat(text, unless("after", retry.back_off, usual.back_off),
             unless("to", retry.back_off_most, usual.back_off_most));
}

std::string text_of(const Hedging& hedging) {
  const Hedging usual;
  std::string text = "second copy";
  if (hedging.quantile > 0) text += cat(" after quantile ", hedging.quantile);
  return cat(text, unless("after", hedging.delay, usual.delay),
             unless("budget percent", hedging.budget_percent, usual.budget_percent),
             unless("at least", hedging.least, usual.least),
             unless("kept bytes", hedging.kept_bytes, usual.kept_bytes),
             hedging.requests == Hedging::Requests::kAll ? " of any request" : "");
}

void print_forward(Lines& out, int depth, const std::string& head, const ForwardAction& forward) {
  std::string rest = unless("timeout", forward.timeout, 15s);
  if (forward.idle_timeout) rest += cat(" idle timeout ", seconds(*forward.idle_timeout));
  if (forward.max_stream_duration) {
    rest += cat(" longest stream ", seconds(*forward.max_stream_duration));
  }
  rest += unless("longest grpc-timeout", forward.grpc_timeout_max, 0s);
  rest += unless("grpc-timeout less", forward.grpc_timeout_offset, 0s);
  if (!forward.prefix_rewrite.empty()) rest += cat(" prefix becomes ", forward.prefix_rewrite);
  if (forward.path_rewrite) {
    rest += cat(" path \"", forward.path_rewrite->pattern(), "\" becomes \"",
                forward.path_rewrite->substitution(), "\"");
  }
  rest += unless("without cluster", forward.no_cluster_status, 503);
  if (!forward.host_rewrite.empty()) rest += cat(" host becomes ", forward.host_rewrite);
  constexpr std::string_view kConnect[] = {"", " CONNECT refused", " CONNECT forwarded",
                                           " CONNECT ends here"};
  rest += kConnect[static_cast<int>(forward.connect)];
  if (forward.retry) rest += text_of(*forward.retry);
  if (forward.clusters.size() == 1) {
    line(out, depth, head, " -> cluster ", forward.clusters[0].cluster, rest);
  } else {
    line(out, depth, head, " -> split", rest);
  }
  for (const WeightedCluster& target : forward.clusters) {
    if (forward.clusters.size() > 1) {
      line(out, depth + 1, target.weight, "/", forward.total_weight, " cluster ", target.cluster);
    }
    if (target.model_name) line(out, depth + 2, text_of(*target.model_name));
    print_mutation(out, depth + 2, "request", target.request_headers);
    print_mutation(out, depth + 2, "response", target.response_headers);
  }
  for (const Mirror& mirror : forward.mirrors) {
    line(out, depth + 1, "mirror ", mirror.per_million, "/1000000 to cluster ", mirror.cluster,
         mirror.mark_host ? "" : " host unchanged");
  }
}

std::string text_of(const CompareRules& rules) {
  std::string ignored;
  for (const std::string& field : rules.ignore) ignored += cat(" ", field);
  return cat("compare answers of copies up to ", rules.kept_bytes, " bytes",
             rules.absolute > 0 ? cat(" absolute tolerance ", rules.absolute) : "",
             rules.relative > 0 ? cat(" relative tolerance ", rules.relative) : "",
             ignored.empty() ? "" : cat(" without", ignored));
}

void print_route(Lines& out, int depth, const Route& route) {
  const std::string head = cat("route ", route.name, ": ", text_of(route.match));
  if (route.forward) print_forward(out, depth, head, *route.forward);
  if (route.direct) {
    line(out, depth, head, " -> answer ", route.direct->status, " with ", route.direct->body.size(),
         " bytes");
  }
  if (route.redirect) {
    const RedirectAction& to = *route.redirect;
    line(out, depth, head, " -> redirect ", to.status, unless("scheme", to.scheme, std::string()),
         unless("host", to.host, std::string()), to.port ? cat(" port ", *to.port) : "",
         unless("path", to.path, std::string()), unless("prefix", to.prefix, std::string()),
         to.strip_query ? " without query" : "");
  }
  for (const HeaderMutation& mutation : route.request_headers)
    print_mutation(out, depth + 1, "request", mutation);
  for (const HeaderMutation& mutation : route.response_headers)
    print_mutation(out, depth + 1, "response", mutation);
  if (const MinimumRate usual; route.rate.bytes_per_second == 0) {
    line(out, depth + 1, "no minimum rate");
  } else if (route.rate.in_a_window() != usual.in_a_window() || route.rate.window != usual.window) {
    line(out, depth + 1, "at least ", route.rate.bytes_per_second, " bytes/s for ",
         seconds(route.rate.window));
  }
  if (route.discover) {
    const Duration idle = route.discover->idle;
    line(out, depth + 1, "discovers the host within ", seconds(route.discover->timeout),
         idle == kForgetHost ? ""
         : idle > 0s         ? cat(", forgets it after ", seconds(idle))
                             : ", keeps it");
  }
  if (route.model_name) line(out, depth + 1, text_of(*route.model_name));
  if (route.session) {
    const bool header = route.session->from == SessionKey::From::kHeader;
    line(out, depth + 1, "session by ", header ? "header " : "cookie ", route.session->name);
  }
  if (route.hedging) line(out, depth + 1, text_of(*route.hedging));
  if (route.compare != nullptr) line(out, depth + 1, text_of(*route.compare));
  for (const auto& [name, settings] : route.filters) {
    print_filter(out, depth + 1, name, settings);
  }
}

void print_routes(Lines& out, int depth, const RouteTable& table) {
  line(out, depth, "routes ", table.name(),
       table.version().empty() ? "" : cat(" version ", table.version()));
  for (const VirtualHost& host : table.hosts()) {
    std::string domains;
    for (const std::string& domain : host.domains) domains += cat(" ", domain);
    line(out, depth + 1, "host ", host.name, ":", domains);
    for (const Route& route : host.routes) print_route(out, depth + 2, route);
  }
}

std::string_view word(Codec codec) {
  return codec == Codec::kHttp1 ? "http1" : codec == Codec::kHttp2 ? "http2" : "auto";
}

std::string text_of(const HttpLimits& limits) {
  const HttpLimits usual;
  return cat(unless("header bytes", limits.header_bytes, usual.header_bytes),
             unless("header fields", limits.header_fields, usual.header_fields),
             unless("streams", limits.streams, usual.streams),
             unless("stream window", limits.stream_window, usual.stream_window),
             unless("connection window", limits.connection_window, usual.connection_window),
             unless("outbound frames", limits.outbound_frames, usual.outbound_frames),
             unless("outbound control frames", limits.outbound_control_frames,
                    usual.outbound_control_frames),
             unless("empty frames", limits.empty_frames, usual.empty_frames),
             unless("priority frames a stream", limits.priority_frames_per_stream,
                    usual.priority_frames_per_stream),
             unless("window updates a data frame", limits.window_updates_per_data_frame,
                    usual.window_updates_per_data_frame),
             unless("write buffer", limits.write_buffer, usual.write_buffer),
             unless("header time", limits.header_time, usual.header_time),
             unless("idle time", limits.idle_time, usual.idle_time),
             unless("requests a connection", limits.requests_per_connection,
                    usual.requests_per_connection),
             unless("connection age", limits.connection_age, usual.connection_age),
             unless("ping after", limits.keepalive_interval, usual.keepalive_interval),
             unless("ping answered in", limits.keepalive_timeout, usual.keepalive_timeout),
             limits.allow_connect ? " extended CONNECT" : "");
}

std::string text_of(const Http1Options& http1) {
  std::string text = http1.accept_http_10 ? " http/1.0" : "";
  if (!http1.default_host.empty()) text += cat(" for host ", http1.default_host);
  for (const std::string& upgrade : http1.upgrades) text += cat(" upgrade ", upgrade);
  if (http1.connect) text += " CONNECT";
  return text;
}

std::string text_of(const PathRules& rules) {
  constexpr std::string_view kSlashes[] = {
      "", " escaped slashes refused", " escaped slashes redirected", " escaped slashes decoded"};
  return cat(rules.resolve_dots ? " dots resolved" : "",
             rules.merge_slashes ? " slashes merged" : "", named(kSlashes, rules.escaped_slashes));
}

std::string text_of(const TlsContext* tls) {
  if (tls == nullptr) return " clear text";
  std::string text = " tls";
  if (const auto own = tls->own_certificate()) {
    for (const std::string& name : own->uri_sans) text += cat(" ", name);
    for (const std::string& name : own->dns_sans) text += cat(" ", name);
  }
  return text;
}

void print_log(Lines& out, int depth, const AccessLogConfig& log) {
  line(out, depth, "access log ", log.path,
       log.json_format.empty() ? "" : cat(" with ", log.json_format.size(), " fields"));
}

void print_http(Lines& out, int depth, const HttpManager& http) {
  constexpr std::string_view kForward[] = {"sanitize", "forward_only", "append_forward",
                                           "sanitize_set", "always_forward_only"};
  const HttpManager usual;
  line(out, depth, "http ", http.stat_prefix, " codec ", word(http.server.codec),
       text_of(http.server.limits),
       unless("stream idle timeout", http.stream_idle_timeout, usual.stream_idle_timeout),
       unless("request timeout", http.request_timeout, usual.request_timeout),
       unless("longest stream", http.max_stream_duration, usual.max_stream_duration),
       unless("server", http.server_name, usual.server_name), text_of(http.server.http1),
       http.connect ? " forwarded" : "", text_of(http.path_rules),
       unless("via", http.via, usual.via), http.use_remote_address ? " remote address" : "",
       http.generate_request_id ? "" : " no request id", " client certificate ",
       named(kForward, http.forward_client_cert));
  for (const AccessLogConfig& log : http.access_logs) print_log(out, depth + 1, log);
  if (http.model) {
    const ModelReading least;
    line(out, depth + 1, "model requests",
         unless("held bytes", http.model->held_bytes, least.held_bytes),
         http.model->unknown == ModelReading::Unknown::kRefuse ? " unknown refused" : "",
         http.model->always ? " always" : "", http.model->prefix_hashes ? " prefix hashes" : "");
  }
  for (const FilterConfig& filter : http.filters) {
    print_filter(out, depth + 1, filter.name, filter.settings);
  }
  if (http.routes)
    print_routes(out, depth + 1, *http.routes);
  else
    line(out, depth + 1, "routes not arrived");
}

void print_tcp(Lines& out, int depth, const TcpProxy& tcp) {
  const TcpProxy usual;
  line(out, depth, "tcp ", tcp.stat_prefix,
       unless("idle timeout", tcp.idle_timeout, usual.idle_timeout),
       unless("at most", tcp.longest, usual.longest),
       unless("attempts", tcp.connect_attempts, usual.connect_attempts),
       unless("buffer", tcp.buffer, usual.buffer));
  for (const TcpProxy::Target& target : tcp.targets) {
    line(out, depth + 1,
         tcp.targets.size() > 1 ? cat(target.weight, "/", tcp.total_weight, " ") : "", "cluster ",
         target.cluster);
  }
  for (const AccessLogConfig& log : tcp.access_logs) print_log(out, depth + 1, log);
  if (tcp.rbac) print_settings(out, depth + 1, "rbac", *tcp.rbac);
}

void print_listener(Lines& out, const ListenerConfig& listener) {
  line(out, 0, "listener ", listener.name, " ", listener.address.text(),
       listener.direction.empty() ? "" : cat(" ", listener.direction),
       listener.reuse_port ? "" : " one socket", listener.proxy_protocol ? " proxy header" : "",
       listener.captured ? " captured" : "", listener.transparent ? " transparent" : "",
       listener.http_inspector ? " tells http" : "",
       unless("inspection", listener.inspection_timeout, ListenerConfig().inspection_timeout),
       listener.continue_on_timeout ? " then goes on" : "",
       listener.version.empty() ? "" : cat(" version ", listener.version));
  for (const FilterChain& chain : listener.chains) {
    std::string takes;
    if (chain.destination_port) takes += cat(" port ", *chain.destination_port);
    for (const CidrRange& range : chain.destinations) takes += cat(" to ", range.text());
    for (const std::string& name : chain.server_names) takes += cat(" name ", name);
    if (!chain.transport.empty()) takes += cat(" transport ", chain.transport);
    for (const std::string& name : chain.application_protocols) takes += cat(" alpn ", name);
    line(out, 1, "chain", chain.name.empty() ? "" : cat(" ", chain.name), text_of(chain.tls.get()),
         takes.empty() ? "" : " takes", takes, unless("handshake", chain.handshake_timeout, 15s));
    if (chain.tcp)
      print_tcp(out, 2, *chain.tcp);
    else
      print_http(out, 2, chain.http);
  }
}

std::string text_of(const ReportWeights& weights) {
  const ReportWeights usual;
  std::string text = cat(unless("blackout", weights.blackout, usual.blackout),
                         unless("expiry", weights.expiry, usual.expiry),
                         unless("update", weights.update, usual.update),
                         unless("error penalty", weights.error_penalty, usual.error_penalty));
  for (const std::string& metric : weights.metrics) text += cat(" use of ", metric);
  return text;
}

std::string text_of(const ModelBalancing& model) {
  constexpr std::string_view kPickers[] = {"composed",         "least_loaded_of_two",
                                           "hot_cold",         "prefix_affinity",
                                           "adapter_affinity", "session_affinity"};
  const ModelBalancing usual;
  return cat(" ", named(kPickers, model.picker),
             unless("half life", model.half_life, usual.half_life),
             unless("hot quantile", model.hot_quantile, usual.hot_quantile),
             unless("probes", model.probes, usual.probes),
             unless("probe age", model.probe_age, usual.probe_age),
             unless("affinity", model.affinity, usual.affinity),
             unless("prefix blocks", model.prefix_blocks, usual.prefix_blocks),
             unless("session", model.session_header, usual.session_header));
}

void print_model_server(Lines& out, const ModelServerConfig& server) {
  const ModelServerConfig usual;
  line(out, 1, "model server ", name_of(server.engine), " metrics ", server.metrics.text(),
       server.path, unless("every", server.interval, usual.interval),
       unless("timeout", server.timeout, usual.timeout));
}

std::string text_of(const Balancing& balancing) {
  switch (balancing.policy) {
    case Balancing::Policy::kRoundRobin: return "round_robin";
    case Balancing::Policy::kRandom: return "random";
    case Balancing::Policy::kLeastRequest:
      return cat("least_request", unless("choices", balancing.choices, Balancing().choices));
    case Balancing::Policy::kWeightedByReports:
      return cat("weighted_by_reports", text_of(balancing.weights),
                 unless("told each", balancing.oob_interval, Duration::zero()));
    case Balancing::Policy::kModel:
      return cat("model", text_of(balancing.model),
                 unless("told each", balancing.oob_interval, Duration::zero()));
  }
  CHECK(!"unknown balancing");
}

void print_cluster(Lines& out, const ClusterConfig& cluster) {
  constexpr std::string_view kDiscovery[] = {"static", "strict_dns", "eds", "original"};
  constexpr std::string_view kHealth[] = {"", " unhealthy", " draining"};
  constexpr std::string_view kDnsFamily[] = {"", " ipv4 only", " ipv6 only", " ipv4 preferred"};
  const ClusterConfig usual;
  std::string sources;
  for (const Address& source : cluster.sources) sources += cat(" from ", source.ip_text());
  line(out, 0, "cluster ", cluster.name, " ", named(kDiscovery, cluster.discovery),
       unless("service", cluster.eds_service_name, std::string()), " ", text_of(cluster.balancing),
       " ", word(cluster.codec), text_of(cluster.tls.get()),
       unless("connect timeout", cluster.connect_timeout, usual.connect_timeout),
       unless("dns refresh", cluster.dns_refresh, usual.dns_refresh),
       named(kDnsFamily, cluster.dns_family),
       unless("panic below", cluster.panic_threshold_percent, usual.panic_threshold_percent),
       unless("connections", cluster.limits.connections, usual.limits.connections),
       unless("connections an endpoint", cluster.limits.connections_per_endpoint,
              usual.limits.connections_per_endpoint),
       unless("preconnect", cluster.preconnect_ratio, usual.preconnect_ratio),
       unless("pending", cluster.limits.pending_requests, usual.limits.pending_requests),
       unless("requests", cluster.limits.requests, usual.limits.requests),
       unless("retries", cluster.limits.retries, usual.limits.retries), text_of(cluster.http),
       !cluster.proxy_protocol                        ? ""
       : *cluster.proxy_protocol == ProxyVersion::kV1 ? " proxy header v1"
                                                      : " proxy header v2",
       sources, cluster.stat_name == cluster.name ? "" : cat(" stats as ", cluster.stat_name),
       cluster.version.empty() ? "" : cat(" version ", cluster.version));
  if (cluster.model_server) print_model_server(out, *cluster.model_server);
  if (cluster.discovery == ClusterConfig::Discovery::kOriginal) return;
  if (!cluster.endpoints) return line(out, 1, "endpoints not arrived");
  for (const EndpointConfig& endpoint : cluster.endpoints->endpoints) {
    line(out, 1, "endpoint ",
         endpoint.host.empty() ? endpoint.address.text() : cat(endpoint.host, ":", endpoint.port),
         unless("weight", endpoint.weight, 1u), named(kHealth, endpoint.health),
         unless("in", endpoint.locality, std::string()));
  }
}

}  // namespace

std::string print(const Snapshot& snapshot) {
  Lines out;
  line(out, 0, "node ", snapshot.node_id.empty() ? "without id" : snapshot.node_id, " version ",
       snapshot.version);
  for (const auto& [name, listener] : snapshot.listeners) print_listener(out, *listener);
  for (const auto& [name, cluster] : snapshot.clusters) print_cluster(out, *cluster);
  return out;
}

}  // namespace glia
