#include "control_plane/serve/node_resources.h"

#include "control_plane/objects/digest.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

std::string serialized(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  CHECK(message.SerializeToCodedStream(&coded));
  coded.Trim();
  return bytes;
}

template <class List>
NodeResources::Kind pack_kind(XdsType type, const List& list, const NodeResources* before) {
  const PackedMap* old = before == nullptr ? nullptr : before->of(type).resources.get();
  PackedMap resources;
  for (const auto& message : list) {
    const std::string* name = nullptr;
    if constexpr (requires { message.cluster_name(); }) {
      name = &message.cluster_name();
    } else {
      name = &message.name();
    }
    resources[*name] = pack_one(type, *name, message, old);
  }
  if (old != nullptr && same_content(*old, resources)) return before->of(type);
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
  return a != nullptr && b != nullptr && a->any.value() == b->any.value();
}

bool same_content(const PackedMap& a, const PackedMap& b) {
  if (&a == &b) return true;
  if (a.size() != b.size()) return false;
  for (auto i = a.begin(), j = b.begin(); i != a.end(); ++i, ++j) {
    if (i->first != j->first || !same_content(i->second, j->second)) return false;
  }
  return true;
}

PackedRef pack_one(XdsType type, const std::string& name, const google::protobuf::Message& message,
                   const PackedMap* before) {
  std::string bytes = serialized(message);
  if (before != nullptr) {
    const auto found = before->find(name);
    if (found != before->end() && found->second->any.value() == bytes) return found->second;
  }
  auto packed = std::make_shared<PackedResource>();
  packed->version = digest(bytes);
  packed->any.set_type_url(std::string(type_url(type)));
  packed->any.set_value(std::move(bytes));
  return packed;
}

NodeResources::Kind kind_of(PackedMap resources) {
  std::string all, names;
  for (const auto& [name, resource] : resources) {
    all += cat(name, " ", resource->version, "\n");
    names += cat(name, "\n");
  }
  return {digest(all), digest(names), std::make_shared<const PackedMap>(std::move(resources))};
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
