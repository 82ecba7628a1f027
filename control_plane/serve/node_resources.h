// NodeResources: what one workload's sidecar shall have, packed for the wire once and shared by
// every stream and every push that needs it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "control_plane/serve/resource_map.h"
#include "control_plane/translate/translate.h"
#include "google/protobuf/any.pb.h"

namespace glia {

// The kinds of resources that we serve, in the order in which a change is sent: what is referred to
// before what refers to it (xDS protocol, "Eventual consistency considerations").
enum class XdsType : uint8_t { kCluster, kEndpoints, kListener, kRoutes };
inline constexpr std::array kXdsTypes = {XdsType::kCluster, XdsType::kEndpoints, XdsType::kListener,
                                         XdsType::kRoutes};

std::string_view type_url(XdsType type);
// "clusters", "endpoints", "listeners", "routes"; for logs.
std::string_view name_of(XdsType type);
std::optional<XdsType> xds_type(std::string_view type_url);

// One resource as it goes onto the wire. Equal messages have equal versions.
struct PackedResource {
  std::string version;  // Hash of the content, 16 hexadecimal digits.
  // All of it, or all but the parts. The bytes of a message are those of its fields, one after the
  // other, so a large table of which one host changed is neither made nor hashed as a whole again.
  google::protobuf::Any head;
  ResourceMap parts = {};  // Hosts of a RouteConfiguration, each as the bytes of its field.

  // The whole message. With parts, it is put together when somebody is sent it.
  const google::protobuf::Any& any() const;

 private:
  mutable google::protobuf::Any whole_;
};

bool same_content(const PackedRef& a, const PackedRef& b);

struct NodeResources {
  struct Kind {
    std::string version;  // Hash over names and versions, 16 hexadecimal digits.
    ResourceMap resources;
  };
  std::array<Kind, kXdsTypes.size()> kinds;

  const Kind& of(XdsType type) const { return kinds[static_cast<std::size_t>(type)]; }
  Kind& of(XdsType type) { return kinds[static_cast<std::size_t>(type)]; }
};

// A virtual host as a part of a table, and a table of such parts by name of host.
PackedRef pack_host(envoy::config::route::v3::VirtualHost host, const PackedRef& before = nullptr);
PackedRef pack_table(const std::string& name, ResourceMap hosts);

// Serializes deterministically. What is equal in `before` (which may be null) is shared with it.
std::shared_ptr<const NodeResources> pack(const Resources& resources,
                                          const NodeResources* before = nullptr);
// One message alone, the same way.
PackedRef pack_one(XdsType type, const google::protobuf::Message& message,
                   const PackedRef& before = nullptr);
NodeResources::Kind kind_of(ResourceMap resources);

}  // namespace glia
