// ControlChannel: the ADS stream from the main thread to the control plane, over our own HTTP/2 client
// and the cluster that the bootstrap names. The gRPC library would cost the sidecar megabytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "proxy/base/random.h"
#include "proxy/mesh/cluster.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/xds/ads.h"

namespace glia {

class ControlChannel {
 public:
  // A message of a control plane that is larger than this is refused, and with it the stream.
  static constexpr std::size_t kMostMessage = 64 * 1024 * 1024;  // bytes

  ControlChannel(EventLoop& loop, Network& network, uint64_t seed);
  ControlChannel(const ControlChannel&) = delete;

  // The cluster that calls go to from now on; calls in progress stay where they are.
  void use(std::shared_ptr<const ClusterConfig> cluster);
  // The ADS stream.
  std::unique_ptr<AdsCall> open_ads(AdsCall::Watcher& watcher);

 private:
  class StreamingCall;
  Task<Result<Lease>> lease();
  Request make_request(ArenaRef arena, std::string_view path) const;

  EventLoop& loop_;
  Random random_;
  MeshContext context_;
  ClusterMap clusters_;
  std::shared_ptr<const ClusterConfig> cluster_;
};

}  // namespace glia
