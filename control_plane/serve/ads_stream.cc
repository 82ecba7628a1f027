#include "control_plane/serve/ads_stream.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "control_plane/serve/peer.h"
#include "control_plane/translate/find_host.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

// Names of Envoy's page "Well Known Client Features".
bool has_feature(const envoy::config::core::v3::Node& node, std::string_view name) {
  return std::ranges::find(node.client_features(), name) != node.client_features().end();
}

bool knows_ttl(const envoy::config::core::v3::Node& node, AdsVariant variant) {
  return has_feature(node, "xds.config.supports-resource-ttl") &&
         (variant == AdsVariant::kDelta || has_feature(node, "xds.config.resource-in-sotw"));
}

}  // namespace

AdsStream::AdsStream(ControlPlane& control_plane, Transport& transport, Result<SpiffeId> caller,
                     Form form)
    : control_plane_(control_plane),
      transport_(transport),
      caller_(std::move(caller)),
      form_(form),
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
  std::vector<AdsSession::KindStatus> last_known = sidecar.kinds();
  std::erase(sidecar.streams, this);
  if (sidecar.streams.empty()) sidecar.last_known = std::move(last_known);
  LOG(info, workload_, " disconnected");
  const bool gone = control_plane_.objects().workload(workload_) == nullptr;
  if (gone && sidecar.streams.empty()) control_plane_.sidecars_.erase(found);
}

template <class AnyRequest>
Result<void> AdsStream::take(const AnyRequest& request) {
  if (over_) return *over_;
  const TimePoint now = control_plane_.loop_.now();
  if (!requests_.take(now)) {
    return Error(
        ErrorKind::kOverflow, Fault::kDownstream,
        cat("too many requests on one stream; at most ", kRequests.per_second, " a second"));
  }
  if (!session_) TRY_VOID(open(request.node()));
  if constexpr (std::is_same_v<AnyRequest, AdsSession::DeltaRequest>) {
    if (request.type_url() == kHostUrl && !form_.only) return take_hosts(request);
  }
  TRY(const std::string url, type_asked(request.type_url()));
  AnyRequest named;  // Only if the request left its type out.
  if (url != request.type_url()) {
    named = request;
    named.set_type_url(url);
  }
  const AnyRequest& whole = url == request.type_url() ? request : named;
  TRY(const AdsSession::Heard heard, session_->on_request(whole, now));
  log_heard(heard, url);
  control_plane_.hear_soon();
  return {};
}

template Result<void> AdsStream::take(const AdsSession::Request& request);
template Result<void> AdsStream::take(const AdsSession::DeltaRequest& request);

Result<std::string> AdsStream::type_asked(const std::string& url) const {
  if (!form_.only) return url;
  const std::string_view own = type_url(*form_.only);
  if (url.empty() || url == own) return std::string(own);
  return invalid(cat("this stream carries ", own, " only, but the request asks for ",
                     printable(url), "; use the stream of that type, or ADS"));
}

Result<void> AdsStream::open(const envoy::config::core::v3::Node& node) {
  if (!caller_) return caller_.error();
  const std::string& node_id = node.id();
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
  // "gRPC C-core", "gRPC Java", "gRPC Go", "gRPC Node Pure JS", ...
  if (node.user_agent_name().starts_with("gRPC")) client_ = ClientKind::kProxyless;
  discovers_ = form_.variant == AdsVariant::kDelta && !form_.only &&
               has_feature(node, v1::Host::descriptor()->full_name());
  session_.emplace(form_.variant, resources());
  if (control_plane_.resource_ttl() && knows_ttl(node, form_.variant)) {
    session_->live_for(*control_plane_.resource_ttl());
  }
  sidecar.streams.push_back(this);
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

std::shared_ptr<const NodeResources> AdsStream::resources() const {
  const ObjectSet& objects = control_plane_.objects();
  const Workload* workload = objects.workload(workload_);
  if (workload != nullptr && discovers_ && on_demand(objects, *workload)) {
    return control_plane_.mesh_.resources(workload_, used_);
  }
  return control_plane_.mesh_.resources(workload_, client_);
}

Result<void> AdsStream::take_hosts(const AdsSession::DeltaRequest& request) {
  const ObjectSet& objects = control_plane_.objects();
  const Workload* workload = objects.workload(workload_);
  if (workload == nullptr) return {};  // The stream is about to end.
  if (hosts_.size() + static_cast<std::size_t>(request.resource_names_subscribe_size()) >
      kMostHostsAsked) {
    return Error(ErrorKind::kOverflow, Fault::kDownstream,
                 cat("more than ", kMostHostsAsked, " hosts were asked for at a time"));
  }
  bool changed = false;
  // What is given back: the way to it goes as that to anything that is not needed any more.
  for (const std::string& name : request.resource_names_unsubscribe()) {
    const Result<std::string> found = find_host(objects, *workload, name);
    changed = (found && used_.erase(*found) > 0) || changed;
  }
  for (const std::string& name : request.resource_names_subscribe()) {
    const Result<std::string> found = find_host(objects, *workload, name);
    v1::Host host;
    if (found) {
      changed = used_.insert(*found).second || changed;
    } else {
      host.set_status(found.error().kind() == ErrorKind::kDenied ? 403 : 404);
      host.set_sentence(found.error().message());
    }
    hosts_.emplace_back(name, std::move(host));
  }
  if (changed) session_->set_target(resources(), control_plane_.loop_.now());
  return {};
}

bool AdsStream::retarget() {
  if (!session_ || over_) return false;
  const Workload* workload = control_plane_.objects().workload(workload_);
  if (workload == nullptr) {
    over_ = Error(ErrorKind::kDenied, Fault::kSelf,
                  cat("workload ", workload_, " was taken out of the mesh"));
    return true;
  }
  if (Result<void> allowed = check_identity(*workload); !allowed) {
    over_ = std::move(allowed).error();
    return true;
  }
  auto target = resources();
  if (target.get() == &session_->target()) return false;
  session_->set_target(std::move(target), control_plane_.loop_.now());
  return true;
}

Result<std::optional<AdsPush>> AdsStream::next() {
  if (over_) return *over_;
  if (!session_) return std::optional<AdsPush>();
  if (!hosts_.empty()) {
    AdsPush answer{XdsType::kRoutes, "1", cat("host", ++host_answers_), {}, {}};
    answer.hosts = std::exchange(hosts_, {});
    LOG(info, "told ", workload_, " of ", answer.hosts.size(), " hosts that it asked for");
    return std::optional(std::move(answer));
  }
  std::optional<AdsPush> push = session_->next(control_plane_.loop_.now());
  if (push && push->heartbeat) {
    LOG(debug, "told ", workload_, " that ", push->resources.size(), " ", name_of(push->type),
        " live on");
  } else if (push) {
    const std::string removed =
        push->removed.empty() ? "" : cat(", without ", push->removed.size());
    LOG(info, "pushed ", name_of(push->type), " ", push->version, " (", push->resources.size(),
        removed, ") to ", workload_);
  }
  return push;
}

std::optional<TimePoint> AdsStream::wake_at() const {
  if (!session_) return {};
  return session_->wake_at(control_plane_.loop_.now());
}

void AdsStream::log_heard(AdsSession::Heard heard, std::string_view url) const {
  using Heard = AdsSession::Heard;
  if (heard == Heard::kUnknownType) {
    LOG(debug, workload_, " asked for a kind that is not served here");
    return;
  }
  const XdsType type = *xds_type(url);
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
