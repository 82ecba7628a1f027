// Tables of resources in YAML and the exact sentences with which they are refused.
#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "proxy/xds/draft.h"
#include "proxy/xds/wire.h"
#include "proxy/xds/yaml.h"

namespace glia {
namespace {

struct Case {
  const char* yaml;
  const char* sentences;  // A line each.
};

ResourceRef decode(ResourceKind kind, std::string_view yaml, Errors& errors,
                   const std::vector<FilterConfig>& filters = {}) {
  Message message(*MessageSchema::find(message_of(kind)));
  Errors reading("t");
  read_yaml(yaml, message, reading);
  EXPECT_EQ(reading.joined(), "") << yaml;
  // By the wire, as ADS brings it.
  const Result<Message> arrived = decode_wire(message.schema(), encode_wire(message));
  EXPECT_TRUE(arrived.ok()) << arrived.error().message();
  return decode_resource(kind, *arrived, "7", std::string(word_of(kind)), {}, errors, filters);
}

void expect(ResourceKind kind, const Case& c) {
  Errors errors;
  decode(kind, c.yaml, errors);
  std::string all;
  for (const std::string& sentence : errors.sentences()) all += sentence + "\n";
  EXPECT_EQ(all, c.sentences) << c.yaml;
}

TEST(DecodeCluster, RefusesWithThePathOfTheField) {
  const Case cases[] = {
      {"name: a\nload_assignment: {cluster_name: a}", ""},
      {"load_assignment: {}", "cluster: has no name\n"},
      {"name: a\ntype: LOGICAL_DNS\nload_assignment: {}",
       "cluster.type: LOGICAL_DNS is not supported by glia-proxy; it can be STATIC, STRICT_DNS, "
       "EDS or "
       "ORIGINAL_DST\n"},
      {"name: a\ntype: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED", ""},
      {"name: a\ntype: ORIGINAL_DST",
       "cluster.lb_policy: must be CLUSTER_PROVIDED for a cluster of type ORIGINAL_DST\n"},
      {"name: a\nlb_policy: CLUSTER_PROVIDED\nload_assignment: {}",
       "cluster.lb_policy: CLUSTER_PROVIDED is for clusters of type ORIGINAL_DST\n"},
      {"name: a\nload_assignment: {}\nupstream_bind_config: {source_address: {address: 127.0.0.6, "
       "port_value: 0}, extra_source_addresses: [{address: {address: 127.0.0.7, port_value: 0}}]}",
       "cluster.upstream_bind_config.extra_source_addresses[0].address.address: 127.0.0.7: there "
       "is "
       "an address of its family already\n"},
      {"name: a\nload_assignment: {}\nload_balancing_policy: {policies: []}",
       "cluster.load_balancing_policy.policies: is empty; it can be round_robin, least_request, "
       "random, client_side_weighted_round_robin or glia.v1.ModelBalancing\n"},
      {"name: a\nload_assignment: {}\nload_balancing_policy: {policies: [{typed_extension_config: "
       "{name: x, typed_config: {\"@type\": t/envoy.extensions.filters.http.router.v3.Router}}}]}",
       "cluster.load_balancing_policy.policies: has none that glia-proxy supports (x); it can be "
       "round_robin, least_request, random, client_side_weighted_round_robin or "
       "glia.v1.ModelBalancing\n"},
      {"name: a\nlb_policy: MAGLEV\nload_assignment: {}",
       "cluster.lb_policy: MAGLEV is not supported by glia-proxy; it can be ROUND_ROBIN, "
       "LEAST_REQUEST or "
       "RANDOM\n"},
      {"name: a\ntype: EDS", "cluster.eds_cluster_config: has no eds_config\n"},
      {"name: a\ntype: EDS\neds_cluster_config: {eds_config: {path: /x}}",
       "cluster.eds_cluster_config.eds_config: only {ads: {}} is supported by glia-proxy\n"
       "cluster.eds_cluster_config.eds_config.path: not supported by glia-proxy\n"},
      {"name: a\nload_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: "
       "{socket_address: "
       "{address: 10.0.0.1, port_value: 70000}}}}]}]}",
       "cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_"
       "value: "
       "70000 is above 65535\n"},
      {"name: a\nload_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: "
       "{socket_address: "
       "{address: reco.test, port_value: 80}}}}]}]}",
       "cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address."
       "address: "
       "\"reco.test\" is no IP address\n"},
      {"name: a\ntype: STRICT_DNS\nload_assignment: {endpoints: [{lb_endpoints: [{endpoint: "
       "{address: "
       "{socket_address: {address: \"a b\", port_value: 80}}}}]}]}",
       "cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address."
       "address: "
       "\"a b\" is neither an IP address nor a host name\n"},
      {"name: a\noutlier_detection: {}\nhealth_checks: [{}, {}]\nload_assignment: {}",
       "cluster.outlier_detection: not supported by glia-proxy\n"
       "cluster.health_checks[0]: not supported by glia-proxy\n"
       "cluster.health_checks[1]: not supported by glia-proxy\n"},
      {"name: a\nconnect_timeout: 0s\ndns_refresh_rate: 0s\nload_assignment: {}",
       "cluster.connect_timeout: must be above 0s\n"
       "cluster.dns_refresh_rate: must be at least 0.001s\n"},
      {"name: a\nload_assignment: {}\ntyped_extension_protocol_options: {x: {\"@type\": "
       "t/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: "
       "{http3_protocol_options: {}}}}",
       "cluster.typed_extension_protocol_options[x].explicit_http_config.http3_protocol_options: "
       "not "
       "supported by glia-proxy\n"},
      {"name: a\nload_assignment: {}\ntransport_socket: {name: tls, typed_config: {\"@type\": "
       "t/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext}}",
       "cluster.transport_socket.typed_config: the type "
       "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext is not supported by "
       "glia-proxy "
       "here\n"},
      {"name: a\nload_assignment: {}\ntransport_socket: {name: tls, typed_config: {\"@type\": "
       "t/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: "
       "{validation_context: {match_typed_subject_alt_names: [{san_type: URI, matcher: "
       "{safe_regex: "
       "{regex: x}}}]}, tls_params: {tls_minimum_protocol_version: TLSv1_1}}}}",
       "cluster.transport_socket.typed_config.common_tls_context.tls_params.tls_minimum_protocol_"
       "version: "
       "TLSv1_1 is not supported by glia-proxy, the least is TLSv1_2\n"
       "cluster.transport_socket.typed_config.common_tls_context.validation_context."
       "match_typed_subject_alt_names[0].matcher: needs exact, prefix, suffix or contains; "
       "glia-proxy "
       "matches certificate names by these only\n"
       "cluster.transport_socket.typed_config.common_tls_context.validation_context: has no "
       "trusted_ca, so "
       "nobody would be trusted\n"},
  };
  for (const Case& c : cases) expect(ResourceKind::kCluster, c);
}

TEST(DecodeCluster, ReadsWhatItSupports) {
  Errors errors;
  const auto resource = decode(ResourceKind::kCluster, R"(
name: reco
type: EDS
eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V3}, service_name: shop/reco}
lb_policy: LEAST_REQUEST
least_request_lb_config: {choice_count: 3}
connect_timeout: 0.25s
circuit_breakers: {thresholds: [{max_connections: 1, max_pending_requests: 2, max_requests: 3}]}
common_lb_config: {healthy_panic_threshold: {value: 0}}
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    common_http_protocol_options: {idle_timeout: 60s, max_requests_per_connection: 9}
    explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 50}}
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    sni: reco.shop
    common_tls_context:
      tls_certificate_sds_secret_configs: [{name: default}]
      combined_validation_context:
        default_validation_context:
          match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: "spiffe://shop/"}}]
        validation_context_sds_secret_config: {name: ROOTCA, sds_config: {ads: {}}}
)",
                               errors);
  EXPECT_EQ(errors.joined(), "");
  const auto& cluster = std::get<ClusterResource>(resource->value);
  EXPECT_EQ(cluster.config.eds_service_name, "shop/reco");
  EXPECT_EQ(cluster.config.balancing.choices, 3u);
  EXPECT_EQ(cluster.config.connect_timeout, 250ms);
  EXPECT_EQ(cluster.config.limits.pending_requests, 2u);
  EXPECT_EQ(cluster.config.panic_threshold_percent, 0u);
  EXPECT_EQ(cluster.config.codec, Codec::kHttp2);
  EXPECT_EQ(cluster.config.http.streams, 50u);
  EXPECT_EQ(cluster.config.requests_per_connection, 9u);
  EXPECT_EQ(cluster.config.pool_idle_time, 60s);
  ASSERT_TRUE(cluster.tls);
  EXPECT_EQ(cluster.tls->options.server_name, "reco.shop");
  EXPECT_EQ(cluster.tls->options.alpn, std::vector<std::string>{"h2"});
  EXPECT_EQ(cluster.tls->certificate_secret, "default");
  EXPECT_FALSE(cluster.tls->certificate_by_ads);
  EXPECT_EQ(cluster.tls->validation_secret, "ROOTCA");
  EXPECT_TRUE(cluster.tls->validation_by_ads);
  ASSERT_EQ(cluster.tls->options.peer_sans.size(), 1u);
  EXPECT_EQ(cluster.tls->options.peer_sans[0].kind, SanMatch::Kind::kPrefix);
}

TEST(DecodeRoute, RefusesWithThePathOfTheField) {
  const auto route = [](std::string route) {
    return "name: r\nvirtual_hosts: [{name: v, domains: [\"*\"], routes: [" + route + "]}]";
  };
  const std::pair<std::string, const char*> cases[] = {
      {"name: r\nvirtual_hosts: [{name: v, domains: [a, A]}, {name: v, domains: [\"a*b\"]}]",
       "route.virtual_hosts[0].domains: \"A\" is in another virtual host as well\n"
       "route.virtual_hosts[1].domains: \"a*b\" may have a * only as its first or last character\n"
       "route.virtual_hosts[1].name: \"v\" is the name of another virtual host as well\n"},
      {route("{match: {prefix: a}, route: {cluster: c}}"),
       "route.virtual_hosts[0].routes[0].match.prefix: \"a\" does not begin with /\n"},
      {route("{match: {path_separated_prefix: /a/}, route: {cluster: c}}"),
       "route.virtual_hosts[0].routes[0].match.path_separated_prefix: must not end with /\n"},
      {route("{match: {}, route: {}}"),
       "route.virtual_hosts[0].routes[0].match: needs prefix, path, safe_regex, "
       "path_separated_prefix or connect_matcher\n"
       "route.virtual_hosts[0].routes[0].route: needs cluster or weighted_clusters\n"},
      {route("{match: {safe_regex: {regex: \"(\"}}}"),
       "route.virtual_hosts[0].routes[0].match.safe_regex.regex: regular expression \"(\" is wrong "
       "at "
       "character 1: missing ): (\n"
       "route.virtual_hosts[0].routes[0]: needs route, redirect or direct_response\n"},
      {route(
           "{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: a, weight: 0}]}}}"),
       "route.virtual_hosts[0].routes[0].route.weighted_clusters: the weights add up to 0, so no "
       "cluster "
       "could be chosen\n"},
      {route("{match: {prefix: /}, route: {cluster: c, hedge_policy: {hedge_on_per_try_timeout: "
             "true}, hash_policy: [{}]}}"),
       "route.virtual_hosts[0].routes[0].route.hedge_policy.hedge_on_per_try_timeout: needs a "
       "per_try_timeout in the route's retry_policy\n"
       "route.virtual_hosts[0].routes[0].route.hash_policy[0]: not supported by glia-proxy\n"},
      {route(
           "{match: {safe_regex: {regex: \"/long/.*\"}}, route: {cluster: c, prefix_rewrite: /}}"),
       "route.virtual_hosts[0].routes[0].route.prefix_rewrite: needs a match by prefix or path; a "
       "safe_regex has no prefix\n"},
      {route(
           "{match: {prefix: /}, route: {cluster: c, prefix_rewrite: /a, regex_rewrite: {pattern: "
           "{regex: \"/(.*)\"}, substitution: \"\\\\1\"}}}"),
       "route.virtual_hosts[0].routes[0].route.regex_rewrite: cannot stand beside "
       "prefix_rewrite\n"},
      {route("{match: {prefix: /}, route: {cluster: c, regex_rewrite: {pattern: {regex: \"/a\"}, "
             "substitution: \"\\\\1\"}}}"),
       "route.virtual_hosts[0].routes[0].route.regex_rewrite: substitution \"\\1\" does not fit: "
       "Rewrite schema requests 1 matches, but the regexp only has 0 parenthesized "
       "subexpressions.\n"},
      {route(
           "{match: {prefix: /}, route: {cluster: c, request_mirror_policies: [{runtime_fraction: "
           "{default_value: {numerator: 101}}}]}}"),
       "route.virtual_hosts[0].routes[0].route.request_mirror_policies[0]: has no cluster\n"
       "route.virtual_hosts[0].routes[0].route.request_mirror_policies[0].runtime_fraction."
       "default_value.numerator: 101 is above 100\n"},
      {route("{match: {safe_regex: {regex: \"/long/.*\"}}, redirect: {prefix_rewrite: /}}"),
       "route.virtual_hosts[0].routes[0].redirect.prefix_rewrite: needs a match by prefix or path; "
       "a safe_regex has no prefix\n"},
      {route("{match: {prefix: /a}, route: {cluster: c, prefix_rewrite: b}}"),
       "route.virtual_hosts[0].routes[0].route.prefix_rewrite: \"b\" does not begin with /\n"},
      // What is sent in a field or a request line can add no line of its own.
      {route("{match: {prefix: /}, route: {cluster: c, host_rewrite_literal: \"a\\r\\nx: y\", "
             "prefix_rewrite: \"/a\\r\\nx: y\"}}"),
       "route.virtual_hosts[0].routes[0].route.prefix_rewrite: holds a byte that may not stand in "
       "a "
       "path\n"
       "route.virtual_hosts[0].routes[0].route.host_rewrite_literal: is not a host name or address "
       "with or without a port\n"},
      {route("{match: {prefix: /}, redirect: {scheme_redirect: \"a\\n\", host_redirect: \"a\\nb\", "
             "path_redirect: \"/\\n\"}}"),
       "route.virtual_hosts[0].routes[0].redirect.scheme_redirect: is no scheme; write http or "
       "https\n"
       "route.virtual_hosts[0].routes[0].redirect.host_redirect: is not a host name or address "
       "with "
       "or without a port\n"
       "route.virtual_hosts[0].routes[0].redirect.path_redirect: holds a byte that may not stand "
       "in "
       "a path\n"},
      {route("{match: {prefix: /}, route: {cluster: c}, request_headers_to_add: [{header: {key: "
             "\"x\\n\", value: y}}, {header: {key: x, value: \"a\\r\\nb: c\"}}]}"),
       "route.virtual_hosts[0].routes[0].request_headers_to_add[0].header.key: \"x\n\" is no name "
       "of "
       "a header field\n"
       "route.virtual_hosts[0].routes[0].request_headers_to_add[1].header.value: has a control "
       "character\n"},
      {route("{match: {prefix: /}, direct_response: {status: 100}}"),
       "route.virtual_hosts[0].routes[0].direct_response.status: 100 is below 200\n"},
      {route("{match: {prefix: /}, route: {cluster: c}, request_headers_to_add: [{header: {key: x, "
             "value: "
             "\"%PROTOCOL%\"}}], response_headers_to_remove: [content-length]}"),
       "route.virtual_hosts[0].routes[0].request_headers_to_add[0].header.value: \"%PROTOCOL%\": "
       "format "
       "operators are not supported by glia-proxy; write %% for a percent sign\n"
       "route.virtual_hosts[0].routes[0].response_headers_to_remove: \"content-length\" cannot be "
       "removed "
       "by a route\n"},
  };
  for (const auto& [yaml, sentences] : cases)
    expect(ResourceKind::kRoutes, {yaml.c_str(), sentences});
}

FilterConfig rbac_filter(std::string name) {
  return {.name = std::move(name), .settings = std::make_shared<const RbacConfig>()};
}

TEST(DecodeRoute, ALeastRateHoldsForWhatStandsBelowIt) {
  constexpr std::string_view kRoutes = R"(
name: r
typed_per_filter_config:
  rate: {"@type": type.googleapis.com/glia.v1.MinimumRate, bytes_per_second: 1000}
virtual_hosts:
- name: v
  domains: ["*"]
  typed_per_filter_config:
    rate: {"@type": type.googleapis.com/glia.v1.MinimumRate, window: @window@}
  routes:
  - match: {prefix: "/a"}
    route: {cluster: c}
    typed_per_filter_config:
      rate: {"@type": type.googleapis.com/glia.v1.MinimumRate, bytes_per_second: 0}
  - match: {prefix: "/b"}
    route: {cluster: c}
- name: w
  domains: [w]
  routes: [{match: {prefix: "/"}, route: {cluster: c}}]
)";
  const auto with = [&](std::string_view window) {
    std::string text(kRoutes);
    return text.replace(text.find("@window@"), 8, window);
  };
  Errors errors;
  const ResourceRef decoded = decode(ResourceKind::kRoutes, with("30s"), errors);
  ASSERT_EQ(errors.joined(), "");
  const auto& hosts = std::get<std::shared_ptr<const RouteTable>>(decoded->value)->hosts();
  EXPECT_EQ(hosts[0].routes[0].rate.bytes_per_second, 0u);
  EXPECT_EQ(hosts[0].routes[1].rate.bytes_per_second, 240u);
  EXPECT_EQ(hosts[0].routes[1].rate.window, 30s);
  EXPECT_EQ(hosts[1].routes[0].rate.bytes_per_second, 1000u);
  Errors wrong;
  decode(ResourceKind::kRoutes, with("0.5s"), wrong);
  EXPECT_NE(wrong.joined().find("window: is below 1s"), std::string::npos) << wrong.joined();
}

TEST(DecodeRoute, ConfigurationForAFilterThatIsNotThereIsAnError) {
  constexpr std::string_view kRoutes = R"(
name: r
virtual_hosts:
- name: v
  domains: ["*"]
  routes:
  - match: {prefix: "/"}
    route: {cluster: c}
    typed_per_filter_config:
      envoy.filters.http.rbac: {"@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute}
)";
  const auto sentence = [&](const std::vector<FilterConfig>& filters) {
    Errors errors;
    decode(ResourceKind::kRoutes, kRoutes, errors, filters);
    return errors.joined();
  };
  const std::string_view start =
      "route.virtual_hosts[0].routes[0].typed_per_filter_config[envoy.filters.http.rbac]: no RBAC "
      "filter of the listener has this name, so nobody reads it; ";
  EXPECT_EQ(sentence({rbac_filter("envoy.filters.http.rbac")}), "");
  EXPECT_EQ(sentence({}), cat(start, "there is none"));
  EXPECT_EQ(sentence({rbac_filter("envoy.filters.http.rback")}),
            cat(start, "did you mean envoy.filters.http.rback?"));
  EXPECT_EQ(sentence({rbac_filter("policy")}), cat(start, "there is policy"));
}

TEST(DecodeRoute, SaysWhatOfACorsPolicyIsNotDone) {
  const auto sentence = [](std::string_view fields) {
    Errors errors;
    decode(ResourceKind::kRoutes,
           cat(R"(
name: r
virtual_hosts:
- name: v
  domains: ["*"]
  typed_per_filter_config:
    cors:
      "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy
      )",
               fields, "\n"),
           errors,
           {{.name = "cors", .settings = std::make_shared<const CorsPolicy>()},
            rbac_filter("policy")});
    return errors.joined();
  };
  constexpr std::string_view kStart = "route.virtual_hosts[0].typed_per_filter_config[cors].";
  EXPECT_EQ(sentence("max_age: \"5\""), "");
  EXPECT_EQ(sentence("filter_enabled: {default_value: {numerator: 50}}"),
            cat(kStart,
                "filter_enabled: must be 100 %: glia-proxy applies a CORS policy to every "
                "request"));
  EXPECT_NE(sentence("allow_private_network_access: true").find("allow_private_network_access"),
            std::string::npos);
  EXPECT_NE(sentence("shadow_enabled: {default_value: {numerator: 50}}").find("shadow_enabled"),
            std::string::npos);
}

std::string bytes_of(ResourceKind kind, std::string_view yaml) {
  Message message(*MessageSchema::find(message_of(kind)));
  Errors reading("t");
  read_yaml(yaml, message, reading);
  EXPECT_EQ(reading.joined(), "") << yaml;
  return encode_wire(message);
}

TEST(DecodeRoute, PushedRoutesMayNameTheFiltersOfTheListenersThatUseThem) {
  const auto listener = [](const char* name, const char* rbac) {
    return bytes_of(
        ResourceKind::kListener,
        cat("name: ", name, R"(
address: {socket_address: {address: 127.0.0.1, port_value: 1}}
filter_chains:
- filters:
  - name: hcm
    typed_config:
      "@type": t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: s
      http_filters:
      - {name: )",
            rbac, R"(, typed_config: {"@type": t/envoy.extensions.filters.http.rbac.v3.RBAC}}
      - {name: r, typed_config: {"@type": t/envoy.extensions.filters.http.router.v3.Router}}
      rds: {route_config_name: shared, config_source: {ads: {}}}
)"));
  };
  const std::string first = listener("first", "one"), second = listener("second", "two");
  const auto routes = [](const char* filter) {
    return bytes_of(ResourceKind::kRoutes,
                    cat(R"(
name: shared
virtual_hosts:
- name: v
  domains: ["*"]
  typed_per_filter_config:
    )",
                        filter, R"(: {"@type": t/envoy.extensions.filters.http.rbac.v3.RBACPerRoute}
)"));
  };
  Draft draft;
  Errors errors;
  draft.apply(ResourceKind::kListener, "1", {first, second}, {}, errors);
  draft.apply(ResourceKind::kRoutes, "1", {routes("two")}, {}, errors);
  EXPECT_EQ(errors.joined(), "");
  draft.apply(ResourceKind::kRoutes, "2", {routes("tow")}, {}, errors);
  EXPECT_EQ(errors.joined(),
            "route[shared].virtual_hosts[0].typed_per_filter_config[tow]: no RBAC filter of the "
            "listener has this name, so nobody reads it; did you mean two?");
  EXPECT_EQ(draft.version(ResourceKind::kRoutes), "1");
}

TEST(DecodeRoute, TheMostSpecificHeadersComeFirstAndPoliciesAreInherited) {
  Errors errors;
  const auto resource = decode(ResourceKind::kRoutes, R"(
name: r
request_headers_to_add: [{header: {key: X-Level, value: table}}]
virtual_hosts:
- name: v
  domains: ["*"]
  request_headers_to_add: [{header: {key: X-Level, value: "host 100%%"}, append_action: ADD_IF_ABSENT}]
  typed_per_filter_config:
    rbac:
      "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute
      rbac: {rules: {policies: {p: {permissions: [{any: true}], principals: [{any: true}]}}}}
  routes:
  - match: {prefix: "/a"}
    route: {cluster: c}
    request_headers_to_add: [{header: {key: X-Level, value: route}}]
    typed_per_filter_config:
      rbac: {"@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute}
  - match: {prefix: "/"}
    route: {cluster: c}
)",
                               errors, {rbac_filter("rbac")});
  EXPECT_EQ(errors.joined(), "");
  const auto& table = *std::get<std::shared_ptr<const RouteTable>>(resource->value);
  const Route& first = table.hosts()[0].routes[0];
  ASSERT_EQ(first.request_headers.size(), 3u);
  EXPECT_EQ(first.request_headers[0].add[0].value, "route");
  EXPECT_EQ(first.request_headers[1].add[0].value, "host 100%");
  EXPECT_EQ(first.request_headers[2].add[0].value, "table");
  const auto rules_of = [](const Route& route) {
    return std::get<std::shared_ptr<const RbacConfig>>(route.filters.at("rbac"))->rules;
  };
  EXPECT_FALSE(rules_of(first));
  const Route& second = table.hosts()[0].routes[1];
  EXPECT_EQ(second.name, "v[1]");
  EXPECT_EQ(second.request_headers.size(), 2u);
  EXPECT_TRUE(rules_of(second));
}

TEST(DecodeListener, RefusesWithThePathOfTheField) {
  const std::string hcm =
      "{name: h, typed_config: {\"@type\": t/envoy.extensions.filters.network."
      "http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, route_config: {}, ";
  const std::string router =
      "http_filters: [{name: r, typed_config: {\"@type\": "
      "t/envoy.extensions.filters.http.router.v3.Router}}]";
  const auto listener = [](const std::string& chain) {
    return "name: l\naddress: {socket_address: {address: 127.0.0.1, port_value: "
           "1}}\nfilter_chains: [" +
           chain + "]";
  };
  const std::pair<std::string, const char*> cases[] = {
      {listener("{filters: [" + hcm + router + "}}]}"), ""},
      {"name: l", "listener: has no address\nlistener: has no filter_chains\n"},
      {listener("{filters: [" + hcm + "}}]}"),
       "listener.filter_chains[0].filters[0].typed_config.http_filters: the last filter must be "
       "envoy.filters.http.router\n"},
      {listener("{filters: [" + hcm + router +
                ", codec_type: HTTP3, tracing: {}, request_timeout: -1s}}]}"),
       "listener.filter_chains[0].filters[0].typed_config.codec_type: HTTP3 is not supported by "
       "glia-proxy\n"
       "listener.filter_chains[0].filters[0].typed_config.request_timeout: is negative or broken\n"
       "listener.filter_chains[0].filters[0].typed_config.tracing: not supported by glia-proxy\n"},
      {listener("{filters: [" + hcm + router + ", server_name: \"a\\r\\nb: c\", via: \"\\n\"}}]}"),
       "listener.filter_chains[0].filters[0].typed_config.server_name: holds a control byte, which "
       "no header field may hold\n"
       "listener.filter_chains[0].filters[0].typed_config.via: holds a control byte, which no "
       "header "
       "field may hold\n"},
      {listener(
           "{filters: [" + hcm + router +
           ", upgrade_configs: [{upgrade_type: CONNECT}, {upgrade_type: h2c}, {filters: [{}]}], "
           "http_protocol_options: {enable_trailers: false, default_host_for_http_10: \"a "
           "b\"}}}]}"),
       "listener.filter_chains[0].filters[0].typed_config.upgrade_configs[1].upgrade_type: \"h2c\" "
       "is "
       "not supported by glia-proxy\n"
       "listener.filter_chains[0].filters[0].typed_config.upgrade_configs[2].upgrade_type: \"\" is "
       "not "
       "supported by glia-proxy\n"
       "listener.filter_chains[0].filters[0].typed_config.http_protocol_options.default_host_for_"
       "http_"
       "10: is not a host name or address with or without a port\n"
       "listener.filter_chains[0].filters[0].typed_config.http_protocol_options.enable_trailers: "
       "only "
       "true is supported by glia-proxy\n"
       "listener.filter_chains[0].filters[0].typed_config.upgrade_configs[2].filters[0]: not "
       "supported "
       "by glia-proxy\n"},
      {listener("{filters: [" + hcm + router +
                ", set_current_client_cert_details: {chain: true, uri: true}}}]}"),
       "listener.filter_chains[0].filters[0].typed_config.set_current_client_cert_details.chain: "
       "only false is supported by glia-proxy\n"},
      {listener("{filters: [" + hcm + router + "}}]}, {filters: [" + hcm + router + "}}]}"),
       "listener.filter_chains[1]: takes the same connections as filter_chains[0]\n"},
      {listener("{filters: [{name: x, typed_config: {\"@type\": t/envoy.config.core.v3.Node}}]}"),
       "listener.filter_chains[0].filters[0].typed_config: the network filter "
       "envoy.config.core.v3.Node is "
       "not supported by glia-proxy\n"},
      {listener("{filter_chain_match: {source_type: EXTERNAL, server_names: [\"*a\"]}, filters: [" +
                hcm + router + "}}]}"),
       "listener.filter_chains[0].filter_chain_match.server_names: \"*a\" is neither a name nor "
       "*.name\n"
       "listener.filter_chains[0].filter_chain_match.source_type: not supported by glia-proxy\n"},
      {listener("{filters: [" + hcm +
                "http_filters: [{name: a, typed_config: {\"@type\": "
                "t/envoy.extensions.filters.http.rbac.v3."
                "RBAC, rules: {action: LOG, policies: {p: {principals: [{metadata: {}}]}}}}}]}}]}"),
       "listener.filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.rules."
       "action: LOG is "
       "not supported by glia-proxy\n"
       "listener.filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.rules."
       "policies[p]."
       "principals[0]: needs a rule that glia-proxy supports\n"
       "listener.filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.rules."
       "policies[p]: "
       "has no permissions, so it would never match\n"
       "listener.filter_chains[0].filters[0].typed_config.http_filters: the last filter must be "
       "envoy.filters.http.router\n"},
      {listener("{transport_socket: {name: t, typed_config: {\"@type\": "
                "t/envoy.extensions.transport_sockets."
                "tls.v3.DownstreamTlsContext, require_client_certificate: true}}, filters: [" +
                hcm + router + "}}]}"),
       "listener.filter_chains[0].transport_socket.typed_config.require_client_certificate: needs "
       "a "
       "validation_context to check it against\n"
       "listener.filter_chains[0].transport_socket.typed_config: has no certificate: set "
       "tls_certificates or "
       "tls_certificate_sds_secret_configs\n"},
  };
  for (const auto& [yaml, sentences] : cases)
    expect(ResourceKind::kListener, {yaml.c_str(), sentences});
}

TEST(DecodeAny, AnUnknownTypeFromTheWireIsNamed) {
  Message cluster(*MessageSchema::find("envoy.config.cluster.v3.Cluster"));
  cluster.add_text("name", "a");
  cluster.add_message("load_assignment");
  cluster.add_message("transport_socket").add_message("typed_config").add_text("type_url", "t/x.Y");
  Errors errors;
  decode_resource(ResourceKind::kCluster, cluster, "", "cluster[a]", {}, errors);
  EXPECT_EQ(
      errors.joined(),
      "cluster[a].transport_socket.typed_config: the type x.Y is not supported by glia-proxy");
}

TEST(DecodeSecret, NeedsACertificateOrAuthorities) {
  expect(ResourceKind::kSecret,
         {"name: s", "secret: needs tls_certificate or validation_context\n"});
  expect(ResourceKind::kSecret,
         {"name: s\ntls_certificate: {certificate_chain: {filename: /nonexistent/x.pem}}",
          "secret.tls_certificate.certificate_chain.filename: the file /nonexistent/x.pem cannot "
          "be read or "
          "is above 1 MiB\nsecret.tls_certificate: has no private_key\n"});
}

}  // namespace
}  // namespace glia
