// diff: what a change of the objects would send to which sidecars.
#pragma once

#include <string>
#include <vector>

#include "control_plane/objects/object_set.h"

namespace glia {

struct ResourceChange {
  enum class Kind : uint8_t { kAdded, kChanged, kRemoved };
  Kind kind = Kind::kChanged;
  std::string what;  // "cluster outbound:80:a.default", "host a.default:80 of routes outbound"
  // kChanged: lines of the resource as text, each with "- " or "+ " before it; at most kMostLines.
  std::vector<std::string> lines;
  static constexpr std::size_t kMostLines = 60;
};

// The same changes for all of these.
struct SidecarChange {
  std::vector<std::string> workloads;  // "default/web"
  std::vector<ResourceChange> changes;
};

struct MeshDiff {
  std::vector<std::string> joined, left;  // Workloads that are only in the new, or in the old.
  std::vector<SidecarChange> changes;     // Of those that are in both.
  std::size_t unchanged = 0;              // Sidecars that are sent nothing.

  bool empty() const { return joined.empty() && left.empty() && changes.empty(); }
  std::string text() const;
};

// Both come from reports that are ok().
MeshDiff diff(const ObjectSet& before, const ObjectSet& after);

}  // namespace glia
