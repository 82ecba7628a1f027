#include "control_plane/canary/report_service.h"

#include <optional>
#include <set>

#include "control_plane/serve/stream_reactor.h"
#include "glia/v1/report.grpc.pb.h"

namespace glia {
namespace {

class ReportReactor;

// What every stream works with, and who tells them all that something else is to be reported. Lives in
// the service; belongs to the loop.
class Desk {
 public:
  Desk(EventLoop& loop, ControlPlane& control_plane, ReportedObservations& observations,
       AdsReactors& reactors)
      : loop(loop),
        control_plane(control_plane),
        observations(observations),
        reactors(reactors),
        look_(loop, [this] { look(); }) {}
  void add(ReportReactor& reactor) {
    streams_.insert(&reactor);
    if (!look_.running()) look_.start(kOrderLook);
  }
  void remove(ReportReactor& reactor) { streams_.erase(&reactor); }
  std::size_t streams() const { return streams_.size(); }

  EventLoop& loop;
  ControlPlane& control_plane;
  ReportedObservations& observations;
  AdsReactors& reactors;

 private:
  void look();

  std::set<ReportReactor*> streams_;
  CallbackTimer look_;
  // Of the last look.
  uint64_t wish_ = 0;
  std::string version_;
};

class ReportReactor final : public StreamReactor<v1::Report, v1::ReportOrder> {
 public:
  ReportReactor(Desk& desk, grpc::CallbackServerContext& context)
      : StreamReactor(desk.loop, desk.reactors, context, "a stream of reports"),
        desk_(desk),
        caller_(caller_of(context)) {
    open();
  }
  void look() { pump(); }

 private:
  ~ReportReactor() override { desk_.remove(*this); }
  grpc::Status begin() override {
    if (desk_.streams() >= kMostReportStreams) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams of reports"};
    }
    if (!caller_) return to_status(caller_.error());
    stream_.emplace(desk_.control_plane, desk_.observations, caller_, loop().now());
    desk_.add(*this);
    return grpc::Status::OK;
  }
  Result<void> take(const v1::Report& report) override {
    return stream_->on_report(report, loop().now());
  }
  Result<std::optional<v1::ReportOrder>> next() override { return stream_->next(loop().now()); }
  std::optional<TimePoint> wake_at() const override { return {}; }
  bool is_opened() const override { return stream_->opened(); }
  void end() override {
    stream_.reset();
    desk_.remove(*this);
  }

  Desk& desk_;
  const Result<SpiffeId> caller_;
  std::optional<ReportStream> stream_;  // While the call is served.
};

void Desk::look() {
  if (streams_.empty()) return;
  look_.start(kOrderLook);
  const std::string& version = control_plane.objects().version;
  if (wish_ == observations.wish() && version_ == version) return;
  wish_ = observations.wish();
  version_ = version;
  // One that is looked at may end.
  const std::set<ReportReactor*> all = streams_;
  for (ReportReactor* stream : all) stream->look();
}

class ReportCalls final : public v1::ReportService::CallbackService, public GrpcService {
 public:
  ReportCalls(EventLoop& loop, ControlPlane& control_plane, ReportedObservations& observations,
              AdsReactors& reactors)
      : desk_(loop, control_plane, observations, reactors) {}
  grpc::Service& service() override { return *this; }
  grpc::ServerBidiReactor<v1::Report, v1::ReportOrder>* StreamReports(
      grpc::CallbackServerContext* context) override {
    return new ReportReactor(desk_, *context);
  }

 private:
  Desk desk_;
};

}  // namespace

std::unique_ptr<GrpcService> make_report_service(EventLoop& loop, ControlPlane& control_plane,
                                                 ReportedObservations& observations,
                                                 AdsReactors& reactors) {
  return std::make_unique<ReportCalls>(loop, control_plane, observations, reactors);
}

}  // namespace glia
