#include "control_plane/serve/node_resources.h"

#include "control_plane/objects/digest.h"
#include "control_plane/translate/pack.h"
#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

PackedRef packed(XdsType type, std::string bytes, const PackedRef& before) {
  std::string version = digest(bytes);
  if (before != nullptr && before->version == version) return before;
  auto packed = std::make_shared<PackedResource>();
  packed->version = std::move(version);
  packed->head.set_type_url(std::string(type_url(type)));
  packed->head.set_value(std::move(bytes));
  return packed;
}

PackedRef found_in(const ResourceMap* map, std::string_view name) {
  const ResourceMap::Entry* found = map == nullptr ? nullptr : map->find(name);
  return found == nullptr ? nullptr : found->resource;
}

template <class Message>
const std::string& resource_name(const Message& message) {
  if constexpr (requires { message.cluster_name(); }) {
    return message.cluster_name();
  } else {
    return message.name();
  }
}

PackedRef pack_resource(XdsType type, const google::protobuf::Message& message,
                        const PackedRef& before) {
  return pack_one(type, message, before);
}
PackedRef pack_resource(XdsType, const envoy::config::route::v3::RouteConfiguration& table,
                        const PackedRef& before) {
  ResourceMap hosts;
  for (const auto& host : table.virtual_hosts()) {
    const ResourceMap* parts = before == nullptr ? nullptr : &before->parts;
    hosts.set(host.name(), pack_host(host, found_in(parts, host.name())));
  }
  PackedRef made = pack_table(table.name(), std::move(hosts));
  return before != nullptr && before->version == made->version ? before : made;
}

template <class List>
NodeResources::Kind pack_kind(XdsType type, const List& list, const NodeResources* before) {
  const ResourceMap* old = before == nullptr ? nullptr : &before->of(type).resources;
  ResourceMap resources;
  for (const auto& message : list) {
    const std::string& name = resource_name(message);
    resources.set(name, pack_resource(type, message, found_in(old, name)));
  }
  // What is the same is the same nodes, too.
  if (old != nullptr && old->same(resources)) return before->of(type);
  return kind_of(std::move(resources));
}

}  // namespace

std::string_view type_url(XdsType type) {
  switch (type) {
    case XdsType::kCluster: return "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    case XdsType::kEndpoints:
      return "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    case XdsType::kListener: return "type.googleapis.com/envoy.config.listener.v3.Listener";
    case XdsType::kRoutes: return "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
  }
  CHECK(false);
}

std::string_view name_of(XdsType type) {
  constexpr std::array<std::string_view, kXdsTypes.size()> kNames = {"clusters", "endpoints",
                                                                     "listeners", "routes"};
  return kNames[static_cast<std::size_t>(type)];
}

std::optional<XdsType> xds_type(std::string_view url) {
  for (const XdsType type : kXdsTypes) {
    if (url == type_url(type)) return type;
  }
  return {};
}

bool same_content(const PackedRef& a, const PackedRef& b) {
  if (a == b) return true;
  return a != nullptr && b != nullptr && a->version == b->version;
}

const google::protobuf::Any& PackedResource::any() const {
  if (parts.empty()) return head;
  if (!whole_.value().empty()) return whole_;
  std::string bytes = head.value();
  for (const ResourceMap::Entry& part : parts) bytes += part.resource->head.value();
  whole_.set_type_url(head.type_url());
  whole_.set_value(std::move(bytes));
  return whole_;
}

PackedRef pack_one(XdsType type, const google::protobuf::Message& message,
                   const PackedRef& before) {
  return packed(type, serialize(message), before);
}

PackedRef pack_host(envoy::config::route::v3::VirtualHost host, const PackedRef& before) {
  envoy::config::route::v3::RouteConfiguration only;
  *only.add_virtual_hosts() = std::move(host);
  return packed(XdsType::kRoutes, serialize(only), before);
}

PackedRef pack_table(const std::string& name, ResourceMap hosts) {
  envoy::config::route::v3::RouteConfiguration table;
  table.set_name(name);
  auto packed = std::make_shared<PackedResource>();
  packed->version = digest(cat(name, " ", hosts.content().text()));
  packed->head.set_type_url(std::string(type_url(XdsType::kRoutes)));
  packed->head.set_value(serialize(table));
  packed->parts = std::move(hosts);
  return packed;
}

NodeResources::Kind kind_of(ResourceMap resources) {
  std::string version = resources.content().text();
  return {std::move(version), std::move(resources)};
}

std::shared_ptr<const NodeResources> pack(const Resources& resources, const NodeResources* before) {
  auto all = std::make_shared<NodeResources>();
  all->of(XdsType::kCluster) = pack_kind(XdsType::kCluster, resources.clusters, before);
  all->of(XdsType::kEndpoints) = pack_kind(XdsType::kEndpoints, resources.endpoints, before);
  all->of(XdsType::kListener) = pack_kind(XdsType::kListener, resources.listeners, before);
  all->of(XdsType::kRoutes) = pack_kind(XdsType::kRoutes, resources.routes, before);
  return all;
}

}  // namespace glia
