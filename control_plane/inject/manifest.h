// Manifests of Kubernetes as text: each pod and pod template in them with its sidecar, or without.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/inject/inject.h"

namespace glia {

enum class Direction : uint8_t { kInject, kUninject };

// What became of one pod or pod template.
struct ManifestLine {
  std::string object;  // "Deployment web"
  Decision decision;
};

struct ManifestText {
  std::string text;
  std::vector<ManifestLine> lines;  // Of those that have a pod, in the order of the text.
  bool refused() const;
};

// `text`: YAML of any number of documents, or JSON. Objects without a pod stay as they are; of Namespaces
// in it, what they say of injection counts. `name_space` is that of objects which name none. Errors name
// the document's line.
Result<ManifestText> inject_manifest(std::string_view text, Direction direction,
                                     const InjectSettings& defaults, const std::string& name_space);

// Calls `visit(pod, kind)` with each pod or pod template of the object, those of a List among them. A pod
// is what has spec.containers at the place where its kind has it, or at spec.template.
void each_pod(Json& object, const std::function<void(Json& pod, const Json& object)>& visit);

}  // namespace glia
