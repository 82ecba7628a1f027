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
                                 [this](const SourceEdit& edit) { plane_->apply(edit); }));
  TRY(objects_, ObjectStore::open(directory_.file("objects.db")));
  StoredObjects stored(*objects_);
  std::vector<ReadingRef> all;
  std::vector<Problem> unreadable;
  for (Source* source : std::initializer_list<Source*>{source_.get(), &stored}) {
    TRY(const SourceEdit edit, source->read());
    all.insert(all.end(), edit.read.begin(), edit.read.end());
    if (edit.unreadable) unreadable = *edit.unreadable;
  }
  LoadReport report = combine(all);
  report.problems.insert(report.problems.begin(), unreadable.begin(), unreadable.end());
  if (!report.ok()) return invalid(cat("the mesh cannot be used:\n", report.errors()));
  for (const Problem& problem : report.problems) LOG(warning, problem.text());

  TRY(store_, Store::open(directory_.file("mesh.db"), now));
  TRY(authority_, load_authority(*store_, report.objects.mesh.spec.trust_domain, now));
  registrar_.emplace(*store_, *authority_, loop_.now());
  sockets_ = {.mesh = directory_.file("grpc.sock"),
              .admin = options.admin_socket.empty() ? directory_.file("control.sock")
                                                    : options.admin_socket};
  plane_.emplace(loop_, MeshState(std::move(report.objects), all), *registrar_, options.version);
  if (options.host_idle_s) plane_->forget_hosts_after(std::chrono::seconds(*options.host_idle_s));
  if (options.resource_ttl_s > 0) {
    plane_->resources_live_for(std::chrono::seconds(options.resource_ttl_s));
  }
  desk_.emplace(*plane_, *objects_);
  object_calls_.emplace(loop_, *desk_);
  TRY_VOID(start_canaries());
  TRY(grpc_,
      GrpcServer::start(loop_, *plane_, sockets_, {&*object_calls_, &canary_calls_->service()},
                        [this](AdsReactors& reactors) {
                          return make_report_service(loop_, *plane_, observations_, reactors);
                        }));
  return {};
}

// Before anybody is served, so that a sidecar never gets shares of before the restart.
Result<void> Control::start_canaries() {
  TRY(canary_store_, CanaryStore::open(directory_.file("canaries.db")));
  network_.emplace(loop_);
  questions_.emplace(loop_, *network_);
  webhook_.emplace(*questions_);
  prometheus_.emplace(*questions_);
  TRY(canaries_,
      Canaries::open(loop_.clock(), observations_, *webhook_, *prometheus_, *canary_store_,
                     [this](const CanarySplits& splits) { plane_->split(splits); }));
  canaries_->take(plane_->objects());
  plane_->on_objects([this](const ObjectSet& objects) { canaries_->take(objects); });
  canary_calls_ = CanaryCalls::create(loop_, *canaries_);
  canary_timer_.emplace(loop_, [this] {
    canaries_->tick();
    canary_timer_->start(Canaries::kTick);
  });
  canary_timer_->start(Canaries::kTick);
  return {};
}

Control::~Control() {
  source_.reset();
  if (grpc_ != nullptr) grpc_->stop();
}

}  // namespace glia
