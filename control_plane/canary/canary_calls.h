// CanaryCalls: the gRPC service behind `glia canary`. Calls come on gRPC's threads and are answered
// on the loop's.
#pragma once

#include <memory>

#include "control_plane/canary/canaries.h"
#include "glia/v1/canary.pb.h"
#include "proxy/net/loop.h"

namespace grpc {
class Service;
}

namespace glia {

class CanaryCalls {
 public:
  // Both references outlive it, and it outlives the server that offers it.
  static std::unique_ptr<CanaryCalls> create(EventLoop& loop, Canaries& canaries);
  virtual ~CanaryCalls() = default;
  virtual grpc::Service& service() = 0;
};

v1::CanaryStatus describe(const CanaryRun& run);

}  // namespace glia
