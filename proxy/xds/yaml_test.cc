#include "proxy/xds/yaml.h"

#include <gtest/gtest.h>

#include "proxy/base/base64.h"
#include "proxy/xds/json.h"

namespace glia {
namespace {

Message bootstrap() { return Message(*MessageSchema::find("envoy.config.bootstrap.v3.Bootstrap")); }

// All sentences, a line each.
std::string errors_of(std::string_view text, const YamlLimits& limits = {}) {
  Message message = bootstrap();
  Errors errors("file.yaml");
  read_yaml(text, message, errors, limits);
  std::string all;
  for (const std::string& sentence : errors.sentences()) all += sentence + "\n";
  return all;
}

std::string json_of(std::string_view type, std::string_view text) {
  Message message(*MessageSchema::find(type));
  Errors errors("file.yaml");
  read_yaml(text, message, errors);
  std::string json = errors.joined();
  if (json.empty()) append_json(json, message);
  return json;
}

struct Case {
  const char* yaml;
  const char* sentences;
};

TEST(Yaml, EveryMistakeNamesPathLineAndColumn) {
  const Case cases[] = {
      {"static_resources:\n  listeners:\n  - name: web\n    filter_chain: []\n",
       "static_resources.listeners[0].filter_chain: unknown field, did you mean filter_chains? "
       "(file.yaml:4:5)\n"},
      {"node: {xyz_abc: 1}",
       "node.xyz_abc: unknown field of envoy.config.core.v3.Node (file.yaml:1:8)\n"},
      {"node: 3",
       "node: expects a mapping with the fields of envoy.config.core.v3.Node, not a single "
       "value (file.yaml:1:7)\n"},
      {"node: {id: [a]}", "node.id: expects text, not a list (file.yaml:1:12)\n"},
      {"node: {id: 12}", "node.id: 12 is not text; put it in quotes (file.yaml:1:12)\n"},
      {"static_resources:\n  clusters: {name: a}",
       "static_resources.clusters: expects a list, not a mapping (file.yaml:2:13)\n"},
      {"static_resources: {clusters: [{name: a, lb_policy: LEAST_REQUESTS}]}",
       "static_resources.clusters[0].lb_policy: unknown value LEAST_REQUESTS, did you mean "
       "LEAST_REQUEST? (file.yaml:1:52)\n"},
      {"static_resources: {clusters: [{connect_timeout: 5}]}",
       "static_resources.clusters[0].connect_timeout: expects a duration such as \"1.5s\", not "
       "\"5\" "
       "(file.yaml:1:49)\n"},
      {"static_resources: {clusters: [{type: EDS, cluster_type: {name: x}}]}",
       "static_resources.clusters[0].cluster_type: excludes type, which is set as well "
       "(file.yaml:1:43)\n"},
      {"node: {id: a}\nnode: {id: b}", "node: is set twice (file.yaml:2:1)\n"},
      {"node: {metadata: {a: 1, a: 2}}", "node.metadata[a]: is set twice (file.yaml:1:25)\n"},
      {"node: {user_agent_name: x, userAgentName: y}",
       "node.userAgentName: is set twice (file.yaml:1:28)\n"},
      {"admin: {address: {socket_address: {port_value: -1}}}",
       "admin.address.socket_address.port_value: -1 is negative, the least value is 0 "
       "(file.yaml:1:48)\n"},
      {"admin: {address: {socket_address: {port_value: 4294967296}}}",
       "admin.address.socket_address.port_value: 4294967296 is not between 0 and 4294967295 "
       "(file.yaml:1:48)\n"},
      {"admin: {address: {socket_address: {port_value: http}}}",
       "admin.address.socket_address.port_value: \"http\" is not a whole number "
       "(file.yaml:1:48)\n"},
      {"static_resources: {listeners: [{enable_reuse_port: \"true\"}]}",
       "static_resources.listeners[0].enable_reuse_port: \"true\" is not true or false "
       "(file.yaml:1:52)\n"},
      {"static_resources: {clusters: [{transport_socket: {typed_config: {sni: a}}}]}",
       "static_resources.clusters[0].transport_socket.typed_config: has no \"@type\"; it names the "
       "message, for example "
       "\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\" "
       "(file.yaml:1:65)\n"},
      {"static_resources: {clusters: [{transport_socket: {typed_config: {\"@type\": a/b.C}}}]}",
       "static_resources.clusters[0].transport_socket.typed_config: the type b.C is not supported "
       "by "
       "glia-proxy (file.yaml:1:75)\n"},
      {"static_resources: {secrets: [{generic_secret: {secret: {inline_bytes: \"a b\"}}}]}",
       "static_resources.secrets[0].generic_secret.secret.inline_bytes: \"a b\" is not base64 text "
       "(file.yaml:1:71)\n"},
      {"a: [", "not YAML: end of sequence flow not found (file.yaml:1:1)\n"},
      {"", "the file is empty (file.yaml)\n"},
      {"node: {id: a}\n---\nnode: {id: b}\n",
       "the file has more than one YAML document, or something stands here that may not stand at "
       "the top of a file (file.yaml:2:1)\n"},
      // yaml-cpp would read empty documents at the comma without end.
      {"\"node\", \"id\"",
       "the file has more than one YAML document, or something stands here that may not stand at "
       "the top of a file (file.yaml:1:7)\n"},
  };
  for (const Case& c : cases) EXPECT_EQ(errors_of(c.yaml), c.sentences) << c.yaml;
}

TEST(Yaml, AllMistakesAreReportedAtOnce) {
  EXPECT_EQ(errors_of("nod: {}\nadmn: {}\nnode: {id: []}\n"),
            "nod: unknown field, did you mean node? (file.yaml:1:1)\n"
            "admn: unknown field, did you mean admin? (file.yaml:2:1)\n"
            "node.id: expects text, not a list (file.yaml:3:12)\n");
}

TEST(Yaml, AnAliasBombIsRefused) {
  std::string bomb = "node:\n  metadata:\n    a0: &a0 x\n";
  for (int i = 1; i < 40; ++i) {
    const std::string before = "*a" + std::to_string(i - 1), name = "a" + std::to_string(i);
    bomb += "    " + name + ": &" + name + " [" + before + ", " + before + "]\n";
  }
  EXPECT_NE(errors_of(bomb).find("too many nodes, aliases counted each time"), std::string::npos);
  EXPECT_NE(errors_of("node: {metadata: &a {a: *a}}").find("nested too deeply"), std::string::npos);
  std::string deep = "node: {metadata: {a: ";
  for (int i = 0; i < 200; ++i) deep += "[";
  for (int i = 0; i < 200; ++i) deep += "]";
  EXPECT_NE(errors_of(deep + "}}").find("nested too deeply"), std::string::npos);
  EXPECT_EQ(errors_of("node: {}", {.bytes = 3}),
            "the file has 8 bytes, the limit is 3 (file.yaml)\n");
}

TEST(Yaml, FollowsTheJsonMappingOfProtobuf) {
  EXPECT_EQ(
      json_of("envoy.config.cluster.v3.Cluster",
              "name: a\nconnectTimeout: 0.25s\nlb_policy: 1\n"
              "per_connection_buffer_limit_bytes: \"7\"\n"
              "common_lb_config: {healthy_panic_threshold: {value: 12.5}}\n"),
      R"({"name":"a","connect_timeout":"0.250s","lb_policy":"LEAST_REQUEST",)"
      R"("per_connection_buffer_limit_bytes":7,"common_lb_config":{"healthy_panic_threshold":{"value":12.5}}})");
  EXPECT_EQ(
      json_of(
          "envoy.config.core.v3.Metadata",
          "filter_metadata: {a: {t: text, q: \"1\", n: 1.5, b: true, l: [1, x], z: null, m: {}}}"),
      R"({"filter_metadata":{"a":{"t":"text","q":"1","n":1.5,"b":true,"l":[1,"x"],"z":null,"m":{}}}})");
  EXPECT_EQ(
      json_of("envoy.config.core.v3.TransportSocket",
              "name: t\ntyped_config:\n  \"@type\": "
              "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n"
              "  sni: a.com\n"),
      R"({"name":"t","typed_config":{"@type":)"
      R"("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","sni":"a.com"}})");
}

TEST(Yaml, DurationsAndBase64AreReadStrictly) {
  int64_t seconds = 0;
  int32_t nanos = 0;
  EXPECT_TRUE(parse_duration("-1.5s", seconds, nanos));
  EXPECT_EQ(seconds, -1);
  EXPECT_EQ(nanos, -500'000'000);
  for (const char* bad :
       {"", "s", "1", "1.s", "1.0000000001s", "1 s", "+1s", "99999999999999s", "1e3s"}) {
    EXPECT_FALSE(parse_duration(bad, seconds, nanos)) << bad;
  }
  std::string bytes;
  EXPECT_TRUE(parse_base64("aGk_", bytes));
  EXPECT_EQ(bytes, "hi?");
  EXPECT_TRUE(parse_base64("aA==", bytes));
  EXPECT_EQ(bytes, "h");
  EXPECT_FALSE(parse_base64("a", bytes));
  EXPECT_FALSE(parse_base64("a*aa", bytes));
}

TEST(Json, SecretsAreNotShown) {
  const std::string json =
      json_of("envoy.extensions.transport_sockets.tls.v3.Secret",
              "name: s\ntls_certificate:\n  certificate_chain: {inline_string: public}\n"
              "  private_key: {inline_string: hidden}\n"
              "  password: {inline_bytes: aGlkZGVu}\n");
  EXPECT_NE(json.find("public"), std::string::npos);
  EXPECT_EQ(json.find("hidden"), std::string::npos);
  EXPECT_EQ(json.find("aGlkZGVu"), std::string::npos);
  EXPECT_NE(json.find(R"("private_key":{"inline_string":"[redacted]"})"), std::string::npos);
}

}  // namespace
}  // namespace glia
