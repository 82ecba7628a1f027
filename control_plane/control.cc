#include "control_plane/control.h"

#include "control_plane/canary/report_service.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

Result<std::unique_ptr<Control>> Control::start(EventLoop& loop, LibeventBackend& backend,
                                                const ControlOptions& options) {
  TRY(StateDirectory directory, StateDirectory::open(options.state_directory));
  std::unique_ptr<Control> control(new Control(loop, std::move(directory)));
  TRY_VOID(control->open(backend, options));
  return control;
}

Result<void> Control::open(LibeventBackend& backend, const ControlOptions& options) {
  const WallTime now = loop_.clock().wall_now();
  // Watching begins before reading, so that no edit falls between the two.
  TRY(source_, FileSource::start(loop_, backend, options.mesh,
                                 [this](LoadReport report) { plane_->apply(std::move(report)); }));
  LoadReport report = load(options.mesh);
  if (!report.ok()) return invalid(cat("the mesh cannot be used:\n", report.errors()));
  for (const Problem& problem : report.problems) LOG(warning, problem.text());

  TRY(store_, Store::open(directory_.file("mesh.db"), now));
  TRY(authority_, load_authority(*store_, report.objects.mesh.spec.trust_domain, now));
  registrar_.emplace(*store_, *authority_, loop_.now());
  sockets_ = {.mesh = directory_.file("grpc.sock"),
              .admin = options.admin_socket.empty() ? directory_.file("control.sock")
                                                    : options.admin_socket};
  plane_.emplace(loop_, MeshState(std::move(report.objects)), *registrar_, options.version);
  TRY(grpc_, GrpcServer::start(loop_, *plane_, sockets_, [this](AdsReactors& reactors) {
        return make_report_service(loop_, *plane_, observations_, reactors);
      }));
  return {};
}

Control::~Control() {
  source_.reset();
  if (grpc_ != nullptr) grpc_->stop();
}

}  // namespace glia
