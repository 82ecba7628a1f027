// NodeResources: what one workload's sidecar shall have, packed for the wire once and shared by
// every stream and every push that needs it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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

// One resource as it goes onto the wire. Equal messages are equal bytes and have equal versions.
struct PackedResource {
  google::protobuf::Any any;
  std::string version;  // Hash of the bytes, 16 hexadecimal digits.
};
using PackedRef = std::shared_ptr<const PackedResource>;
// By name. A null is a resource of which only the name is known.
using PackedMap = std::map<std::string, PackedRef, std::less<>>;
using PackedMapRef = std::shared_ptr<const PackedMap>;

bool same_content(const PackedRef& a, const PackedRef& b);
bool same_content(const PackedMap& a, const PackedMap& b);

struct NodeResources {
  struct Kind {
    std::string version;  // Hash over names and versions, 16 hexadecimal digits.
    std::string names;    // Hash over the names alone.
    PackedMapRef resources = std::make_shared<const PackedMap>();
  };
  std::array<Kind, kXdsTypes.size()> kinds;

  const Kind& of(XdsType type) const { return kinds[static_cast<std::size_t>(type)]; }
  Kind& of(XdsType type) { return kinds[static_cast<std::size_t>(type)]; }
};

// Serializes deterministically. What is equal in `before` (which may be null) is shared with it, so
// that comparing the two is comparing pointers.
std::shared_ptr<const NodeResources> pack(const Resources& resources,
                                          const NodeResources* before = nullptr);
// One message alone, the same way.
PackedRef pack_one(XdsType type, const std::string& name, const google::protobuf::Message& message,
                   const PackedMap* before = nullptr);
NodeResources::Kind kind_of(PackedMap resources);

}  // namespace glia
