// Source: where mesh objects come from. Files and directories are one (file_source.h), what people
// hand to the control plane is another (stored_objects.h); the objects of all sources together are
// the mesh.
#pragma once

#include "control_plane/objects/reading.h"
#include "proxy/base/result.h"

namespace glia {

class Source {
 public:
  virtual ~Source() = default;
  // The first time, all that is there; then what has changed since.
  virtual Result<SourceEdit> read() = 0;
};

}  // namespace glia
