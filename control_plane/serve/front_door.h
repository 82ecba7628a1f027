// FrontDoor: what the world meets of a control plane: a Glia listener with TLS and strict HTTP/2,
// whose only route leads to the gRPC server on its UNIX socket.
//
// A client certificate is asked for, not demanded: a sidecar that joins has none yet. Whoever shows
// one is named to the gRPC server in x-forwarded-client-cert; a header of that name from outside
// never gets through.
#pragma once

#include <memory>
#include <string>

#include "proxy/base/result.h"
#include "proxy/base/time.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/net/loop.h"
#include "proxy/net/x509.h"

namespace glia {

struct FrontDoorOptions {
  Address listen;
  std::string socket;  // Of the gRPC server.
};

// Our own identity in a mesh, by which sidecars know that they talk to its control plane.
std::string control_plane_id(std::string_view trust_domain);
inline constexpr char kControlPlaneDnsName[] = "glia-control";

// The whole configuration of the embedded proxy, with a fresh certificate of `authority`.
Result<SnapshotRef> front_door_snapshot(const CertificateAuthority& authority,
                                        const FrontDoorOptions& options, WallTime now);

class FrontDoor {
 public:
  static constexpr Duration kCertificateLifetime = 24h;  // Renewed at half of it.
  static constexpr uint32_t kWorkers = 1;                // Streams are long and quiet.
  static constexpr Duration kDrainLimit = 3s;

  // Listens. `authority` outlives the door. Call on the thread of `main`.
  static Result<std::unique_ptr<FrontDoor>> start(EventLoop& main,
                                                  const CertificateAuthority& authority,
                                                  FrontDoorOptions options);
  virtual ~FrontDoor() = default;
  virtual Address address() const = 0;  // With the real port.
  // No new connections; those that are open end with their calls.
  virtual void drain() = 0;
};

}  // namespace glia
