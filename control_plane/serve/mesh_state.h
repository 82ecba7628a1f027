// MeshState: the objects in force, what each sidecar shall have because of them, and why the newest
// edit is not in force.
//
// Belongs to the control plane's loop. An edit replaces everything or nothing. Nearly all of what a
// sidecar gets is the same for all workloads of its namespace that may call the same Services, so
// that is made once for them; and what an edit leaves as it was is the same object as before it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "control_plane/serve/node_resources.h"
#include "control_plane/translate/scope.h"

namespace glia {

// Who asks: a proxy beside the application, or the application itself, with gRPC's own xDS.
enum class ClientKind : uint8_t { kSidecar, kProxyless };

// What the canary controller has decided, by "namespace/name" of the Canary.
using CanarySplits = std::map<std::string, Canary::Split, std::less<>>;

class MeshState {
 public:
  // `objects` of a report that is ok().
  explicit MeshState(ObjectSet objects) : objects_(std::move(objects)) {}

  enum class Edit : uint8_t {
    kTaken,      // The objects are in force now.
    kUnchanged,  // They say what is in force already; earlier errors are settled.
    kRefused,    // Nothing changed; see errors().
  };
  Edit apply(LoadReport report);

  // Of these objects and of those that will be applied; nothing goes to the candidate of a Canary that
  // is not named. Did that change anything?
  bool split(CanarySplits splits);

  const ObjectSet& objects() const { return objects_; }
  // Of the newest edit; empty if it is in force. One "file:line:column: sentence" each.
  const std::vector<std::string>& errors() const { return errors_; }
  // Made on first use and kept until the objects change; null if there is no such workload.
  std::shared_ptr<const NodeResources> resources(std::string_view workload,
                                                 ClientKind client = ClientKind::kSidecar);

 private:
  using NodeRef = std::shared_ptr<const NodeResources>;
  // The way to every Service, for a namespace and a kind of client.
  struct Outbound {
    NodeRef packed;
    envoy::config::route::v3::RouteConfiguration routes;
    std::optional<RouteIndex> index;  // Of `routes`, once a workload may call only some Services.
  };
  using OutboundKey = std::pair<std::string, ClientKind>;
  // By namespace, what its workloads may call, and kind of client.
  using SharedKey = std::tuple<std::string, std::vector<std::string>, ClientKind>;
  // By the clusters that are shared, and the version of the workload's own.
  using MergedKey = std::pair<PackedMapRef, std::string>;
  struct Made {
    std::map<std::string, NodeRef, std::less<>> own;  // By workload.
    std::map<OutboundKey, std::unique_ptr<Outbound>> outbound;
    std::map<SharedKey, NodeRef> shared;  // Of workloads that may call only some Services.
    std::map<MergedKey, NodeResources::Kind> merged;  // Clusters of whole nodes.
    std::map<std::pair<std::string, ClientKind>, NodeRef> whole;
  };

  void put_splits();
  NodeRef own(const Workload& workload);
  Outbound& outbound(const std::string& ns, ClientKind client);
  NodeRef within(const Workload& workload, ClientKind client);
  NodeRef shared(const Workload& workload, ClientKind client);
  NodeRef make(const Workload& workload, ClientKind client);

  ObjectSet objects_;
  CanarySplits splits_;
  std::vector<std::string> errors_;
  Made now_, before_;  // Of the objects in force, and of those before them.
};

}  // namespace glia
