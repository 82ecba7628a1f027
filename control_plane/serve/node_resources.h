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

// Resources by name. The same content is the same serialized bytes.
using ResourceMap =
    std::map<std::string, std::shared_ptr<const google::protobuf::Any>, std::less<>>;
bool same_content(const ResourceMap& a, const ResourceMap& b);

struct NodeResources {
  struct Kind {
    std::string version;
    ResourceMap resources;
  };
  std::array<Kind, kXdsTypes.size()> kinds;

  const Kind& of(XdsType type) const { return kinds[static_cast<std::size_t>(type)]; }
  Kind& of(XdsType type) { return kinds[static_cast<std::size_t>(type)]; }
};

// Serializes deterministically, so that equal messages are equal bytes.
std::shared_ptr<const NodeResources> pack(const Resources& resources);

}  // namespace glia
