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
#include "control_plane/health/health_desk.h"
#include "control_plane/kubernetes/kubernetes_source.h"
#include "control_plane/kubernetes/token_reviews.h"
#include "control_plane/kubernetes/webhook_bundle.h"
#include "control_plane/serve/control_plane.h"
#include "control_plane/serve/grpc_server.h"
#include "control_plane/serve/object_calls.h"
#include "control_plane/serve/object_http.h"
#include "control_plane/source/file_source.h"
#include "control_plane/store/state_directory.h"
#include "proxy/net/tcp.h"

namespace glia {

struct ControlOptions {
  std::vector<std::string> mesh;        // Files or directories.
  std::optional<ApiAccess> kubernetes;  // The mesh is (also) in this cluster.
  std::string state_directory;
  std::string admin_socket;            // "": control.sock in the state directory.
  std::string http_socket;             // Of the objects; "": http.sock in the state directory.
  std::string ca_directory;            // With the authority; "": the state directory holds it.
  std::string version;                 // Of the program.
  std::optional<int64_t> host_idle_s;  // See ControlPlane::forget_hosts_after(); nothing: an hour.
  int64_t resource_ttl_s = 0;          // See ControlPlane::resources_live_for(); 0: for ever.
};

// Made and used on the thread of `loop`, whose backend is `backend`.
class Control {
 public:
  // What becomes of many objects in this time is written into their status together.
  static constexpr Duration kStatusDelay = 500ms;

  // Up and serving, or the sentence why not.
  // Turns the loop while a cluster is read; `ended`, if set meanwhile, makes that an error.
  static Result<std::unique_ptr<Control>> start(EventLoop& loop, LibeventBackend& backend,
                                                const ControlOptions& options,
                                                const bool* ended = nullptr);
  // Ends what start() began, turning the loop meanwhile.
  ~Control();

  ControlPlane& plane() { return *plane_; }
  // What sidecars saw of requests, of the clusters that somebody wants to hear of.
  Observations& observations() { return observations_; }
  const CertificateAuthority& authority() const { return *authority_; }
  // From now on the cluster's configuration of the webhook has our authority; without a cluster, nothing.
  void keep_webhook_bundle();
  // Of the gRPC server behind the front door, and of StatusService.
  const GrpcServer::Sockets& sockets() const { return sockets_; }

 private:
  Control(EventLoop& loop, StateDirectory directory)
      : loop_(loop), directory_(std::move(directory)), network_(loop) {}
  Result<void> open(LibeventBackend& backend, const ControlOptions& options, const bool* ended);
  Result<MeshState> read_mesh(LibeventBackend& backend, const ControlOptions& options,
                              const bool* ended);
  void take(const SourceEdit& edit);
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
  SocketNetwork network_;
  std::optional<HttpQuestions> questions_;
  std::optional<Webhook> webhook_;
  std::optional<Prometheus> prometheus_;
  std::unique_ptr<CanaryCalls> canary_calls_;
  std::optional<CallbackTimer> canary_timer_;
  std::optional<ObjectHttp> object_http_;
  HealthDesk health_;
  std::unique_ptr<FileSource> source_;
  std::unique_ptr<ApiServer> api_;
  std::unique_ptr<KubernetesSource> cluster_;
  std::optional<CallbackTimer> status_timer_;
  std::unique_ptr<TokenReviews> token_reviews_;
  std::unique_ptr<WebhookBundle> webhook_bundle_;
  std::unique_ptr<GrpcServer> grpc_;
};

}  // namespace glia
