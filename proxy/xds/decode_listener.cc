#include "proxy/xds/decode_listener.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"
#include "proxy/xds/decode_accesslog.h"
#include "proxy/xds/decode_common.h"
#include "proxy/xds/decode_filter.h"
#include "proxy/xds/decode_model.h"
#include "proxy/xds/decode_rbac.h"
#include "proxy/xds/decode_route.h"
#include "proxy/xds/decode_tcp.h"
#include "proxy/xds/decode_tls.h"

namespace glia {

namespace {

Codec decode_codec(const Reader& manager) {
  const std::string codec = manager.choice("codec_type");
  if (codec == "HTTP1") return Codec::kHttp1;
  if (codec == "HTTP2") return Codec::kHttp2;
  if (codec != "AUTO") manager.fail("codec_type", cat(codec, " is not supported by glia-proxy"));
  return Codec::kAuto;
}

void decode_limits(const Reader& manager, HttpManager& http) {
  constexpr uint64_t kKilobytesMost = 8192;  // As Envoy.
  HttpLimits& limits = http.server.limits;
  const Reader common = manager.message("common_http_protocol_options");
  decode_common_http_options(common, limits);
  http.max_stream_duration = common.duration("max_stream_duration", http.max_stream_duration);
  decode_http2_options(manager.message("http2_protocol_options"), limits);
  limits.header_bytes =
      1024 * static_cast<uint32_t>(manager.number("max_request_headers_kb",
                                                  limits.header_bytes / 1024, kKilobytesMost, 1));
  limits.header_time = decode_limit(manager, "request_headers_timeout", limits.header_time);
  http.stream_idle_timeout = manager.duration("stream_idle_timeout", http.stream_idle_timeout);
  http.request_timeout = manager.duration("request_timeout", http.request_timeout);
  // Envoy waits so long between its first GOAWAY and its last; ours follows when a PING has come
  // back, which tells as much.
  manager.accept("drain_timeout");
}

void decode_client_cert(const Reader& manager, HttpManager& http) {
  const std::string mode = manager.choice("forward_client_cert_details");
  http.forward_client_cert = mode == "FORWARD_ONLY"          ? ForwardClientCert::kForwardOnly
                             : mode == "APPEND_FORWARD"      ? ForwardClientCert::kAppendForward
                             : mode == "SANITIZE_SET"        ? ForwardClientCert::kSanitizeSet
                             : mode == "ALWAYS_FORWARD_ONLY" ? ForwardClientCert::kAlwaysForwardOnly
                                                             : ForwardClientCert::kSanitize;
  const Reader details = manager.message("set_current_client_cert_details");
  http.client_cert_details = {.subject = details.flag("subject"),
                              .cert = details.flag("cert"),
                              .dns = details.flag("dns"),
                              .uri = details.flag("uri")};
  details.only("chain", false);
}

bool takes_connect(const Route& route) {
  if (!route.forward) return false;
  const ConnectAction connect = route.forward->connect;
  return connect == ConnectAction::kForward || connect == ConnectAction::kTerminate;
}

// CONNECT, WebSocket, or another protocol that takes an HTTP/1.1 connection over whole.
void decode_upgrades(const Reader& manager, HttpManager& http) {
  Http1Options& options = http.server.http1;
  manager.each("upgrade_configs", [&](const Reader& config, std::size_t) {
    std::string type = to_lower(config.text("upgrade_type"));
    if (type == "h2c" || !is_token(type)) {
      config.fail("upgrade_type", cat("\"", type, "\" is not supported by glia-proxy"));
    }
    const bool enabled = config.flag("enabled", true);
    if (type == Request::kConnect) {
      http.connect = options.connect = enabled;
    } else if (enabled) {
      options.upgrades.push_back(std::move(type));
    }
  });
  if (http.routes == nullptr) return;
  for (const VirtualHost& host : http.routes->hosts()) {
    options.connect = options.connect || std::ranges::any_of(host.routes, takes_connect);
  }
}

void decode_http1_options(const Reader& options, Http1Options& http1) {
  http1.accept_http_10 = options.flag("accept_http_10");
  http1.default_host = decode_authority(options, "default_host_for_http_10");
  options.only("enable_trailers", true);  // They pass by an allow list.
}

PathRules decode_path_rules(const Reader& manager) {
  PathRules rules;
  rules.resolve_dots = manager.flag("normalize_path");
  rules.merge_slashes = manager.flag("merge_slashes");
  const std::string action = manager.choice("path_with_escaped_slashes_action");
  rules.escaped_slashes = action == "REJECT_REQUEST"          ? EscapedSlashes::kReject
                          : action == "UNESCAPE_AND_REDIRECT" ? EscapedSlashes::kRedirect
                          : action == "UNESCAPE_AND_FORWARD"  ? EscapedSlashes::kForward
                                                              : EscapedSlashes::kKeep;
  manager.accept("strip_trailing_host_dot");  // Always done.
  return rules;
}

void decode_filters(const Reader& manager, HttpManager& http) {
  bool routed = false;
  manager.each("http_filters", [&](const Reader& filter, std::size_t) {
    const std::string name = filter.text("name");
    const bool optional = filter.flag("is_optional");
    filter.only("disabled", false);
    if (routed) filter.fail("stands behind the router, which must be the last filter");
    if (!filter.has("typed_config")) return filter.fail("has no typed_config");
    const Reader any = filter.message("typed_config");
    if (optional && !any.known_content()) return any.accept_all();
    const Reader config = any.content();
    if (!config.present()) return;
    if (config.type() == "envoy.extensions.filters.http.router.v3.Router") {
      routed = true;
    } else if (config.type() == "glia.v1.ModelRequests") {
      if (http.model || !http.filters.empty()) {
        filter.fail(
            "must be the first filter, and the only one of its type: it is read before a "
            "route is chosen");
      }
      http.model = decode_model_requests(config);
    } else if (auto settings = decode_filter(config)) {
      http.filters.push_back({.name = name, .settings = *std::move(settings)});
    }
  });
  if (!routed) manager.fail("http_filters", "the last filter must be envoy.filters.http.router");
}

void decode_routes(const Reader& manager, HttpManager& http, ListenerResource::Chain& chain) {
  if (manager.has("rds")) {
    const Reader rds = manager.message("rds");
    chain.rds = rds.text("route_config_name");
    if (chain.rds.empty()) rds.fail("has no route_config_name");
    if (!rds.has("config_source")) rds.fail("has no config_source");
    expect_ads(rds.message("config_source"));
  } else if (manager.has("route_config")) {
    http.routes = decode_route_table(manager.message("route_config"), "", http.filters);
  } else {
    manager.fail("needs route_config or rds");
  }
}

void decode_manager(const Reader& manager, HttpManager& http, ListenerResource::Chain& chain) {
  http.stat_prefix = manager.text("stat_prefix");
  if (http.stat_prefix.empty()) manager.fail("has no stat_prefix");
  http.server.codec = decode_codec(manager);
  decode_limits(manager, http);
  decode_client_cert(manager, http);
  decode_filters(manager, http);
  decode_routes(manager, http, chain);
  http.use_remote_address = manager.flag("use_remote_address");
  http.generate_request_id = manager.flag("generate_request_id", true);
  if (manager.has("server_name")) http.server_name = decode_field_text(manager, "server_name");
  http.via = decode_field_text(manager, "via");
  http.path_rules = decode_path_rules(manager);
  decode_upgrades(manager, http);
  decode_http1_options(manager.message("http_protocol_options"), http.server.http1);
  manager.each("access_log", [&](const Reader& log, std::size_t) {
    if (auto decoded = decode_access_log(log)) http.access_logs.push_back(*std::move(decoded));
  });
}

void decode_match(const Reader& match, FilterChain& chain) {
  if (match.has("destination_port")) {
    chain.destination_port = static_cast<uint16_t>(match.number("destination_port", 0, 65535, 1));
  }
  match.each("prefix_ranges", [&](const Reader& range, std::size_t) {
    if (auto decoded = decode_cidr(range)) chain.destinations.push_back(*std::move(decoded));
  });
  for (const std::string& name : match.texts("server_names")) {
    chain.server_names.push_back(to_lower(name));
    const std::size_t star = name.find('*');
    if (name.empty() || (star != name.npos && (star != 0 || !name.starts_with("*.")))) {
      match.fail("server_names", cat("\"", name, "\" is neither a name nor *.name"));
    }
  }
  chain.transport = match.text("transport_protocol");
  if (!chain.transport.empty() && chain.transport != "tls" && chain.transport != "raw_buffer") {
    match.fail("transport_protocol",
               cat("\"", chain.transport, "\" is neither tls nor raw_buffer"));
  }
  chain.application_protocols = match.texts("application_protocols");
}

// One HttpConnectionManager, or one TcpProxy with at most one RBAC before it.
void decode_network_filters(const Reader& chain_reader, FilterChain& chain,
                            ListenerResource::Chain& needs) {
  std::shared_ptr<const RbacConfig> rbac;
  bool terminal = false;
  chain_reader.each("filters", [&](const Reader& filter, std::size_t) {
    filter.accept("name");
    if (!filter.has("typed_config")) return filter.fail("has no typed_config");
    const Reader config = filter.message("typed_config").content();
    if (!config.present()) return;
    if (terminal) return config.accept_all(), filter.fail("stands behind the last network filter");
    const std::string_view type = config.type();
    if (type == "envoy.extensions.filters.network.rbac.v3.RBAC") {
      if (rbac != nullptr) filter.fail("only one network RBAC filter a chain is supported");
      rbac = decode_network_rbac(config);
    } else if (type == "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy") {
      terminal = true;
      chain.tcp = decode_tcp_proxy(config);
      chain.tcp->rbac = rbac;
    } else if (type ==
               "envoy.extensions.filters.network.http_connection_manager.v3."
               "HttpConnectionManager") {
      terminal = true;
      if (rbac != nullptr) filter.fail("a network RBAC filter is supported before TcpProxy only");
      decode_manager(config, chain.http, needs);
    } else {
      config.accept_all();
      config.fail(cat("the network filter ", type, " is not supported by glia-proxy"));
      terminal = true;
    }
  });
  if (!terminal) chain_reader.fail("needs an HttpConnectionManager or a TcpProxy in its filters");
}

void decode_chain(const Reader& reader, ListenerResource& listener) {
  FilterChain chain;
  ListenerResource::Chain needs;
  chain.name = reader.text("name");
  decode_match(reader.message("filter_chain_match"), chain);
  needs.tls =
      decode_transport_socket(reader.message("transport_socket"), TlsContext::Side::kServer);
  chain.handshake_timeout =
      decode_limit(reader, "transport_socket_connect_timeout", chain.handshake_timeout);
  decode_network_filters(reader, chain, needs);
  listener.config.chains.push_back(std::move(chain));
  listener.chains.push_back(std::move(needs));
}

void decode_listener_filter(const Reader& filter, std::size_t index, ListenerConfig& listener) {
  filter.accept("name");
  const Reader config = filter.message("typed_config").content();
  if (!config.present()) {
    if (!filter.has("typed_config")) filter.fail("has no typed_config");
    return;
  }
  const std::string_view type = config.type();
  // TLS is looked for whenever a chain asks what is in its beginning.
  if (type == "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector") return;
  if (type == "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector") {
    listener.http_inspector = true;
    return;
  }
  if (type == "envoy.extensions.filters.listener.original_dst.v3.OriginalDst") {
    listener.captured = true;
    return;
  }
  if (type == "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol") {
    config.only("allow_requests_without_proxy_protocol", false);
    config.accept("stat_prefix");
    if (index > 0) filter.fail("must be the first listener filter: its header comes first");
    listener.proxy_protocol = true;
    return;
  }
  config.accept_all();
  config.fail(cat("the listener filter ", type, " is not supported by glia-proxy"));
}

void refuse_duplicate_matches(const Reader& listener, const std::vector<FilterChain>& chains) {
  for (std::size_t i = 0; i < chains.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (chains[i].destination_port == chains[j].destination_port &&
          chains[i].destinations == chains[j].destinations &&
          chains[i].server_names == chains[j].server_names &&
          chains[i].transport == chains[j].transport &&
          chains[i].application_protocols == chains[j].application_protocols) {
        listener.fail(cat("filter_chains[", i, "]"),
                      cat("takes the same connections as filter_chains[", j, "]"));
      }
    }
  }
}

}  // namespace

ListenerResource decode_listener(const Reader& listener, std::string version) {
  ListenerResource decoded;
  ListenerConfig& config = decoded.config;
  config.name = listener.text("name");
  if (config.name.empty()) listener.fail("has no name");
  config.version = std::move(version);
  listener.accept("metadata");
  listener.only("drain_type", std::string_view("DEFAULT"));
  if (!listener.has("address"))
    listener.fail("has no address");
  else if (auto address = decode_address(listener.message("address")))
    config.address = *address;
  const std::string direction = listener.choice("traffic_direction");
  if (direction != "UNSPECIFIED") config.direction = direction;
  config.reuse_port = listener.flag("enable_reuse_port", true) && !config.address.is_unix();
  listener.each("listener_filters", [&](const Reader& filter, std::size_t index) {
    decode_listener_filter(filter, index, config);
  });
  config.transparent = listener.flag("transparent");
  if (config.transparent && !config.captured) {
    listener.fail("transparent", "needs the listener filter envoy.filters.listener.original_dst");
  }
  if (config.captured && config.proxy_protocol) {
    listener.fail("listener_filters",
                  "original_dst and proxy_protocol both say where a connection "
                  "was going; take one of them");
  }
  config.inspection_timeout =
      decode_limit(listener, "listener_filters_timeout", config.inspection_timeout);
  config.continue_on_timeout = listener.flag("continue_on_listener_filters_timeout");
  listener.each("filter_chains",
                [&](const Reader& chain, std::size_t) { decode_chain(chain, decoded); });
  if (config.chains.empty()) listener.fail("has no filter_chains");
  refuse_duplicate_matches(listener, config.chains);
  if (listener.has("per_connection_buffer_limit_bytes")) {
    const auto limit = static_cast<uint32_t>(
        listener.number("per_connection_buffer_limit_bytes", 1 << 20, 1 << 30, 1024));
    for (FilterChain& chain : config.chains) {
      chain.http.server.limits.write_buffer = limit;
      if (chain.tcp) chain.tcp->buffer = limit;
    }
  }
  config.socket_key =
      cat(config.address.text(), config.reuse_port ? " reuse_port" : "",
          config.captured ? " captured" : "", config.transparent ? " transparent" : "");
  return decoded;
}

}  // namespace glia
