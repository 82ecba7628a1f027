// What a proxy shall have, in tests of sessions: names with contents.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "control_plane/serve/node_resources.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"

namespace glia {

using Contents = std::map<std::string, std::string>;  // Name -> content of a resource.

struct Target {
  Contents clusters = {}, endpoints = {}, listeners = {}, routes = {};
};

// The version of a kind is its contents, that of a resource its content with a "v" before it.
inline std::shared_ptr<const NodeResources> made(const Target& target) {
  auto all = std::make_shared<NodeResources>();
  const auto fill = [&all](XdsType type, const Contents& contents) {
    ResourceMap& resources = all->of(type).resources;
    for (const auto& [name, content] : contents) {
      auto packed = std::make_shared<PackedResource>();
      packed->head.set_type_url(std::string(type_url(type)));
      packed->head.set_value(content);
      packed->version = "v" + content;
      resources.set(name, std::move(packed));
      all->of(type).version += content;
    }
  };
  fill(XdsType::kCluster, target.clusters);
  fill(XdsType::kEndpoints, target.endpoints);
  fill(XdsType::kListener, target.listeners);
  fill(XdsType::kRoutes, target.routes);
  return all;
}

inline const Target kSmall = {.clusters = {{"a", "a1"}},
                              .endpoints = {{"a", "ea1"}},
                              .listeners = {{"in", "in1"}},
                              .routes = {{"out", "r1"}}};

// A serialized ClusterLoadAssignment of that cluster without endpoints.
inline std::string nobody(const std::string& cluster) {
  envoy::config::endpoint::v3::ClusterLoadAssignment none;
  none.set_cluster_name(cluster);
  none.add_endpoints();
  return none.SerializeAsString();
}

}  // namespace glia
