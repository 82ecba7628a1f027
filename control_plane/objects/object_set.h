// ObjectSet: all objects of one mesh, read from files, checked alone and against each other.
//
// load() never stops at the first mistake: it returns every problem of every document, in the order
// of files and lines. Pure apart from reading files; the same input gives the same answer.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/objects/canary.h"
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
  std::vector<MeshService> services;
  std::vector<HttpRoute> http_routes;
  std::vector<GrpcRoute> grpc_routes;
  std::vector<TrafficPolicy> traffic_policies;
  std::vector<EndpointSlice> slices;
  std::vector<ReferenceGrant> grants;
  std::vector<AuthorizationPolicy> policies;
  std::vector<Canary> canaries;
  std::string version;  // Hash of the sources, 16 hexadecimal digits.

  // Null if there is none. `key` is "namespace/name", or "name" in the namespace `default`.
  const Workload* workload(std::string_view key) const;
  const MeshService* service(std::string_view ns, std::string_view name) const;
  // The policy for this port of the Service: one that names it, else one that names none, else null.
  const TrafficPolicy* traffic_policy(const MeshService& service, uint16_t port) const;
  // Null if the Service has none.
  const Canary* canary(const MeshService& service) const;
  // Whose sidecar listens there; null if nobody's of the mesh does.
  const Workload* workload_at(std::string_view address, uint16_t port) const;
  // "spiffe://<trustDomain>/ns/<namespace>/sa/<identity>"
  std::string spiffe_id(const Workload& workload) const;
  // The same for an identity as a policy of namespace `ns` writes it; not for "*".
  std::string spiffe_id(std::string_view identity, std::string_view ns) const;
  std::size_t size() const;  // Number of objects.
};

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

// Paths are files, or directories of which every *.yaml and *.yml is read (not those below them).
LoadReport load(const std::vector<std::string>& paths);
LoadReport parse(const std::vector<SourceText>& sources,
                 References references = References::kMustExist);

// Limits of what is read; beyond them a file is refused.
inline constexpr std::size_t kMaxFileBytes = 8u << 20;
inline constexpr std::size_t kMaxFiles = 1000;
inline constexpr std::size_t kMaxObjects = 20'000;
inline constexpr std::size_t kMaxYamlNodes = 1'000'000;  // A file, aliases expanded.
inline constexpr int kMaxYamlDepth = 64;
inline constexpr std::size_t kMaxProblems = 200;         // More are counted, not listed,
inline constexpr std::size_t kMaxProblemsHeld = 20'000;  // up to this many.

}  // namespace glia
