#include "control_plane/control.h"

#include "control_plane/canary/report_service.h"
#include "control_plane/health/health_service.h"
#include "proxy/base/log.h"
#include "proxy/base/random.h"
#include "proxy/base/text.h"
#include "proxy/net/ca_directory.h"

namespace glia {

Result<std::unique_ptr<Control>> Control::start(EventLoop& loop, LibeventBackend& backend,
                                                const ControlOptions& options, const bool* ended) {
  TRY(StateDirectory directory, StateDirectory::open(options.state_directory));
  std::unique_ptr<Control> control(new Control(loop, std::move(directory)));
  TRY_VOID(control->open(backend, options, ended));
  return control;
}

// All that is there now, of every source; from now on, what changes is told to the plane.
Result<MeshState> Control::read_mesh(LibeventBackend& backend, const ControlOptions& options,
                                     const bool* ended) {
  std::vector<ReadingRef> all;
  std::vector<Problem> unreadable;
  const auto add = [&](Source& source) -> Result<void> {
    TRY(const SourceEdit edit, source.read());
    all.insert(all.end(), edit.read.begin(), edit.read.end());
    if (edit.unreadable) unreadable = *edit.unreadable;
    return {};
  };
  // The first, for it turns the loop: nobody may tell of a change before there is a plane.
  if (options.kubernetes) {
    using MeshObject = ClusterView::MeshObject;
    api_ = std::make_unique<ApiServer>(loop_, network_, *options.kubernetes);
    cluster_ = std::make_unique<KubernetesSource>(
        *api_, options.mesh.empty() ? MeshObject::kMadeHere : MeshObject::kElsewhere, random_seed(),
        [this](const SourceEdit& edit) { take(edit); }, ended);
    TRY_VOID(add(*cluster_));
  }
  // Watching begins before reading, so that no edit falls between the two.
  TRY(source_, FileSource::start(loop_, backend, options.mesh,
                                 [this](const SourceEdit& edit) { plane_->apply(edit); }));
  TRY_VOID(add(*source_));
  TRY(objects_, ObjectStore::open(directory_.file("objects.db")));
  StoredObjects stored(*objects_);
  TRY_VOID(add(stored));
  TRY(MeshState state, MeshState::open(all, unreadable));
  for (const std::string& warning : state.warnings()) LOG(warning, warning);
  for (const auto& [source, why] : state.set_aside()) LOG(error, source, " is not in force: ", why);
  return state;
}

Result<void> Control::open(LibeventBackend& backend, const ControlOptions& options,
                           const bool* ended) {
  TRY(MeshState state, read_mesh(backend, options, ended));
  const WallTime now = loop_.clock().wall_now();
  TRY(store_, Store::open(directory_.file("mesh.db"), now));
  const std::string& trust_domain = state.objects().mesh.spec.trust_domain;
  TRY(authority_, options.ca_directory.empty()
                      ? load_authority(*store_, trust_domain, now)
                      : open_ca_directory(options.ca_directory, trust_domain, now));
  registrar_.emplace(*store_, *authority_, loop_.now());
  sockets_ = {.mesh = directory_.file("grpc.sock"),
              .admin = options.admin_socket.empty() ? directory_.file("control.sock")
                                                    : options.admin_socket};
  plane_.emplace(loop_, std::move(state), *registrar_, options.version);
  if (options.host_idle_s) plane_->forget_hosts_after(std::chrono::seconds(*options.host_idle_s));
  if (options.resource_ttl_s > 0) {
    plane_->resources_live_for(std::chrono::seconds(options.resource_ttl_s));
  }
  if (api_ != nullptr) {
    token_reviews_ = std::make_unique<TokenReviews>(*api_);
    plane_->review_tokens_by(*token_reviews_);
    status_timer_.emplace(
        loop_, [this] { cluster_->tell_status(plane_->objects(), plane_->set_aside()); });
    status_timer_->start(0s);
  }
  desk_.emplace(*plane_, *objects_);
  object_calls_.emplace(loop_, *desk_);
  TRY_VOID(start_canaries());
  object_http_.emplace(loop_, network_, *desk_);
  TRY_VOID(object_http_->listen(options.http_socket.empty() ? directory_.file("http.sock")
                                                            : options.http_socket));
  TRY(grpc_, GrpcServer::start(
                 loop_, *plane_, sockets_, {&*object_calls_, &canary_calls_->service()},
                 [this](AdsReactors& reactors) {
                   std::vector<std::unique_ptr<GrpcService>> more;
                   more.push_back(make_report_service(loop_, *plane_, observations_, reactors));
                   more.push_back(make_health_service(loop_, *plane_, health_, reactors));
                   return more;
                 }));
  return {};
}

// Of the cluster; empty where only what is not for sidecars has changed.
void Control::take(const SourceEdit& edit) {
  if (!edit.read.empty() || !edit.gone.empty()) plane_->apply(edit);
  if (!status_timer_->running()) status_timer_->start(kStatusDelay);
}

// Before anybody is served, so that a sidecar never gets shares of before the restart.
Result<void> Control::start_canaries() {
  TRY(canary_store_, CanaryStore::open(directory_.file("canaries.db")));
  questions_.emplace(loop_, network_);
  webhook_.emplace(*questions_);
  prometheus_.emplace(*questions_);
  TRY(canaries_,
      Canaries::open(loop_.clock(), observations_, *webhook_, *prometheus_, *canary_store_,
                     [this](const CanarySplits& splits) { plane_->split(splits); }));
  canaries_->take(plane_->objects());
  health_.take(plane_->objects(), loop_.now());
  plane_->on_objects([this](const ObjectSet& objects) {
    canaries_->take(objects);
    health_.take(objects, loop_.now());
    plane_->away(health_.away(loop_.now()));  // Before anybody is sent what is new.
  });
  canary_calls_ = CanaryCalls::create(loop_, *canaries_);
  canary_timer_.emplace(loop_, [this] {
    canaries_->tick();
    canary_timer_->start(Canaries::kTick);
  });
  canary_timer_->start(Canaries::kTick);
  return {};
}

void Control::keep_webhook_bundle() {
  if (api_ == nullptr) return;
  webhook_bundle_ =
      std::make_unique<WebhookBundle>(*api_, authority_->certificate(), random_seed());
}

Control::~Control() {
  source_.reset();
  status_timer_.reset();
  cluster_.reset();
  webhook_bundle_.reset();
  if (grpc_ != nullptr) grpc_->stop();
}

}  // namespace glia
