#include "control_plane/serve/ads_reactor.h"

#include <optional>

#include "control_plane/serve/grpc_server.h"
#include "control_plane/serve/peer.h"
#include "envoy/service/cluster/v3/cds.grpc.pb.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "envoy/service/endpoint/v3/eds.grpc.pb.h"
#include "envoy/service/listener/v3/lds.grpc.pb.h"
#include "envoy/service/route/v3/rds.grpc.pb.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

namespace xds = envoy::service;

// What differs between the two variants.
struct StateOfTheWorld {
  static constexpr AdsVariant kVariant = AdsVariant::kStateOfTheWorld;
  using Request = xds::discovery::v3::DiscoveryRequest;
  using Response = xds::discovery::v3::DiscoveryResponse;
  static Response form(const AdsPush& push) { return to_response(push); }
};
struct Delta {
  static constexpr AdsVariant kVariant = AdsVariant::kDelta;
  using Request = xds::discovery::v3::DeltaDiscoveryRequest;
  using Response = xds::discovery::v3::DeltaDiscoveryResponse;
  static Response form(const AdsPush& push) { return to_delta_response(push); }
};

// What every service of a control plane's streams works with.
struct Desk {
  EventLoop& loop;
  ControlPlane& control_plane;
  AdsReactors& reactors;
};

template <class Variant>
class AdsReactor final
    : public grpc::ServerBidiReactor<typename Variant::Request, typename Variant::Response>,
      public AdsReactorBase,
      private AdsStream::Transport {
 public:
  // On a thread of gRPC. Deletes itself when the call is over.
  AdsReactor(Desk desk, grpc::CallbackServerContext& context, std::optional<XdsType> only)
      : loop_(desk.loop),
        control_plane_(desk.control_plane),
        reactors_(desk.reactors),
        context_(context),
        only_(only),
        caller_(caller_of(context)),
        timer_(desk.loop, [this] { on_timer(); }) {
    loop_.post([this] { begin(); });
  }

  void finish(grpc::Status status) override;

 private:
  void OnReadDone(bool ok) override {
    loop_.post([this, ok] { read_done(ok); });
  }
  void OnWriteDone(bool ok) override {
    loop_.post([this, ok] { write_done(ok); });
  }
  void OnDone() override {
    loop_.post([this] { delete this; });
  }

  // All below on the loop.
  ~AdsReactor() override { reactors_.remove(*this); }
  void begin();
  void read_done(bool ok);
  void write_done(bool ok);
  void changed() override { pump(); }
  void pump();
  void look_later();
  void on_timer();

  EventLoop& loop_;
  ControlPlane& control_plane_;
  AdsReactors& reactors_;
  grpc::CallbackServerContext& context_;
  const std::optional<XdsType> only_;
  const Result<SpiffeId> caller_;
  std::optional<AdsStream> stream_;      // While the call is served.
  typename Variant::Request request_;    // gRPC's between StartRead and OnReadDone.
  typename Variant::Response response_;  // gRPC's between StartWrite and OnWriteDone.
  std::optional<grpc::Status> final_;    // Waits for the write under way.
  CallbackTimer timer_;
  bool writing_ = false;
  bool finished_ = false;
};

template <class Variant>
void AdsReactor<Variant>::begin() {
  reactors_.add(*this);
  if (reactors_.stopping()) {
    finish({grpc::StatusCode::UNAVAILABLE, "glia-control is stopping"});
    return;
  }
  stream_.emplace(control_plane_, static_cast<AdsStream::Transport&>(*this), caller_,
                  AdsStream::Form{Variant::kVariant, only_});
  timer_.start(GrpcServer::kFirstRequestWait);
  this->StartRead(&request_);
}

template <class Variant>
void AdsReactor<Variant>::read_done(bool ok) {
  if (finished_) return;
  if (!ok) {  // The client ended the stream or went away.
    finish(grpc::Status::OK);
    return;
  }
  const Result<void> taken = stream_->on_request(request_);
  if (!taken) {
    LOG(warning, "ended an ADS stream: ", taken.error().message());
    finish(to_status(taken.error()));
    return;
  }
  this->StartRead(&request_);
  pump();
}

template <class Variant>
void AdsReactor<Variant>::write_done(bool ok) {
  writing_ = false;
  if (final_) {
    this->Finish(*final_);
  } else if (!ok) {
    finish(grpc::Status::OK);
  } else {
    pump();
  }
}

template <class Variant>
void AdsReactor<Variant>::pump() {
  if (finished_ || writing_) return;
  const Result<std::optional<AdsPush>> next = stream_->next();
  if (!next) {
    LOG(info, "ended an ADS stream: ", next.error().message());
    finish(to_status(next.error()));
    return;
  }
  if (!*next) {
    look_later();
    return;
  }
  response_ = Variant::form(**next);
  writing_ = true;
  timer_.start(GrpcServer::kWriteWait);
  this->StartWrite(&response_);
}

template <class Variant>
void AdsReactor<Variant>::look_later() {
  if (!stream_->opened()) return;  // The timer bounds the wait for the first request.
  const std::optional<TimePoint> when = stream_->wake_at();
  if (when) {
    timer_.start(*when - loop_.now());
  } else {
    timer_.stop();
  }
}

template <class Variant>
void AdsReactor<Variant>::on_timer() {
  if (writing_) {
    LOG(warning, "ended an ADS stream: the client does not read");
    context_.TryCancel();  // The write then fails.
  } else if (!finished_ && !stream_->opened()) {
    finish({grpc::StatusCode::DEADLINE_EXCEEDED, "no request came on this stream"});
  } else {
    pump();
  }
}

template <class Variant>
void AdsReactor<Variant>::finish(grpc::Status status) {
  if (finished_) return;
  finished_ = true;
  stream_.reset();
  if (!writing_) {
    timer_.stop();
    this->Finish(std::move(status));
    return;
  }
  // gRPC takes one thing to send at a time, and a client that does not read would hold us.
  final_ = std::move(status);
  timer_.start(GrpcServer::kStopWait);
}

template <class Variant>
using Reactor = grpc::ServerBidiReactor<typename Variant::Request, typename Variant::Response>;
using Context = grpc::CallbackServerContext;

class AggregatedService final
    : public xds::discovery::v3::AggregatedDiscoveryService::CallbackService {
 public:
  explicit AggregatedService(Desk desk) : desk_(desk) {}
  Reactor<StateOfTheWorld>* StreamAggregatedResources(Context* context) override {
    return new AdsReactor<StateOfTheWorld>(desk_, *context, {});
  }
  Reactor<Delta>* DeltaAggregatedResources(Context* context) override {
    return new AdsReactor<Delta>(desk_, *context, {});
  }

 private:
  const Desk desk_;
};

class ClusterService final : public xds::cluster::v3::ClusterDiscoveryService::CallbackService {
 public:
  explicit ClusterService(Desk desk) : desk_(desk) {}
  Reactor<StateOfTheWorld>* StreamClusters(Context* context) override {
    return new AdsReactor<StateOfTheWorld>(desk_, *context, XdsType::kCluster);
  }
  Reactor<Delta>* DeltaClusters(Context* context) override {
    return new AdsReactor<Delta>(desk_, *context, XdsType::kCluster);
  }

 private:
  const Desk desk_;
};

class EndpointService final : public xds::endpoint::v3::EndpointDiscoveryService::CallbackService {
 public:
  explicit EndpointService(Desk desk) : desk_(desk) {}
  Reactor<StateOfTheWorld>* StreamEndpoints(Context* context) override {
    return new AdsReactor<StateOfTheWorld>(desk_, *context, XdsType::kEndpoints);
  }
  Reactor<Delta>* DeltaEndpoints(Context* context) override {
    return new AdsReactor<Delta>(desk_, *context, XdsType::kEndpoints);
  }

 private:
  const Desk desk_;
};

class ListenerService final : public xds::listener::v3::ListenerDiscoveryService::CallbackService {
 public:
  explicit ListenerService(Desk desk) : desk_(desk) {}
  Reactor<StateOfTheWorld>* StreamListeners(Context* context) override {
    return new AdsReactor<StateOfTheWorld>(desk_, *context, XdsType::kListener);
  }
  Reactor<Delta>* DeltaListeners(Context* context) override {
    return new AdsReactor<Delta>(desk_, *context, XdsType::kListener);
  }

 private:
  const Desk desk_;
};

class RouteService final : public xds::route::v3::RouteDiscoveryService::CallbackService {
 public:
  explicit RouteService(Desk desk) : desk_(desk) {}
  Reactor<StateOfTheWorld>* StreamRoutes(Context* context) override {
    return new AdsReactor<StateOfTheWorld>(desk_, *context, XdsType::kRoutes);
  }
  Reactor<Delta>* DeltaRoutes(Context* context) override {
    return new AdsReactor<Delta>(desk_, *context, XdsType::kRoutes);
  }

 private:
  const Desk desk_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> make_ads_services(EventLoop& loop,
                                                              ControlPlane& control_plane,
                                                              AdsReactors& reactors) {
  const Desk desk{loop, control_plane, reactors};
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(std::make_unique<AggregatedService>(desk));
  services.push_back(std::make_unique<ClusterService>(desk));
  services.push_back(std::make_unique<EndpointService>(desk));
  services.push_back(std::make_unique<ListenerService>(desk));
  services.push_back(std::make_unique<RouteService>(desk));
  return services;
}

grpc::Status to_status(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kInvalid:
    case ErrorKind::kProtocol: return {grpc::StatusCode::INVALID_ARGUMENT, error.message()};
    case ErrorKind::kTooLarge:
    case ErrorKind::kOverflow: return {grpc::StatusCode::RESOURCE_EXHAUSTED, error.message()};
    case ErrorKind::kDenied: return {grpc::StatusCode::PERMISSION_DENIED, error.message()};
    case ErrorKind::kTimeout: return {grpc::StatusCode::DEADLINE_EXCEEDED, error.message()};
    case ErrorKind::kClosed: return {grpc::StatusCode::UNAVAILABLE, error.message()};
    default: return {grpc::StatusCode::INTERNAL, error.message()};
  }
}

Result<SpiffeId> caller_of(const grpc::CallbackServerContext& context) {
  const auto range = context.client_metadata().equal_range(kForwardedCertificateHeader);
  if (range.first == range.second) {
    return Error(
        ErrorKind::kDenied, Fault::kDownstream,
        "this call needs a client certificate: connect to the control plane's TLS listener "
        "with the certificate that joining gave");
  }
  if (std::next(range.first) != range.second) {
    return Error(ErrorKind::kDenied, Fault::kDownstream,
                 cat(kForwardedCertificateHeader, " came more than once"));
  }
  return forwarded_identity({range.first->second.data(), range.first->second.size()});
}

void AdsReactors::stop() {
  stopping_ = true;
  const std::set<AdsReactorBase*> all = all_;
  for (AdsReactorBase* reactor : all) {
    reactor->finish({grpc::StatusCode::UNAVAILABLE, "glia-control is stopping"});
  }
}

}  // namespace glia
