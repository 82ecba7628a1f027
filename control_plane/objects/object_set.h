// ObjectSet: all objects of one mesh, read from files, checked alone and against each other.
//
// load() never stops at the first mistake: it returns every problem of every document, in the order
// of files and lines. Pure apart from reading files; the same input gives the same answer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control_plane/objects/canary.h"
#include "control_plane/objects/digest.h"
#include "control_plane/objects/inference_pool.h"
#include "control_plane/objects/model_policy.h"
#include "control_plane/objects/objects.h"

namespace glia {

struct Problem {
  enum class Severity : uint8_t { kError, kWarning };
  std::string file;
  int line = 0, column = 0;  // From 1; 0: the file as a whole.
  std::string message;       // "HTTPRoute classify: spec.rules[0].backendRef is not a field; ..."
  Severity severity = Severity::kError;

  // "mesh.yaml:12:5: message", with "warning: " before the message of a warning.
  std::string text() const;
};

// Every vector is in order of namespace and name, so that what is made of it is deterministic.
struct ObjectSet {
  Mesh mesh;
  std::vector<Workload> workloads;
  std::vector<MeshService> services;  // And one of each InferencePool.
  std::vector<InferencePool> inference_pools;
  std::vector<HttpRoute> http_routes;
  std::vector<GrpcRoute> grpc_routes;
  std::vector<TrafficPolicy> traffic_policies;
  std::vector<ModelPolicy> model_policies;
  std::vector<EndpointSlice> slices;
  std::vector<ReferenceGrant> grants;
  std::vector<AuthorizationPolicy> policies;
  std::vector<Canary> canaries;
  SetDigest sources;    // Of names and texts.
  std::string version;  // The same, 16 hexadecimal digits.
  // "address:port" -> place of the workload that listens there, itself or by its sidecar; not in YAML.
  std::map<std::string, std::size_t> sockets;

  // Null if there is none. `key` is "namespace/name", or "name" in the namespace `default`.
  const Workload* workload(std::string_view key) const;
  const MeshService* service(std::string_view ns, std::string_view name) const;
  // A Service or an InferencePool, as a route names it by `kind` and name.
  const MeshService* backend(std::string_view kind, std::string_view ns,
                             std::string_view name) const;
  // The policy for this port of the Service: one that names it, else one that names none, else null.
  const TrafficPolicy* traffic_policy(const MeshService& service, uint16_t port) const;
  // Null if the Service has none.
  const ModelPolicy* model_policy(const MeshService& service) const;
  const Canary* canary(const MeshService& service) const;
  // Whose sidecar listens there; null if nobody's of the mesh does.
  const Workload* workload_at(std::string_view address, uint16_t port) const;
  // "spiffe://<trustDomain>/ns/<namespace>/sa/<identity>"
  std::string spiffe_id(const Workload& workload) const;
  // The same for an identity as a policy of namespace `ns` writes it; not for "*".
  std::string spiffe_id(std::string_view identity, std::string_view ns) const;
  std::size_t size() const;  // Number of objects.
};

// Calls `take` with every list of objects (as a pointer to member), in the order of the kinds.
template <class Take>
void each_list(Take take) {
  take(&ObjectSet::workloads);
  take(&ObjectSet::services);
  take(&ObjectSet::inference_pools);
  take(&ObjectSet::http_routes);
  take(&ObjectSet::grpc_routes);
  take(&ObjectSet::traffic_policies);
  take(&ObjectSet::model_policies);
  take(&ObjectSet::slices);
  take(&ObjectSet::grants);
  take(&ObjectSet::policies);
  take(&ObjectSet::canaries);
}

// The place of an object in a list in order of namespace and name; nothing if it is not there.
template <class T>
std::optional<std::size_t> place_of(const std::vector<T>& objects, std::string_view ns,
                                    std::string_view name) {
  const auto before = [](const T& object,
                         const std::pair<std::string_view, std::string_view>& key) {
    const int order = std::string_view(object.metadata.ns).compare(key.first);
    return order < 0 || (order == 0 && object.metadata.name < key.second);
  };
  const auto found = std::lower_bound(objects.begin(), objects.end(), std::pair(ns, name), before);
  const bool there =
      found != objects.end() && found->metadata.ns == ns && found->metadata.name == name;
  if (!there) return {};
  return static_cast<std::size_t>(found - objects.begin());
}

// Does every label of `selector` stand in `labels`? True if it is empty.
bool selects(const TextMap& selector, const TextMap& labels);

struct LoadReport {
  ObjectSet objects;  // Without the objects that have errors of their own; use only if ok().
  std::vector<Problem> problems;
  std::vector<std::string> files;  // What was read, for those who watch it.

  bool ok() const;  // No errors; warnings may be there.
  // The errors, one a line: what a log or a NACK says.
  std::string errors() const;
};

struct SourceText {
  std::string name;  // As it shall stand in problems.
  std::string text;
};

// What a route that names something which is not there is: where all objects come together, a mistake;
// where they come one by one, or may go, a warning, and a part of the route's status (reference.h).
enum class References : uint8_t { kMustExist, kMayBeMissing };

// What paths hold: files, or directories of which every *.yaml and *.yml is meant (not those below).
// Both append what cannot be read to `problems`.
std::vector<std::string> list_files(const std::vector<std::string>& paths,
                                    std::vector<Problem>& problems);
std::optional<SourceText> read_file(const std::string& name, std::vector<Problem>& problems);
LoadReport load(const std::vector<std::string>& paths);
LoadReport parse(const std::vector<SourceText>& sources,
                 References references = References::kMustExist);

// Limits of what is read; beyond them a file is refused.
inline constexpr std::size_t kMaxFileBytes = 8u << 20;
inline constexpr std::size_t kMaxFiles = 1000;
inline constexpr std::size_t kMaxObjects = 50'000;
inline constexpr std::size_t kMaxYamlNodes = 1'000'000;  // A file, aliases expanded.
inline constexpr int kMaxYamlDepth = 64;
inline constexpr std::size_t kMaxProblems = 200;         // More are counted, not listed,
inline constexpr std::size_t kMaxProblemsHeld = 20'000;  // up to this many.

}  // namespace glia
