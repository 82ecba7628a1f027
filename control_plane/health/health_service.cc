#include "control_plane/health/health_service.h"

#include <optional>
#include <set>

#include "control_plane/serve/peer.h"
#include "control_plane/serve/stream_reactor.h"
#include "glia/v1/health.grpc.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

class HealthReactor;

// What every stream works with; tells the control plane who is away. Lives in the service, on the loop.
class Post {
 public:
  Post(EventLoop& loop, ControlPlane& control_plane, HealthDesk& desk, AdsReactors& reactors)
      : loop(loop),
        control_plane(control_plane),
        desk(desk),
        reactors(reactors),
        look_(loop, [this] { look(); }) {
    look_.start(kHealthLook);
  }
  void add(HealthReactor& reactor) { streams_.insert(&reactor); }
  void remove(HealthReactor& reactor) { streams_.erase(&reactor); }
  std::size_t streams() const { return streams_.size(); }
  void say() { control_plane.away(desk.away(loop.now())); }

  EventLoop& loop;
  ControlPlane& control_plane;
  HealthDesk& desk;
  AdsReactors& reactors;

 private:
  void look();

  std::set<HealthReactor*> streams_;
  CallbackTimer look_;
  std::string version_;  // Of the objects at the last look.
};

v1::HealthOrder order_for(const Workload& workload) {
  v1::HealthOrder order;
  if (!workload.spec.health) return order;
  const Workload::Health& health = *workload.spec.health;
  order.set_interval_ms(static_cast<uint32_t>(health.interval / 1ms));
  order.set_timeout_ms(static_cast<uint32_t>(health.timeout / 1ms));
  order.set_failures(health.failures);
  order.set_successes(health.successes);
  order.set_address(workload.spec.app_address);
  order.set_path(health.path);
  if (const Workload::Port* port = workload.port(health.port)) order.set_port(port->app_port);
  return order;
}

HealthDesk::Said said_by(const v1::HealthReport& report) {
  switch (report.state()) {
    case v1::HealthReport::WELL: return HealthDesk::Said::kWell;
    case v1::HealthReport::NOT_WELL: return HealthDesk::Said::kNotWell;
    case v1::HealthReport::LEAVING: return HealthDesk::Said::kLeaving;
    default: return HealthDesk::Said::kNothing;
  }
}

class HealthReactor final : public StreamReactor<v1::HealthReport, v1::HealthOrder> {
 public:
  HealthReactor(Post& post, grpc::CallbackServerContext& context)
      : StreamReactor(post.loop, post.reactors, context, "a stream about health"),
        post_(post),
        caller_(caller_of(context)),
        reports_(kHealthReports, post.loop.now()) {
    open();
  }
  void look() { pump(); }

 private:
  ~HealthReactor() override { post_.remove(*this); }
  grpc::Status begin() override {
    if (post_.streams() >= kMostHealthStreams) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams about health"};
    }
    if (!caller_) return to_status(caller_.error());
    post_.add(*this);
    return grpc::Status::OK;
  }

  Result<void> take(const v1::HealthReport& report) override {
    if (!reports_.take(loop().now())) {
      return Error(ErrorKind::kOverflow, Fault::kDownstream,
                   cat("too many reports of health on one stream; at most ",
                       kHealthReports.per_second, " a second"));
    }
    if (report.ByteSizeLong() > kLargestHealthReport) {
      return Error(ErrorKind::kTooLarge, Fault::kDownstream,
                   cat("a report of health of ", report.ByteSizeLong(), " bytes; at most ",
                       kLargestHealthReport));
    }
    if (workload_.empty()) workload_ = report.workload();
    if (workload_ != report.workload()) {
      return invalid(cat("a stream that began for ", printable(workload_), " reports of ",
                         printable(report.workload())));
    }
    TRY_VOID(known());
    const HealthDesk::Said said = said_by(report);
    post_.desk.hear(workload_, said, printable(report.why()), loop().now());
    if (said != said_) post_.say();
    said_ = said;
    answered_ = false;
    return {};
  }

  Result<const Workload*> known() const {
    const ObjectSet& objects = post_.control_plane.objects();
    const Workload* const workload = objects.workload(workload_);
    if (workload == nullptr) {
      return Error(ErrorKind::kDenied, Fault::kDownstream,
                   cat(printable(workload_), " is no workload of the mesh"));
    }
    if (caller_->text() == objects.spiffe_id(*workload)) return workload;
    return Error(ErrorKind::kDenied, Fault::kDownstream,
                 cat(caller_->text(), " may not speak for workload ", printable(workload_)));
  }

  // An answer to each report, and whatever order is another one than the last.
  Result<std::optional<v1::HealthOrder>> next() override {
    if (workload_.empty()) return std::optional<v1::HealthOrder>();
    TRY(const Workload* const workload, known());
    v1::HealthOrder order = order_for(*workload);
    std::string bytes = order.SerializeAsString();
    if (answered_ && bytes == sent_) return std::optional<v1::HealthOrder>();
    answered_ = true;
    sent_ = std::move(bytes);
    return std::optional(std::move(order));
  }
  std::optional<TimePoint> wake_at() const override { return {}; }
  bool is_opened() const override { return !workload_.empty(); }
  void end() override { post_.remove(*this); }

  Post& post_;
  const Result<SpiffeId> caller_;
  Rate reports_;
  std::string workload_;  // As the first report names it.
  std::string sent_;      // The last order.
  HealthDesk::Said said_ = HealthDesk::Said::kNothing;
  bool answered_ = true;
};

void Post::look() {
  look_.start(kHealthLook);
  say();
  const std::string& version = control_plane.objects().version;
  if (version_ == version) return;
  version_ = version;
  // One that is looked at may end.
  const std::set<HealthReactor*> all = streams_;
  for (HealthReactor* stream : all) stream->look();
}

class HealthCalls final : public v1::HealthService::CallbackService, public GrpcService {
 public:
  HealthCalls(EventLoop& loop, ControlPlane& control_plane, HealthDesk& desk, AdsReactors& reactors)
      : post_(loop, control_plane, desk, reactors) {}
  grpc::Service& service() override { return *this; }
  grpc::ServerBidiReactor<v1::HealthReport, v1::HealthOrder>* StreamHealth(
      grpc::CallbackServerContext* context) override {
    return new HealthReactor(post_, *context);
  }

 private:
  Post post_;
};

}  // namespace

std::unique_ptr<GrpcService> make_health_service(EventLoop& loop, ControlPlane& control_plane,
                                                 HealthDesk& desk, AdsReactors& reactors) {
  return std::make_unique<HealthCalls>(loop, control_plane, desk, reactors);
}

}  // namespace glia
