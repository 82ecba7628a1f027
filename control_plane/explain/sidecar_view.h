// What one sidecar would do with the objects, in its own words: translate()'s resources, read by
// the proxy's decoders into the proxy's drawing. Whoever asks that drawing asks the code that
// decides.
#pragma once

#include "control_plane/objects/object_set.h"
#include "proxy/base/text.h"
#include "proxy/mesh/snapshot.h"

namespace glia {

// In clear text: certificates are not looked at. An error is a fault of ours: what translate()
// makes, a proxy takes.
Result<SnapshotRef> sidecar_view(const ObjectSet& objects, const Workload& workload);

// "HTTPRoute default/classify (mesh.yaml:12)"
template <class T>
std::string origin(const T& object) {
  if constexpr (requires { object.own_name(); }) {
    return cat(object.kind(), " ", object.metadata.ns, "/", object.own_name(), " (",
               object.metadata.file, ":", object.metadata.at.line, ")");
  }
  return cat(T::kKind, " ", object.metadata.key(), " (", object.metadata.file, ":",
             object.metadata.at.line, ")");
}

}  // namespace glia
