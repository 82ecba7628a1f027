#include "proxy/xds/decode_cluster.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/xds/decode_balancing.h"
#include "proxy/xds/decode_common.h"
#include "proxy/xds/decode_endpoint.h"
#include "proxy/xds/decode_tls.h"

namespace glia {

namespace {

void decode_discovery(const Reader& cluster, ClusterConfig& config) {
  using Discovery = ClusterConfig::Discovery;
  const std::string type = cluster.choice("type");
  if (type == "STATIC")
    config.discovery = Discovery::kStatic;
  else if (type == "STRICT_DNS")
    config.discovery = Discovery::kStrictDns;
  else if (type == "EDS")
    config.discovery = Discovery::kEds;
  else if (type == "ORIGINAL_DST")
    config.discovery = Discovery::kOriginal;
  else
    cluster.fail("type",
                 cat(type,
                     " is not supported by glia-proxy; it can be STATIC, STRICT_DNS, EDS or "
                     "ORIGINAL_DST"));
  if (config.discovery == Discovery::kOriginal) return;
  if (config.discovery == Discovery::kEds) {
    const Reader eds = cluster.message("eds_cluster_config");
    if (!eds.has("eds_config")) cluster.fail("eds_cluster_config", "has no eds_config");
    expect_ads(eds.message("eds_config"));
    config.eds_service_name = eds.text("service_name");
    if (config.eds_service_name.empty()) config.eds_service_name = config.name;
    return;
  }
  if (!cluster.has("load_assignment")) return cluster.fail("has no load_assignment");
  config.endpoints = decode_endpoints(cluster.message("load_assignment"), config.version,
                                      config.discovery == Discovery::kStrictDns);
}

Balancing decode_balancing(const Reader& cluster) {
  using enum Balancing::Policy;
  Balancing balancing;
  if (cluster.has("load_balancing_policy")) {
    // The newer field wins, as in Envoy.
    cluster.accept("lb_policy");
    cluster.accept("least_request_lb_config");
    return decode_balancing_policy(cluster.message("load_balancing_policy"));
  }
  const std::string policy = cluster.choice("lb_policy");
  const bool original = cluster.choice("type") == "ORIGINAL_DST";
  if (original != (policy == "CLUSTER_PROVIDED")) {
    cluster.fail("lb_policy", original
                                  ? "must be CLUSTER_PROVIDED for a cluster of type ORIGINAL_DST"
                                  : "CLUSTER_PROVIDED is for clusters of type ORIGINAL_DST");
  } else if (original || policy == "ROUND_ROBIN")
    balancing.policy = kRoundRobin;
  else if (policy == "LEAST_REQUEST")
    balancing.policy = kLeastRequest;
  else if (policy == "RANDOM")
    balancing.policy = kRandom;
  else
    cluster.fail("lb_policy", cat(policy,
                                  " is not supported by glia-proxy; it can be ROUND_ROBIN, "
                                  "LEAST_REQUEST or RANDOM"));
  if (balancing.policy == kLeastRequest) {
    balancing.choices = decode_choices(cluster.message("least_request_lb_config"));
  }
  return balancing;
}

void decode_panic(const Reader& panic, ClusterConfig& config) {
  if (!panic.present()) return;
  const double percent = panic.real("value", 0);
  if (!(percent >= 0 && percent <= 100)) return panic.fail("value", "is not between 0 and 100");
  config.panic_threshold_percent = static_cast<uint32_t>(percent);
}

ClusterConfig::DnsFamily decode_dns_family(const Reader& cluster) {
  using enum ClusterConfig::DnsFamily;
  const std::string family = cluster.choice("dns_lookup_family");
  if (family == "V4_ONLY") return kV4;
  if (family == "V6_ONLY") return kV6;
  if (family == "V4_PREFERRED") return kV4Preferred;
  return kAll;  // AUTO: the system's order, and what does not answer is passed over.
}

void decode_breaker(const Reader& breakers, CircuitLimits& limits) {
  constexpr uint64_t kMost = 0xFFFFFFFF;
  breakers.each("thresholds", [&](const Reader& threshold, std::size_t) {
    threshold.only("priority", std::string_view("DEFAULT"));
    limits.connections =
        static_cast<uint32_t>(threshold.number("max_connections", limits.connections, kMost));
    limits.pending_requests = static_cast<uint32_t>(
        threshold.number("max_pending_requests", limits.pending_requests, kMost));
    limits.requests =
        static_cast<uint32_t>(threshold.number("max_requests", limits.requests, kMost));
    limits.retries = static_cast<uint32_t>(threshold.number("max_retries", limits.retries, kMost));
  });
  // As in Envoy, connections are all that is limited per endpoint.
  breakers.each("per_host_thresholds", [&](const Reader& threshold, std::size_t) {
    threshold.only("priority", std::string_view("DEFAULT"));
    limits.connections_per_endpoint = static_cast<uint32_t>(
        threshold.number("max_connections", limits.connections_per_endpoint, kMost, 1));
  });
}

// envoy.config.core.v3.BindConfig: at most one address of a family, without a port.
void decode_bind(const Reader& bind, ClusterConfig& config) {
  const auto add = [&](const Reader& address) {
    const std::string text = address.text("address");
    const auto source = Address::ip(text, 0);
    address.accept("port_value");
    if (!source) return address.fail("address", source.error().message());
    const bool known = std::ranges::any_of(
        config.sources, [&](const Address& other) { return other.family() == source->family(); });
    if (known)
      return address.fail("address", cat(text, ": there is an address of its family already"));
    config.sources.push_back(*source);
  };
  if (bind.has("source_address")) add(bind.message("source_address"));
  bind.each("extra_source_addresses",
            [&](const Reader& extra, std::size_t) { add(extra.message("address")); });
}

void decode_preconnect(const Reader& policy, ClusterConfig& config) {
  const Reader ratio = policy.message("per_upstream_preconnect_ratio");
  if (!ratio.present()) return;
  config.preconnect_ratio = ratio.real("value", 1);
  if (config.preconnect_ratio >= 1 && config.preconnect_ratio <= 3) return;
  policy.fail("per_upstream_preconnect_ratio", "must be between 1 and 3");
  config.preconnect_ratio = 1;
}

void decode_common(const Reader& options, ClusterConfig& config) {
  if (!options.present()) return;
  decode_common_http_options(options, config.http);
  config.requests_per_connection = config.http.requests_per_connection;
  config.pool_idle_time = config.http.idle_time;
}

// envoy.extensions.upstreams.http.v3.HttpProtocolOptions
void decode_protocol_options(const Reader& options, ClusterConfig& config) {
  decode_common(options.message("common_http_protocol_options"), config);
  if (options.has("explicit_http_config")) {
    const Reader chosen = options.message("explicit_http_config");
    if (chosen.has("http2_protocol_options")) {
      config.codec = Codec::kHttp2;
      decode_http2_options(chosen.message("http2_protocol_options"), config.http);
    } else {
      config.codec = Codec::kHttp1;
      (void)chosen.message("http_protocol_options");
    }
  } else if (options.has("auto_config")) {
    const Reader chosen = options.message("auto_config");
    config.codec = Codec::kAuto;
    (void)chosen.message("http_protocol_options");
    decode_http2_options(chosen.message("http2_protocol_options"), config.http);
  } else {
    options.fail("needs explicit_http_config or auto_config");
  }
}

void decode_protocol(const Reader& cluster, ClusterConfig& config) {
  cluster.each_in_map(
      "typed_extension_protocol_options", [&](const std::string&, const Reader& any) {
        const Reader options = any.content();
        if (!options.present()) return;
        if (options.type() == "envoy.extensions.upstreams.http.v3.HttpProtocolOptions") {
          return decode_protocol_options(options, config);
        }
        options.accept_all();
        options.fail(cat("the type ", options.type(), " is not supported by glia-proxy here"));
      });
  if (cluster.has("http2_protocol_options")) {  // Deprecated, still common.
    config.codec = Codec::kHttp2;
    decode_http2_options(cluster.message("http2_protocol_options"), config.http);
  }
}

// With TLS, HTTP/2 is told by ALPN; offer what the codec needs unless the configuration did.
void complete_tls(ClusterResource& cluster) {
  if (!cluster.tls || !cluster.tls->options.alpn.empty()) return;
  const Codec codec = cluster.config.codec;
  if (codec == Codec::kHttp2) cluster.tls->options.alpn = {"h2"};
  if (codec == Codec::kAuto) cluster.tls->options.alpn = {"h2", "http/1.1"};
}

}  // namespace

ClusterResource decode_cluster(const Reader& cluster, std::string version) {
  ClusterResource decoded;
  ClusterConfig& config = decoded.config;
  config.name = cluster.text("name");
  if (config.name.empty()) cluster.fail("has no name");
  config.version = std::move(version);
  config.stat_name = cluster.has("alt_stat_name") ? cluster.text("alt_stat_name") : config.name;
  config.model_server = decode_model_server(cluster.message("metadata"));
  decode_discovery(cluster, config);
  config.balancing = decode_balancing(cluster);
  decode_panic(cluster.message("common_lb_config").message("healthy_panic_threshold"), config);
  config.connect_timeout = cluster.duration("connect_timeout", config.connect_timeout);
  if (config.connect_timeout <= Duration::zero())
    cluster.fail("connect_timeout", "must be above 0s");
  config.dns_refresh = cluster.duration("dns_refresh_rate", config.dns_refresh);
  if (config.dns_refresh < 1ms) cluster.fail("dns_refresh_rate", "must be at least 0.001s");
  config.dns_family = decode_dns_family(cluster);
  decode_breaker(cluster.message("circuit_breakers"), config.limits);
  decode_preconnect(cluster.message("preconnect_policy"), config);
  decode_bind(cluster.message("upstream_bind_config"), config);
  decode_protocol(cluster, config);
  config.http.write_buffer = static_cast<uint32_t>(
      cluster.number("per_connection_buffer_limit_bytes", config.http.write_buffer, 1 << 30, 1024));
  decoded.tls = decode_transport_socket(cluster.message("transport_socket"),
                                        TlsContext::Side::kClient, &config.proxy_protocol);
  complete_tls(decoded);
  return decoded;
}

}  // namespace glia
