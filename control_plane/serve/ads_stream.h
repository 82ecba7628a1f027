// AdsStream: one sidecar's stream above its transport: who it is, how much it may ask, and its
// AdsSession. One that carries a single type (CDS, EDS, LDS, RDS) is the same with less to say.
//
// The first request names the workload in node.id; the stream lives only while the caller's
// verified identity is that workload's. Belongs to the control plane's loop.
#pragma once

#include <optional>
#include <string>

#include "control_plane/serve/control_plane.h"

namespace glia {

class AdsStream {
 public:
  // A proxy that refuses everything answers as fast as we send; beyond this it is a flood.
  static constexpr RateLimit kRequests = {.per_second = 100, .burst = 500};
  static constexpr std::size_t kLongestNodeId = 512;  // bytes
  // Of one stream; a sidecar asks for no more than kMostHosts of proxy/xds/host_demand.h at a time, and
  // once for all that it holds.
  static constexpr std::size_t kMostHostsAsked = 20'000;  // That wait for their answer.

  class Transport {
   public:
    virtual ~Transport() = default;
    // next() may say something new. Called on the loop, never from inside the stream's own calls.
    virtual void changed() = 0;
  };

  struct Form {
    AdsVariant variant = AdsVariant::kStateOfTheWorld;
    std::optional<XdsType> only = {};  // Nothing: an aggregated stream of all types.
  };
  // `caller`: the verified identity, or why there is none. Both references outlive the stream.
  AdsStream(ControlPlane& control_plane, Transport& transport, Result<SpiffeId> caller, Form form);
  AdsStream(const AdsStream&) = delete;
  AdsStream& operator=(const AdsStream&) = delete;
  ~AdsStream();

  // An error of any of these ends the stream; its sentence is for the client. The request is of the
  // stream's variant.
  Result<void> on_request(const AdsSession::Request& request) { return take(request); }
  Result<void> on_request(const AdsSession::DeltaRequest& request) { return take(request); }
  Result<std::optional<AdsPush>> next();
  // When to call next() again although nothing came in.
  std::optional<TimePoint> wake_at() const;
  bool opened() const { return session_.has_value(); }

 private:
  friend class ControlPlane;
  template <class AnyRequest>
  Result<void> take(const AnyRequest& request);
  Result<void> open(const envoy::config::core::v3::Node& node);
  // The session's type of a request that may leave it out.
  Result<std::string> type_asked(const std::string& url) const;
  Result<void> check_identity(const Workload& workload) const;
  // Subscriptions to hosts by name (glia.v1.Host).
  Result<void> take_hosts(const AdsSession::DeltaRequest& request);
  // What the sidecar shall have now; null if its workload is gone.
  std::shared_ptr<const NodeResources> resources() const;
  // The objects changed; is that of any concern here?
  bool retarget();
  void log_heard(AdsSession::Heard heard, std::string_view url) const;

  ControlPlane& control_plane_;
  Transport& transport_;
  const Result<SpiffeId> caller_;
  const Form form_;
  const WallTime connected_;
  Rate requests_;
  std::string workload_;  // "namespace/name"; "" before the first request.
  ClientKind client_ = ClientKind::kSidecar;
  bool discovers_ = false;      // It can ask for hosts by name.
  std::set<std::string> used_;  // What it has asked for, as find_host() names it.
  std::vector<std::pair<std::string, v1::Host>> hosts_;  // Answers that are due.
  uint64_t host_answers_ = 0;
  std::optional<AdsSession> session_;
  std::optional<Error> over_;  // Why the stream must end.
};

}  // namespace glia
