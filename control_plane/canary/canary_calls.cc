#include "control_plane/canary/canary_calls.h"

#include <grpcpp/grpcpp.h>

#include "control_plane/serve/ads_reactor.h"
#include "glia/v1/canary.grpc.pb.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

int64_t seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

void describe(const Observed& version, bool shadow, v1::CanaryVersion& out) {
  const Sketch& times = shadow ? version.shadow.latency_ms : version.latency_ms;
  out.set_requests(shadow ? version.shadow.sent : version.requests);
  out.set_errors(shadow ? version.shadow.failed : version.errors);
  out.set_sidecars(version.sidecars);
  out.set_p50_ms(times.quantile(0.5));
  out.set_p95_ms(times.quantile(0.95));
}

void describe(const Finding& finding, v1::CanaryFinding& out) {
  const Canary::Metric& metric = finding.metric;
  out.set_metric(metric.title());
  out.set_verdict(std::string(name_of(finding.verdict)));
  out.set_unit(std::string(metric.unit()));
  out.set_stable(finding.stable);
  out.set_candidate(finding.candidate);
  out.set_stable_count(finding.stable_count);
  out.set_candidate_count(finding.candidate_count);
  out.set_sentence(finding.sentence);
}

class Calls final : public CanaryCalls, public v1::CanaryService::CallbackService {
 public:
  Calls(EventLoop& loop, Canaries& canaries) : loop_(loop), canaries_(canaries) {}
  grpc::Service& service() override { return *this; }

  grpc::ServerUnaryReactor* ListCanaries(grpc::CallbackServerContext* context,
                                         const v1::ListCanariesRequest* request,
                                         v1::ListCanariesResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_.post([this, reactor, request, response] {
      const CanaryRun* only = canaries_.find(request->name());
      if (only != nullptr) {
        *response->add_canaries() = glia::describe(*only);
      } else if (request->name().empty()) {
        for (const CanaryRun* run : canaries_.list()) {
          *response->add_canaries() = glia::describe(*run);
        }
      } else {
        return reactor->Finish(to_status(canaries_.unknown(request->name())));
      }
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* ChangeCanary(grpc::CallbackServerContext* context,
                                         const v1::ChangeCanaryRequest* request,
                                         v1::CanaryStatus* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const std::optional<CanaryCommand> command = canary_command(request->command());
    if (!command) {
      reactor->Finish(
          {grpc::StatusCode::INVALID_ARGUMENT,
           cat("command ", request->command(), " is not one of promote, abort, pause, resume")});
      return reactor;
    }
    loop_.post([this, reactor, request, response, command] {
      const Result<void> done = canaries_.command(request->name(), *command);
      if (!done) return reactor->Finish(to_status(done.error()));
      *response = glia::describe(*canaries_.find(request->name()));
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }

 private:
  EventLoop& loop_;
  Canaries& canaries_;
};

}  // namespace

std::unique_ptr<CanaryCalls> CanaryCalls::create(EventLoop& loop, Canaries& canaries) {
  return std::make_unique<Calls>(loop, canaries);
}

v1::CanaryStatus describe(const CanaryRun& run) {
  const CanaryState& state = run.state();
  v1::CanaryStatus status;
  status.set_name(state.name);
  status.set_versions(state.versions);
  status.set_phase(std::string(name_of(state.phase)));
  status.set_stage(state.stage + 1);
  for (const CanaryRun::Stage& stage : run.stages()) {
    v1::CanaryStage* out = status.add_stages();
    out->set_weight(stage.weight);
    out->set_shadow(stage.shadow);
  }
  const Canary::Split split = run.split();
  status.set_weight(split.weight);
  status.set_shadow(split.shadow);
  const Assessment& newest = run.assessment();
  if (!newest.findings.empty()) status.set_verdict(std::string(name_of(newest.verdict)));
  status.set_reason(state.reason);
  status.set_began_unix_s(seconds(state.began));
  status.set_changed_unix_s(seconds(state.changed));
  status.set_spent_s(state.spent / 1s);
  status.set_touched(state.touched);
  status.set_looks(state.looks);
  const bool shadow = run.stages()[state.stage].weight == 0;
  describe(run.stable(), false, *status.mutable_stable());
  describe(run.candidate(), shadow, *status.mutable_candidate());
  for (const Finding& finding : newest.findings) describe(finding, *status.add_findings());
  return status;
}

}  // namespace glia
