// GrpcServer: the control plane on two UNIX sockets, with the gRPC C++ library.
//
// grpc.sock carries ADS, the discovery services of single types, IdentityService and what else a
// sidecar may call (MoreServices), and is reached only through our own front door, which speaks TLS and
// strict HTTP/2 to the world and says in x-forwarded-client-cert who calls.
// control.sock carries StatusService, client status discovery and what else people may ask for whoever
// may open it: this user. gRPC runs its callbacks on threads of its own; each only posts to the loop,
// where all state lives.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control_plane/serve/control_plane.h"
#include "proxy/base/result.h"

namespace grpc {
class Service;
}

namespace glia {

class AdsReactors;

// A service of gRPC's, for whoever does not know gRPC.
class GrpcService {
 public:
  virtual ~GrpcService() = default;
  virtual grpc::Service& service() = 0;
};

class GrpcServer {
 public:
  static constexpr int kLargestRequest = 2 << 20;        // bytes of one message
  static constexpr int kLargestMetadata = 32 << 10;      // bytes of one call's headers
  static constexpr int kMostCallsOfConnection = 10'000;  // streams of one HTTP/2 connection
  static constexpr Duration kFirstRequestWait = 10s;     // Until an ADS stream says who it is.
  static constexpr Duration kWriteWait = 30s;            // Until a response has left for the peer.
  static constexpr Duration kStopWait = 2s;              // Until calls are cut off on stop().

  struct Sockets {
    std::string mesh;   // ADS and the like, and IdentityService
    std::string admin;  // StatusService, ObjectService and client status discovery
  };
  // Makes further services for the socket of the mesh; their streams end with the reactors.
  using MoreServices = std::function<std::vector<std::unique_ptr<GrpcService>>(AdsReactors&)>;
  // Both references, and `admin`, further services for the admin socket, outlive the server. Call on
  // the loop's thread.
  static Result<std::unique_ptr<GrpcServer>> start(EventLoop& loop, ControlPlane& control_plane,
                                                   Sockets sockets,
                                                   std::vector<grpc::Service*> admin = {},
                                                   const MoreServices& more = {});
  virtual ~GrpcServer() = default;
  // Ends every call, turning the loop meanwhile. Needed before the server is destroyed.
  virtual void stop() = 0;
};

}  // namespace glia
