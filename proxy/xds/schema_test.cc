// Compares our tables, YAML reader, wire format and JSON with the protobuf library.
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "proxy/xds/json.h"
#include "proxy/xds/wire.h"
#include "proxy/xds/yaml.h"

namespace glia {
namespace {

using Bootstrap = envoy::config::bootstrap::v3::Bootstrap;

constexpr std::string_view kYaml = R"(
node: {id: n, cluster: c, metadata: {a: [1, {b: null}], d: true}}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
    enable_reuse_port: false
    traffic_direction: INBOUND
    filter_chains:
    - filter_chain_match: {destination_port: 0, server_names: [a.com, "*.b.com"]}
      filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          stream_idle_timeout: 300.000000001s
          max_request_headers_kb: 60
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/", headers: [{name: x, range_match: {start: -5, end: "9223372036854775807"}}]}
                route: {cluster: a, timeout: 0s}
                typed_per_filter_config:
                  rbac:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute
                    rbac: {rules: {action: DENY, policies: {p: {permissions: [{any: true}], principals: [{any: true}]}}}}
  clusters:
  - name: a
    connect_timeout: 0.1s
    lb_policy: LEAST_REQUEST
    common_lb_config: {healthy_panic_threshold: {value: 33.5}}
    load_assignment: {cluster_name: a}
  secrets:
  - name: s
    tls_certificate: {certificate_chain: {inline_bytes: AAEC/w==}}
)";

// Links the messages that stand inside an Any.
void link_messages() {
  using namespace envoy::extensions;
  (void)access_loggers::stream::v3::StdoutAccessLog::descriptor();
  (void)filters::http::rbac::v3::RBACPerRoute::descriptor();
  (void)filters::http::router::v3::Router::descriptor();
  (void)filters::network::http_connection_manager::v3::HttpConnectionManager::descriptor();
  (void)transport_sockets::tls::v3::UpstreamTlsContext::descriptor();
  (void)upstreams::http::v3::HttpProtocolOptions::descriptor();
}

Message parsed() {
  link_messages();
  Message message(*MessageSchema::find("envoy.config.bootstrap.v3.Bootstrap"));
  Errors errors("t.yaml");
  read_yaml(kYaml, message, errors);
  EXPECT_EQ(errors.joined(), "");
  return message;
}

TEST(Schema, WhatWeWriteIsWhatTheLibraryReads) {
  Bootstrap theirs;
  ASSERT_TRUE(theirs.ParseFromString(encode_wire(parsed())));
  std::string our_json, their_json;
  append_json(our_json, parsed());
  // Our JSON read by the library is the same message.
  Bootstrap back;
  const auto status = google::protobuf::util::JsonStringToMessage(our_json, &back);
  ASSERT_TRUE(status.ok()) << status.ToString() << our_json;
  EXPECT_EQ(back.DebugString(), theirs.DebugString());
}

TEST(Schema, WhatTheLibraryWritesIsWhatWeRead) {
  Bootstrap theirs;
  ASSERT_TRUE(theirs.ParseFromString(encode_wire(parsed())));
  const auto ours = decode_wire(parsed().schema(), theirs.SerializeAsString());
  ASSERT_TRUE(ours.ok()) << ours.error().message();
  Bootstrap again;
  ASSERT_TRUE(again.ParseFromString(encode_wire(*ours)));
  EXPECT_EQ(again.DebugString(), theirs.DebugString());
}

TEST(Schema, EveryMessageAgreesWithItsDescriptor) {
  link_messages();
  std::size_t compared = 0;
  for (std::size_t i = 0; i < schema_tables::kMessageCount; ++i) {
    const MessageSchema& ours = schema_tables::kMessages[i];
    const auto* theirs = google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(
        std::string(ours.name()));
    if (theirs == nullptr) continue;
    ++compared;
    ASSERT_EQ(ours.fields().size(), static_cast<std::size_t>(theirs->field_count())) << ours.name();
    for (int j = 0; j < theirs->field_count(); ++j) {
      const auto* field = theirs->field(j);
      const FieldSchema* mine = ours.field(std::string_view(field->name()));
      ASSERT_NE(mine, nullptr) << field->full_name();
      EXPECT_EQ(mine->number, static_cast<uint32_t>(field->number()));
      EXPECT_EQ(static_cast<int>(mine->type), static_cast<int>(field->type()));
      EXPECT_EQ(mine->repeated(), field->is_repeated());
      if (field->message_type() != nullptr) {
        EXPECT_EQ(mine->message().name(), field->message_type()->full_name());
      }
    }
  }
  EXPECT_GT(compared, 300u);
}

TEST(Wire, BrokenBytesAreRefused) {
  const MessageSchema& schema = *MessageSchema::find("envoy.config.cluster.v3.Cluster");
  const auto error = [&](std::string_view bytes, const WireLimits& limits = {}) {
    const auto decoded = decode_wire(schema, bytes, limits);
    return decoded.ok() ? "" : decoded.error().message();
  };
  using std::string_view_literals::operator""sv;
  const std::string name = "message envoy.config.cluster.v3.Cluster ";
  EXPECT_EQ(error("\x0a\x05"
                  "ab"sv),
            name + "is cut off or broken near byte 2");
  EXPECT_EQ(error("\x00"sv), name + "has a broken tag near byte 1");
  EXPECT_EQ(error("\x08\x01"sv), name + "has a field of the wrong wire type near byte 2");
  EXPECT_EQ(error("\x0b\x0c"sv), name + "is cut off or broken near byte 1");
  EXPECT_EQ(error("\x0a\x01x\x0a\x01y"sv, {.entries = 1}),
            name + "has too many fields near byte 4");
  EXPECT_EQ(error(""), "");
  std::string deep;
  for (int i = 0; i < 3000; ++i) {  // google.protobuf.Value in ListValue, without end.
    std::string length;
    for (std::size_t n = deep.size();; n >>= 7) {
      length += static_cast<char>(n >= 0x80 ? n | 0x80 : n);
      if (n < 0x80) break;
    }
    deep = (i % 2 == 0 ? "\x32" : "\x0a") + length + deep;
  }
  const auto list = decode_wire(*MessageSchema::find("google.protobuf.ListValue"), deep);
  ASSERT_FALSE(list.ok());
  EXPECT_NE(list.error().message().find("nested too deeply"), std::string::npos);
}

}  // namespace
}  // namespace glia
