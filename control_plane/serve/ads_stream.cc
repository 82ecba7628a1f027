#include "control_plane/serve/ads_stream.h"

#include "control_plane/serve/peer.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

AdsStream::AdsStream(ControlPlane& control_plane, Transport& transport, Result<SpiffeId> caller)
    : control_plane_(control_plane),
      transport_(transport),
      caller_(std::move(caller)),
      connected_(control_plane.wall_now()),
      requests_(kRequests, control_plane.loop_.now()) {
  if (control_plane_.streams_.size() >= ControlPlane::kMostStreams) {
    over_ = Error(ErrorKind::kOverflow, Fault::kSelf,
                  cat("glia-control serves ", ControlPlane::kMostStreams, " streams already"));
  }
  control_plane_.streams_.insert(this);
}

AdsStream::~AdsStream() {
  control_plane_.streams_.erase(this);
  const auto found = control_plane_.sidecars_.find(workload_);
  if (found == control_plane_.sidecars_.end()) return;
  ControlPlane::Sidecar& sidecar = found->second;
  sidecar.streams.erase(this);
  if (sidecar.newest == this) {
    sidecar.newest = sidecar.streams.empty() ? nullptr : *sidecar.streams.begin();
    if (session_) sidecar.last_known = session_->status();
  }
  LOG(info, workload_, " disconnected");
  const bool gone = control_plane_.objects().workload(workload_) == nullptr;
  if (gone && sidecar.streams.empty()) control_plane_.sidecars_.erase(found);
}

Result<void> AdsStream::on_request(const AdsSession::Request& request) {
  if (over_) return *over_;
  const TimePoint now = control_plane_.loop_.now();
  if (!requests_.take(now)) {
    return Error(
        ErrorKind::kOverflow, Fault::kDownstream,
        cat("too many requests on one stream; at most ", kRequests.per_second, " a second"));
  }
  if (!session_) TRY_VOID(open(request));
  TRY(const AdsSession::Heard heard, session_->on_request(request, now));
  log_heard(heard, request);
  return {};
}

Result<void> AdsStream::open(const AdsSession::Request& request) {
  if (!caller_) return caller_.error();
  const std::string& node_id = request.node().id();
  if (node_id.empty() || node_id.size() > kLongestNodeId) {
    return invalid(
        "the first request of a stream must say who asks: node.id is "
        "\"namespace/name\" of the Workload");
  }
  const Workload* workload = control_plane_.objects().workload(node_id);
  if (workload == nullptr) {
    return Error(ErrorKind::kDenied, Fault::kDownstream,
                 cat("node.id names a workload that is not in the mesh: ", printable(node_id)));
  }
  TRY_VOID(check_identity(*workload));
  std::string key = workload->metadata.key();
  ControlPlane::Sidecar& sidecar = control_plane_.sidecars_[key];
  if (sidecar.streams.size() >= ControlPlane::kMostStreamsOfWorkload) {
    return Error(ErrorKind::kOverflow, Fault::kDownstream,
                 cat("workload ", key, " has ", ControlPlane::kMostStreamsOfWorkload,
                     " streams already; is the same workload running more than once?"));
  }
  workload_ = std::move(key);
  sidecar.node_id = node_id;
  sidecar.spiffe_id = caller_->text();
  sidecar.streams.insert(this);
  sidecar.newest = this;
  session_.emplace(control_plane_.mesh_.resources(workload_));
  LOG(info, workload_, " connected as ", caller_->text());
  return {};
}

Result<void> AdsStream::check_identity(const Workload& workload) const {
  const std::string needed = control_plane_.objects().spiffe_id(workload);
  if (caller_->text() == needed) return {};
  return Error(ErrorKind::kDenied, Fault::kDownstream,
               cat("workload ", workload.metadata.key(), " is ", needed,
                   ", but the caller's "
                   "certificate says ",
                   caller_->text()));
}

void AdsStream::retarget() {
  if (!session_ || over_) return;
  const Workload* workload = control_plane_.objects().workload(workload_);
  if (workload == nullptr) {
    over_ = Error(ErrorKind::kDenied, Fault::kSelf,
                  cat("workload ", workload_, " was taken out of the mesh"));
    return;
  }
  if (Result<void> allowed = check_identity(*workload); !allowed) {
    over_ = std::move(allowed).error();
    return;
  }
  session_->set_target(control_plane_.mesh_.resources(workload_));
}

Result<std::optional<AdsSession::Response>> AdsStream::next() {
  if (over_) return *over_;
  if (!session_) return std::optional<AdsSession::Response>();
  std::optional<AdsSession::Response> response = session_->next(control_plane_.loop_.now());
  if (response) {
    LOG(info, "pushed ", name_of(*xds_type(response->type_url())), " ", response->version_info(),
        " (", response->resources_size(), ") to ", workload_);
  }
  return response;
}

std::optional<TimePoint> AdsStream::wake_at() const {
  if (!session_) return {};
  return session_->wake_at(control_plane_.loop_.now());
}

void AdsStream::log_heard(AdsSession::Heard heard, const AdsSession::Request& request) const {
  using Heard = AdsSession::Heard;
  if (heard == Heard::kUnknownType) {
    LOG(debug, workload_, " asked for a kind that is not served here");
    return;
  }
  const XdsType type = *xds_type(request.type_url());
  for (const AdsSession::KindStatus& kind : session_->status()) {
    if (kind.type != type) continue;
    if (heard == Heard::kAccepted) {
      LOG(debug, workload_, " accepted ", name_of(type), " ", kind.accepted_version);
    } else if (heard == Heard::kRefused) {
      LOG(warning, workload_, " refused ", name_of(type), " ", kind.sent_version, " and keeps ",
          kind.accepted_version.empty() ? "nothing" : kind.accepted_version, ": ", kind.refusal);
    }
  }
}

}  // namespace glia
