#include "control_plane/serve/node_resources.h"

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "proxy/base/check.h"

namespace glia {
namespace {

std::shared_ptr<const google::protobuf::Any> pack_one(XdsType type,
                                                      const google::protobuf::Message& message) {
  auto any = std::make_shared<google::protobuf::Any>();
  any->set_type_url(std::string(type_url(type)));
  google::protobuf::io::StringOutputStream stream(any->mutable_value());
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  CHECK(message.SerializeToCodedStream(&coded));
  return any;
}

template <class List>
void pack_kind(NodeResources& all, XdsType type, const List& list, const std::string& version) {
  NodeResources::Kind& kind = all.of(type);
  kind.version = version;
  for (const auto& message : list) {
    if constexpr (requires { message.cluster_name(); }) {
      kind.resources[message.cluster_name()] = pack_one(type, message);
    } else {
      kind.resources[message.name()] = pack_one(type, message);
    }
  }
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

bool same_content(const ResourceMap& a, const ResourceMap& b) {
  if (a.size() != b.size()) return false;
  for (auto i = a.begin(), j = b.begin(); i != a.end(); ++i, ++j) {
    if (i->first != j->first) return false;
    if (i->second != j->second && i->second->value() != j->second->value()) return false;
  }
  return true;
}

std::shared_ptr<const NodeResources> pack(const Resources& resources) {
  auto all = std::make_shared<NodeResources>();
  pack_kind(*all, XdsType::kCluster, resources.clusters, resources.clusters_version);
  pack_kind(*all, XdsType::kEndpoints, resources.endpoints, resources.endpoints_version);
  pack_kind(*all, XdsType::kListener, resources.listeners, resources.listeners_version);
  pack_kind(*all, XdsType::kRoutes, resources.routes, resources.routes_version);
  return all;
}

}  // namespace glia
