// AdsStream: one sidecar's stream above its transport: who it is, how much it may ask, and its
// AdsSession.
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

  class Transport {
   public:
    virtual ~Transport() = default;
    // next() may say something new. Called on the loop, never from inside the stream's own calls.
    virtual void changed() = 0;
  };

  // `caller`: the verified identity, or why there is none. Both references outlive the stream.
  AdsStream(ControlPlane& control_plane, Transport& transport, Result<SpiffeId> caller);
  AdsStream(const AdsStream&) = delete;
  AdsStream& operator=(const AdsStream&) = delete;
  ~AdsStream();

  // An error of any of these ends the stream; its sentence is for the client.
  Result<void> on_request(const AdsSession::Request& request);
  Result<std::optional<AdsSession::Response>> next();
  // When to call next() again although nothing came in.
  std::optional<TimePoint> wake_at() const;
  bool opened() const { return session_.has_value(); }

 private:
  friend class ControlPlane;
  Result<void> open(const AdsSession::Request& request);
  Result<void> check_identity(const Workload& workload) const;
  // The objects changed.
  void retarget();
  void log_heard(AdsSession::Heard heard, const AdsSession::Request& request) const;

  ControlPlane& control_plane_;
  Transport& transport_;
  const Result<SpiffeId> caller_;
  const WallTime connected_;
  Rate requests_;
  std::string workload_;  // "namespace/name"; "" before the first request.
  std::optional<AdsSession> session_;
  std::optional<Error> over_;  // Why the stream must end.
};

}  // namespace glia
