#include "control_plane/serve/mesh_state.h"

#include <utility>

#include "control_plane/translate/proxyless.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

// Certificates of one domain mean nothing in another, and ours can only sign for the first.
std::string trust_domain_changed(const ObjectSet& old, const ObjectSet& edited) {
  return cat(edited.mesh.metadata.file, ":", edited.mesh.metadata.at.line, ": Mesh ",
             edited.mesh.metadata.name, ": spec.trustDomain cannot change from ",
             old.mesh.spec.trust_domain, " to ", edited.mesh.spec.trust_domain,
             " while the mesh runs; stop glia-control and start it with a new --state-dir, then "
             "let every sidecar join again");
}

}  // namespace

MeshState::Edit MeshState::apply(LoadReport report) {
  errors_.clear();
  for (const Problem& problem : report.problems) {
    if (problem.severity == Problem::Severity::kError) errors_.push_back(problem.text());
  }
  if (errors_.empty() && report.objects.mesh.spec.trust_domain != objects_.mesh.spec.trust_domain) {
    errors_.push_back(trust_domain_changed(objects_, report.objects));
  }
  if (!errors_.empty()) return Edit::kRefused;
  if (report.objects.version == objects_.version) return Edit::kUnchanged;
  objects_ = std::move(report.objects);
  put_splits();
  before_ = std::exchange(now_, {});
  before_.whole.clear();
  return Edit::kTaken;
}

namespace {

template <class Map, class Key>
const NodeResources* find(const Map& map, const Key& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : found->second.get();
}

}  // namespace

std::shared_ptr<const NodeResources> MeshState::resources(std::string_view name,
                                                          ClientKind client) {
  const Workload* workload = objects_.workload(name);
  if (workload == nullptr) return nullptr;
  NodeRef& made = now_.whole[{workload->metadata.key(), client}];
  if (made == nullptr) made = make(*workload, client);
  return made;
}

MeshState::NodeRef MeshState::own(const Workload& workload) {
  const std::string key = workload.metadata.key();
  NodeRef& made = now_.own[key];
  if (made == nullptr) {
    made = pack(translate_own(objects_, workload), find(before_.own, key));
  }
  return made;
}

MeshState::Outbound& MeshState::outbound(const std::string& ns, ClientKind client) {
  std::unique_ptr<Outbound>& made = now_.outbound[{ns, client}];
  if (made != nullptr) return *made;
  made = std::make_unique<Outbound>();
  Resources all = translate_outbound(objects_, ns);
  if (client == ClientKind::kProxyless) all = proxyless(std::move(all));
  const auto before = before_.outbound.find({ns, client});
  made->packed =
      pack(all, before == before_.outbound.end() ? nullptr : before->second->packed.get());
  made->routes = std::move(all.routes.front());
  return *made;
}

// Clusters and endpoints are those of the whole, the routes a table of their own.
MeshState::NodeRef MeshState::within(const Workload& workload, ClientKind client) {
  const SharedKey key = {workload.metadata.ns, workload.spec.egress, client};
  NodeRef& made = now_.shared[key];
  if (made != nullptr) return made;
  Outbound& all = outbound(workload.metadata.ns, client);
  if (!all.index) all.index.emplace(all.routes);
  std::set<std::string> clusters;
  Resources some;
  some.routes.push_back(all.index->within(workload.spec.egress, clusters));
  auto node = std::make_shared<NodeResources>(*pack(some, find(before_.shared, key)));
  node->of(XdsType::kListener) = all.packed->of(XdsType::kListener);
  for (const XdsType type : {XdsType::kCluster, XdsType::kEndpoints}) {
    const PackedMap& whole = *all.packed->of(type).resources;
    PackedMap part;
    for (const std::string& name : clusters) {
      const auto found = whole.find(name);
      if (found != whole.end()) part.insert(*found);
    }
    node->of(type) = kind_of(std::move(part));
  }
  return made = std::move(node);
}

MeshState::NodeRef MeshState::shared(const Workload& workload, ClientKind client) {
  if (!workload.spec.egress.empty()) return within(workload, client);
  return outbound(workload.metadata.ns, client).packed;
}

MeshState::NodeRef MeshState::make(const Workload& workload, ClientKind client) {
  const NodeRef shared = this->shared(workload, client);
  if (client == ClientKind::kProxyless) return shared;
  const NodeRef own = this->own(workload);
  auto whole = std::make_shared<NodeResources>(*shared);
  whole->of(XdsType::kListener) = own->of(XdsType::kListener);
  const MergedKey key = {shared->of(XdsType::kCluster).resources,
                         own->of(XdsType::kCluster).version};
  NodeResources::Kind& merged = now_.merged[key];
  if (merged.version.empty()) {
    const auto kept = before_.merged.find(key);
    if (kept != before_.merged.end()) {
      merged = kept->second;
    } else {
      PackedMap all = *key.first;
      const PackedMap& more = *own->of(XdsType::kCluster).resources;
      all.insert(more.begin(), more.end());
      merged = kind_of(std::move(all));
    }
  }
  whole->of(XdsType::kCluster) = merged;
  return whole;
}

}  // namespace glia
