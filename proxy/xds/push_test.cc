// What a control plane may put into a push, and what is made of it.
#include "proxy/xds/push.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "proxy/xds/wire.h"

namespace glia {
namespace {

constexpr std::string_view kPrefix = "type.googleapis.com/";
constexpr std::string_view kCluster = "envoy.config.cluster.v3.Cluster";
constexpr std::string_view kListener = "envoy.config.listener.v3.Listener";

Message message(std::string_view name) { return Message(*MessageSchema::find(name)); }

std::string any(std::string_view type, std::string_view value) {
  Message packed = message("google.protobuf.Any");
  packed.add_text("type_url", cat(kPrefix, type));
  packed.add_text("value", std::string(value));
  return encode_wire(packed);
}

// One length-delimited field on the wire, below 128 bytes.
std::string field(int number, std::string_view bytes) {
  EXPECT_LT(bytes.size(), 128u);
  return cat(std::string(1, static_cast<char>(number << 3 | 2)),
             std::string(1, static_cast<char>(bytes.size())), bytes);
}

// DiscoveryResponse: version_info = 1, resources = 2, type_url = 4, nonce = 5.
std::string push(std::string_view type, const std::vector<std::string>& resources) {
  std::string bytes = field(1, "7");
  for (const std::string& resource : resources) bytes += field(2, resource);
  return bytes + field(4, cat(kPrefix, type)) + field(5, "n");
}

std::vector<std::string> bytes_of(const PushedResources& push) {
  std::vector<std::string> all;
  for (const PushedResource& resource : push.resources) all.push_back(resource.bytes);
  return all;
}

TEST(Push, IsOpenedAsFarAsItsResources) {
  const auto opened = decode_push(push(kCluster, {any(kCluster, "a"), any(kCluster, "b")}));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->version, "7");
  EXPECT_EQ(opened->nonce, "n");
  EXPECT_EQ(kind_of(opened->type_url), ResourceKind::kCluster);
  EXPECT_EQ(bytes_of(*opened), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(opened->trouble, "");
}

TEST(Push, TakesAResourceOutOfItsWrapper) {
  // envoy.service.discovery.v3.Resource: resource = 2.
  const std::string wrapped = field(2, any(kCluster, "inside"));
  const auto opened =
      decode_push(push(kCluster, {any("envoy.service.discovery.v3.Resource", wrapped)}));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(bytes_of(*opened), std::vector<std::string>{"inside"});
  EXPECT_EQ(opened->trouble, "");
}

TEST(Push, NamesAResourceOfAnotherType) {
  const auto opened = decode_push(push(kCluster, {any(kCluster, "a"), any(kListener, "b")}));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->trouble,
            "resource number 1 is a envoy.config.listener.v3.Listener, not a "
            "envoy.config.cluster.v3.Cluster");
}

// google.protobuf.Duration of that many seconds, below 128.
std::string seconds(int count) { return cat("\x08", std::string(1, static_cast<char>(count))); }

TEST(Push, MayBeGoodForAWhileOnly) {
  // envoy.service.discovery.v3.Resource: version = 1, resource = 2, name = 3, ttl = 6.
  const std::string wrapped =
      field(1, "5") + field(2, any(kCluster, "a")) + field(3, "x") + field(6, seconds(9));
  const auto opened =
      decode_push(push(kCluster, {any("envoy.service.discovery.v3.Resource", wrapped)}));
  ASSERT_TRUE(opened.ok());
  ASSERT_EQ(opened->resources.size(), 1u);
  EXPECT_EQ(opened->resources[0].ttl, Duration(9s));
  EXPECT_EQ(opened->resources[0].name, "x");
  EXPECT_EQ(opened->resources[0].version, "5");
  EXPECT_FALSE(opened->resources[0].heartbeat);
}

TEST(Push, AResourceWithoutABodyIsAHeartbeat) {
  const std::string wrapped = field(1, "5") + field(3, "x") + field(6, seconds(9));
  const auto opened =
      decode_push(push(kCluster, {any("envoy.service.discovery.v3.Resource", wrapped)}));
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(opened->resources[0].heartbeat);
  EXPECT_EQ(opened->trouble, "");
}

TEST(Push, OfDeltaSaysWhatChangedAndWhatIsGone) {
  // DeltaDiscoveryResponse: system_version_info = 1, resources = 2, type_url = 4, nonce = 5,
  // removed_resources = 6.
  const std::string one = field(1, "v1") + field(2, any(kCluster, "a")) + field(3, "x");
  const auto opened =
      decode_delta_push(field(1, "7") + field(2, one) + field(4, cat(kPrefix, kCluster)) +
                        field(5, "n") + field(6, "y") + field(6, "z"));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->version, "7");
  EXPECT_EQ(opened->nonce, "n");
  EXPECT_EQ(bytes_of(*opened), std::vector<std::string>{"a"});
  EXPECT_EQ(opened->resources[0].name, "x");
  EXPECT_EQ(opened->resources[0].version, "v1");
  EXPECT_EQ(opened->removed, (std::vector<std::string>{"y", "z"}));
}

TEST(Push, OfDeltaNamesAResourceOfAnotherType) {
  const std::string one = field(2, any(kListener, "a")) + field(3, "x");
  const auto opened = decode_delta_push(field(2, one) + field(4, cat(kPrefix, kCluster)));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->trouble,
            "resource number 0 is a envoy.config.listener.v3.Listener, not a "
            "envoy.config.cluster.v3.Cluster");
}

TEST(Push, IsRefusedWhereItBreaksOff) {
  const std::string whole = push(kCluster, {any(kCluster, "a")});
  EXPECT_FALSE(decode_push(std::string_view(whole).substr(0, whole.size() - 1)).ok());
}

}  // namespace
}  // namespace glia
