// AdsReactor: carries one AdsStream over a gRPC stream.
//
// gRPC calls On...() on its threads; each of them posts the rest of the work to the loop, so every
// member is touched by the loop only. At most one read and one write are under way, so neither a
// client that floods nor one that does not read makes us hold more than one message of either kind.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <set>

#include "control_plane/serve/ads_stream.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"

namespace glia {

// The reactors that are alive; they end themselves. Belongs to the loop.
class AdsReactors {
 public:
  // Ends every stream with UNAVAILABLE, and those that come later.
  void stop();
  bool empty() const { return all_.empty(); }

 private:
  friend class AdsReactor;
  std::set<class AdsReactor*> all_;
  bool stopping_ = false;
};

class AdsReactor final : public grpc::ServerBidiReactor<AdsSession::Request, AdsSession::Response>,
                         private AdsStream::Transport {
 public:
  // On a thread of gRPC. Deletes itself when the call is over.
  AdsReactor(EventLoop& loop, ControlPlane& control_plane, AdsReactors& reactors,
             grpc::CallbackServerContext& context);

 private:
  friend class AdsReactors;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override;

  // All below on the loop.
  ~AdsReactor() override;
  void begin();
  void read_done(bool ok);
  void write_done(bool ok);
  void changed() override { pump(); }
  void pump();
  void look_later();
  void on_timer();
  void finish(grpc::Status status);

  EventLoop& loop_;
  ControlPlane& control_plane_;
  AdsReactors& reactors_;
  grpc::CallbackServerContext& context_;
  Result<SpiffeId> caller_;
  std::optional<AdsStream> stream_;    // While the call is served.
  AdsSession::Request request_;        // gRPC's between StartRead and OnReadDone.
  AdsSession::Response response_;      // gRPC's between StartWrite and OnWriteDone.
  std::optional<grpc::Status> final_;  // Waits for the write under way.
  CallbackTimer timer_;
  bool writing_ = false;
  bool finished_ = false;
};

class AdsService final
    : public envoy::service::discovery::v3::AggregatedDiscoveryService::CallbackService {
 public:
  AdsService(EventLoop& loop, ControlPlane& control_plane)
      : loop_(loop), control_plane_(control_plane) {}
  grpc::ServerBidiReactor<AdsSession::Request, AdsSession::Response>* StreamAggregatedResources(
      grpc::CallbackServerContext* context) override {
    return new AdsReactor(loop_, control_plane_, reactors_, *context);
  }
  AdsReactors& reactors() { return reactors_; }

 private:
  EventLoop& loop_;
  ControlPlane& control_plane_;
  AdsReactors reactors_;
};

// The status that a client sees for an error of ours.
grpc::Status to_status(const Error& error);
// Who calls, from the metadata that the front door set; an error says why nobody is known.
Result<SpiffeId> caller_of(const grpc::CallbackServerContext& context);

}  // namespace glia
