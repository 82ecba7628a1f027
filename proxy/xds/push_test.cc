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

TEST(Push, IsOpenedAsFarAsItsResources) {
  const auto opened = decode_push(push(kCluster, {any(kCluster, "a"), any(kCluster, "b")}));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->version, "7");
  EXPECT_EQ(opened->nonce, "n");
  EXPECT_EQ(kind_of(opened->type_url), ResourceKind::kCluster);
  EXPECT_EQ(opened->resources, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(opened->trouble, "");
}

TEST(Push, TakesAResourceOutOfItsWrapper) {
  // envoy.service.discovery.v3.Resource: resource = 2.
  const std::string wrapped = field(2, any(kCluster, "inside"));
  const auto opened =
      decode_push(push(kCluster, {any("envoy.service.discovery.v3.Resource", wrapped)}));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->resources, std::vector<std::string>{"inside"});
  EXPECT_EQ(opened->trouble, "");
}

TEST(Push, NamesAResourceOfAnotherType) {
  const auto opened = decode_push(push(kCluster, {any(kCluster, "a"), any(kListener, "b")}));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->trouble,
            "resource number 1 is a envoy.config.listener.v3.Listener, not a "
            "envoy.config.cluster.v3.Cluster");
}

TEST(Push, IsRefusedWhereItBreaksOff) {
  const std::string whole = push(kCluster, {any(kCluster, "a")});
  EXPECT_FALSE(decode_push(std::string_view(whole).substr(0, whole.size() - 1)).ok());
}

}  // namespace
}  // namespace glia
