// Control: glia-control behind its front door: state, mesh, UNIX sockets, files.
//
// One object so that main() and the end-to-end test run the same thing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/canary/canaries.h"
#include "control_plane/canary/canary_calls.h"
#include "control_plane/canary/observations.h"
#include "control_plane/canary/prometheus.h"
#include "control_plane/canary/webhook.h"
#include "control_plane/serve/control_plane.h"
#include "control_plane/serve/grpc_server.h"
#include "control_plane/serve/object_calls.h"
#include "control_plane/source/file_source.h"
#include "control_plane/store/state_directory.h"
#include "proxy/net/tcp.h"

namespace glia {

struct ControlOptions {
  std::vector<std::string> mesh;  // Files or directories.
  std::string state_directory;
  std::string admin_socket;            // "": control.sock in the state directory.
  std::string version;                 // Of the program.
  std::optional<int64_t> host_idle_s;  // See ControlPlane::forget_hosts_after(); nothing: an hour.
  int64_t resource_ttl_s = 0;          // See ControlPlane::resources_live_for(); 0: for ever.
};

// Made and used on the thread of `loop`, whose backend is `backend`.
class Control {
 public:
  // Up and serving, or the sentence why not.
  static Result<std::unique_ptr<Control>> start(EventLoop& loop, LibeventBackend& backend,
                                                const ControlOptions& options);
  // Ends what start() began, turning the loop meanwhile.
  ~Control();

  ControlPlane& plane() { return *plane_; }
  // What sidecars saw of requests, of the clusters that somebody wants to hear of.
  Observations& observations() { return observations_; }
  const CertificateAuthority& authority() const { return *authority_; }
  // Of the gRPC server behind the front door, and of StatusService.
  const GrpcServer::Sockets& sockets() const { return sockets_; }

 private:
  Control(EventLoop& loop, StateDirectory directory)
      : loop_(loop), directory_(std::move(directory)) {}
  Result<void> open(LibeventBackend& backend, const ControlOptions& options);
  Result<void> start_canaries();

  EventLoop& loop_;
  StateDirectory directory_;
  GrpcServer::Sockets sockets_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ObjectStore> objects_;
  std::optional<CertificateAuthority> authority_;
  std::optional<Registrar> registrar_;
  std::optional<ControlPlane> plane_;
  std::optional<ObjectDesk> desk_;
  std::optional<ObjectCalls> object_calls_;
  std::unique_ptr<CanaryStore> canary_store_;
  ReportedObservations observations_;
  std::unique_ptr<Canaries> canaries_;
  std::optional<SocketNetwork> network_;
  std::optional<HttpQuestions> questions_;
  std::optional<Webhook> webhook_;
  std::optional<Prometheus> prometheus_;
  std::unique_ptr<CanaryCalls> canary_calls_;
  std::optional<CallbackTimer> canary_timer_;
  std::unique_ptr<FileSource> source_;
  std::unique_ptr<GrpcServer> grpc_;
};

}  // namespace glia
