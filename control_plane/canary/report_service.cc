#include "control_plane/canary/report_service.h"

#include <optional>

#include "control_plane/serve/ads_reactor.h"
#include "glia/v1/report.grpc.pb.h"
#include "proxy/base/log.h"

namespace glia {
namespace {

// What every stream works with. Lives in the service.
struct Desk {
  EventLoop& loop;
  ControlPlane& control_plane;
  ReportedObservations& observations;
  AdsReactors& reactors;
  std::size_t streams = 0;  // The loop's.
};

// gRPC calls it on its threads; each of these calls posts the rest to the loop, which alone touches
// what is here. At most one read and one write are under way.
class ReportReactor final : public grpc::ServerBidiReactor<v1::Report, v1::ReportOrder>,
                            public AdsReactorBase {
 public:
  ReportReactor(Desk& desk, grpc::CallbackServerContext& context)
      : desk_(desk),
        context_(context),
        caller_(caller_of(context)),
        timer_(desk.loop, [this] { on_timer(); }) {
    desk_.loop.post([this] { begin(); });
  }

  void finish(grpc::Status status) override {
    if (finished_) return;
    finished_ = true;
    stream_.reset();
    if (!writing_) {
      timer_.stop();
      Finish(std::move(status));
      return;
    }
    final_ = std::move(status);
    timer_.start(GrpcServer::kStopWait);
  }

 private:
  void OnReadDone(bool ok) override {
    desk_.loop.post([this, ok] { read_done(ok); });
  }
  void OnWriteDone(bool ok) override {
    desk_.loop.post([this, ok] { write_done(ok); });
  }
  void OnDone() override {
    desk_.loop.post([this] { delete this; });
  }

  // All below on the loop.
  ~ReportReactor() override {
    desk_.reactors.remove(*this);
    --desk_.streams;
  }
  void begin() {
    desk_.reactors.add(*this);
    if (++desk_.streams > kMostReportStreams) {
      return finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams of reports"});
    }
    if (desk_.reactors.stopping()) {
      return finish({grpc::StatusCode::UNAVAILABLE, "glia-control is stopping"});
    }
    if (!caller_) return finish(to_status(caller_.error()));
    stream_.emplace(desk_.control_plane, desk_.observations, caller_, desk_.loop.now());
    timer_.start(GrpcServer::kFirstRequestWait);
    StartRead(&report_);
  }
  void read_done(bool ok) {
    if (finished_) return;
    if (!ok) return finish(grpc::Status::OK);  // The sidecar ended the stream or went away.
    if (const Result<void> taken = stream_->on_report(report_, desk_.loop.now()); !taken) {
      LOG(warning, "ended a stream of reports: ", taken.error().message());
      return finish(to_status(taken.error()));
    }
    report_.Clear();
    StartRead(&report_);
    pump();
  }
  void write_done(bool ok) {
    writing_ = false;
    if (final_) return Finish(*final_);
    if (!ok) return finish(grpc::Status::OK);
    pump();
  }
  void pump() {
    if (finished_ || writing_) return;
    Result<std::optional<v1::ReportOrder>> order = stream_->next(desk_.loop.now());
    if (!order) return finish(to_status(order.error()));
    if (!*order) return timer_.start(kOrderLook);
    order_ = **std::move(order);
    writing_ = true;
    timer_.start(GrpcServer::kWriteWait);
    StartWrite(&order_);
  }
  void on_timer() {
    if (writing_) {
      context_.TryCancel();  // It does not read; the write then fails.
    } else if (!finished_ && !stream_->opened()) {
      finish({grpc::StatusCode::DEADLINE_EXCEEDED, "no report came on this stream"});
    } else {
      pump();
    }
  }

  Desk& desk_;
  grpc::CallbackServerContext& context_;
  const Result<SpiffeId> caller_;
  std::optional<ReportStream> stream_;  // While the call is served.
  v1::Report report_;                   // gRPC's between StartRead and OnReadDone.
  v1::ReportOrder order_;               // gRPC's between StartWrite and OnWriteDone.
  std::optional<grpc::Status> final_;   // Waits for the write under way.
  CallbackTimer timer_;
  bool writing_ = false, finished_ = false;
};

class ReportCalls final : public v1::ReportService::CallbackService, public GrpcService {
 public:
  explicit ReportCalls(Desk desk) : desk_(desk) {}
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
  return std::make_unique<ReportCalls>(Desk{loop, control_plane, observations, reactors});
}

}  // namespace glia
