// AdsService and the services of single types: each call carries one AdsStream over a gRPC stream.
//
// How a call is read and written: stream_reactor.h.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <set>
#include <vector>

#include "control_plane/serve/ads_stream.h"

namespace glia {

class AdsReactorBase {
 public:
  virtual ~AdsReactorBase() = default;
  virtual void finish(grpc::Status status) = 0;
};

// The reactors that are alive; they end themselves. Belongs to the loop.
class AdsReactors {
 public:
  // Ends every stream with UNAVAILABLE, and those that come later.
  void stop();
  bool empty() const { return all_.empty(); }
  bool stopping() const { return stopping_; }
  void add(AdsReactorBase& reactor) { all_.insert(&reactor); }
  void remove(AdsReactorBase& reactor) { all_.erase(&reactor); }

 private:
  std::set<AdsReactorBase*> all_;
  bool stopping_ = false;
};

// ADS, and CDS, EDS, LDS and RDS by themselves, each in state of the world and delta. All three
// references outlive the services.
std::vector<std::unique_ptr<grpc::Service>> make_ads_services(EventLoop& loop,
                                                              ControlPlane& control_plane,
                                                              AdsReactors& reactors);

// The status that a client sees for an error of ours.
grpc::Status to_status(const Error& error);
// Who calls, from the metadata that the front door set; an error says why nobody is known.
Result<SpiffeId> caller_of(const grpc::CallbackServerContext& context);

}  // namespace glia
