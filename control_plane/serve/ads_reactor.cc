#include "control_plane/serve/ads_reactor.h"

#include <optional>

#include "control_plane/serve/grpc_server.h"
#include "control_plane/serve/peer.h"
#include "control_plane/serve/stream_reactor.h"
#include "envoy/service/cluster/v3/cds.grpc.pb.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "envoy/service/endpoint/v3/eds.grpc.pb.h"
#include "envoy/service/listener/v3/lds.grpc.pb.h"
#include "envoy/service/route/v3/rds.grpc.pb.h"
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
    : public StreamReactor<typename Variant::Request, typename Variant::Response>,
      private AdsStream::Transport {
 public:
  AdsReactor(Desk desk, grpc::CallbackServerContext& context, std::optional<XdsType> only)
      : StreamReactor<typename Variant::Request, typename Variant::Response>(
            desk.loop, desk.reactors, context, "an ADS stream"),
        control_plane_(desk.control_plane),
        only_(only),
        caller_(caller_of(context)) {
    this->open();
  }

 private:
  grpc::Status begin() override {
    stream_.emplace(control_plane_, static_cast<AdsStream::Transport&>(*this), caller_,
                    AdsStream::Form{Variant::kVariant, only_});
    return grpc::Status::OK;
  }
  Result<void> take(const typename Variant::Request& request) override {
    return stream_->on_request(request);
  }
  Result<std::optional<typename Variant::Response>> next() override {
    TRY(const std::optional<AdsPush> push, stream_->next());
    std::optional<typename Variant::Response> response;
    if (push) response = Variant::form(*push);
    return response;
  }
  std::optional<TimePoint> wake_at() const override { return stream_->wake_at(); }
  bool is_opened() const override { return stream_->opened(); }
  void end() override { stream_.reset(); }
  void changed() override { this->pump(); }

  ControlPlane& control_plane_;
  const std::optional<XdsType> only_;
  const Result<SpiffeId> caller_;
  std::optional<AdsStream> stream_;  // While the call is served.
};

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
