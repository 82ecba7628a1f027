// Draft: the last good version of each resource, on the main thread.
//
// A push is applied whole or not at all, to a copy (resources are shared, so a copy is a few maps);
// only when freeze.h made a drawing of the copy does it replace the draft. A resource whose bytes
// did not change stays the same object, which is how freeze knows what it can share with the last
// drawing.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/xds/errors.h"
#include "proxy/xds/message.h"
#include "proxy/xds/resources.h"

namespace glia {

// In the order in which changes are applied: make before break.
enum class ResourceKind : uint8_t { kSecret, kCluster, kEndpoints, kListener, kRoutes };
inline constexpr ResourceKind kResourceKinds[] = {ResourceKind::kSecret, ResourceKind::kCluster,
                                                  ResourceKind::kEndpoints, ResourceKind::kListener,
                                                  ResourceKind::kRoutes};
// "envoy.config.cluster.v3.Cluster"
std::string_view message_of(ResourceKind kind);
// "type.googleapis.com/envoy.config.cluster.v3.Cluster"
std::string type_url_of(ResourceKind kind);
std::string_view word_of(ResourceKind kind);   // "cluster"
std::string_view short_of(ResourceKind kind);  // "cds"

// One resource, decoded, with its bytes for /config_dump.
struct Resource {
  std::string name;
  std::string version;  // Of the push in which it last changed; "" if static.
  std::string bytes;
  WallTime updated;
  bool is_static = false;
  std::variant<SecretResource, ClusterResource, std::shared_ptr<const EndpointSet>,
               ListenerResource,
               std::shared_ptr<const RouteTable>>
      value;  // By ResourceKind, in its order.
};
using ResourceRef = std::shared_ptr<const Resource>;
using ResourceMap = std::map<std::string, ResourceRef, std::less<>>;

// What a delta push says beyond its resources.
struct DeltaPart {
  std::vector<std::string> versions = {};  // Of each resource of the push.
  std::vector<std::string> removed = {};   // Names of what is gone.
};

class Draft {
 public:
  // A static resource, at `path` of the bootstrap.
  void add_static(ResourceKind kind, const Message& resource, const std::string& path, WallTime now,
                  Errors& errors);
  // A push of one kind: the bytes of its resources. Listeners and clusters that are not in it are
  // removed (static ones stay); routes, endpoints and secrets are only added or replaced, and only
  // if they are wanted. Of `unsaid` the control plane could not say anything: they stay as they are.
  // With errors nothing is changed.
  void apply(ResourceKind kind, const std::string& version,
             const std::vector<std::string_view>& resources, WallTime now, Errors& errors,
             const std::set<std::string>& unsaid = {});
  // The same for delta: the rest stays as it is. What is removed of routes, endpoints and secrets
  // stays while it is wanted.
  void change(ResourceKind kind, const std::string& version,
              const std::vector<std::string_view>& resources, const DeltaPart& delta, WallTime now,
              Errors& errors);
  // Removes dynamic resources at once, whoever uses them: nobody answers for them any more.
  void expire(ResourceKind kind, const std::set<std::string>& names);
  // A secret that the proxy holds itself ("default", "ROOTCA"); replaces the one before.
  void set_secret(SecretResource secret);

  const ResourceMap& of(ResourceKind kind) const {
    return resources_[static_cast<std::size_t>(kind)];
  }
  // Null while it has not arrived.
  const SecretResource* secret(std::string_view name) const;
  // Names of the routes, endpoints and secrets that listeners and clusters want by ADS.
  std::set<std::string> wanted(ResourceKind kind) const;
  // Drops dynamic routes, endpoints and secrets that nothing wants, and clusters that were removed
  // once nothing names them: a server may remove a cluster before it tells us the routes without
  // it.
  void prune();
  // Removed, but still in use.
  bool leaving(std::string_view cluster) const { return leaving_.contains(cluster); }
  // Of the last accepted push; "" if there was none.
  const std::string& version(ResourceKind kind) const {
    return versions_[static_cast<std::size_t>(kind)];
  }
  // "cds=3 lds=7", or "static".
  std::string version_text() const;

 private:
  // By name; with errors it is not complete.
  ResourceMap decode_all(ResourceKind kind, const std::vector<std::string_view>& resources,
                         const std::function<const std::string&(std::size_t)>& version_of,
                         WallTime now, Errors& errors) const;
  void put(ResourceKind kind, const std::string& version, ResourceMap pushed);
  std::set<std::string_view> clusters_in_use() const;
  ResourceMap& map_of(ResourceKind kind) { return resources_[static_cast<std::size_t>(kind)]; }

  ResourceMap resources_[5];
  std::string versions_[5];
  std::map<std::string, SecretResource, std::less<>> own_secrets_;
  std::set<std::string, std::less<>> leaving_;  // Clusters.
};

// One resource in a tree to what it is in the draft; `path` names it in errors. `filters` stand
// before routes.
ResourceRef decode_resource(ResourceKind kind, const Message& message, const std::string& version,
                            const std::string& path, WallTime now, Errors& errors,
                            const std::vector<FilterConfig>& filters = {});

}  // namespace glia
