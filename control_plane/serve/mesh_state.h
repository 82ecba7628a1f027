// MeshState: the objects in force, what each sidecar shall have because of them, and why the newest
// edit is not in force.
//
// Belongs to the control plane's loop. An edit replaces everything or nothing.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "control_plane/serve/node_resources.h"

namespace glia {

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

  const ObjectSet& objects() const { return objects_; }
  // Of the newest edit; empty if it is in force. One "file:line:column: sentence" each.
  const std::vector<std::string>& errors() const { return errors_; }
  // Made on first use and kept until the objects change; null if there is no such workload.
  std::shared_ptr<const NodeResources> resources(std::string_view workload);

 private:
  ObjectSet objects_;
  std::vector<std::string> errors_;
  std::map<std::string, std::shared_ptr<const NodeResources>, std::less<>> packed_;
};

}  // namespace glia
