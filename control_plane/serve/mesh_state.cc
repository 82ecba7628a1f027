#include "control_plane/serve/mesh_state.h"

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
  packed_.clear();
  return Edit::kTaken;
}

std::shared_ptr<const NodeResources> MeshState::resources(std::string_view name) {
  const Workload* workload = objects_.workload(name);
  if (workload == nullptr) return nullptr;
  std::string key = workload->metadata.key();
  const auto found = packed_.find(key);
  if (found != packed_.end()) return found->second;
  return packed_[std::move(key)] = pack(translate(objects_, *workload));
}

}  // namespace glia
