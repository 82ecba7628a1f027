#include "control_plane/serve/control_plane.h"

#include <algorithm>

#include "control_plane/objects/reference.h"
#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/peer.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/base/utc.h"

namespace glia {
namespace {

int64_t seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

std::string indented(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    out += cat("  ", text.substr(at, end - at), "\n");
    at = end + 1;
  }
  return out;
}

void count(v1::Status& status, std::string_view kind, std::size_t objects) {
  v1::ObjectCount* entry = status.add_objects();
  entry->set_kind(std::string(kind));
  entry->set_count(static_cast<int32_t>(objects));
}

void describe(v1::Route& message, const RouteStatus& route) {
  message.set_kind(route.kind);
  message.set_name(route.name);
  message.set_parent(route.parent);
  for (const Condition& condition : route.conditions) {
    v1::Condition* said = message.add_conditions();
    said->set_type(condition.type);
    said->set_holds(condition.holds);
    said->set_reason(condition.reason);
    said->set_message(condition.message);
  }
}

void describe(v1::Proxy& proxy, const std::vector<AdsSession::KindStatus>& kinds) {
  for (const AdsSession::KindStatus& kind : kinds) {
    v1::ResourceType* type = proxy.add_types();
    type->set_type_url(std::string(type_url(kind.type)));
    type->set_sent_version(kind.sent_version);
    type->set_acked_version(kind.accepted_version);
    type->set_nack_error(kind.refusal);
    type->set_resources(static_cast<int32_t>(kind.resources));
  }
}

}  // namespace

ControlPlane::ControlPlane(EventLoop& loop, MeshState mesh, Registrar& registrar,
                           std::string version)
    : loop_(loop),
      mesh_(std::move(mesh)),
      registrar_(registrar),
      version_(std::move(version)),
      started_(loop.clock().wall_now()),
      in_force_(objects().version),
      trial_timer_(loop, [this] { hear_trial(); }) {}

void ControlPlane::push() {
  // A transport may end its stream when it is told, which takes the stream out of the set.
  std::vector<AdsStream*> concerned;
  for (AdsStream* stream : streams_) {
    if (stream->retarget()) concerned.push_back(stream);
  }
  for (AdsStream* stream : concerned) stream->transport_.changed();
}

const AdsSession* ControlPlane::Sidecar::session(XdsType type) const {
  for (auto stream = streams.rbegin(); stream != streams.rend(); ++stream) {
    if ((*stream)->session_->topic(type).asked) return &*(*stream)->session_;
  }
  return nullptr;
}

std::vector<AdsSession::KindStatus> ControlPlane::Sidecar::kinds() const {
  if (streams.empty()) return last_known;
  std::vector<AdsSession::KindStatus> all;
  for (const XdsType type : kXdsTypes) {
    const AdsSession* newest = session(type);
    if (newest == nullptr) continue;
    for (AdsSession::KindStatus& kind : newest->status()) {
      if (kind.type == type) all.push_back(std::move(kind));
    }
  }
  return all;
}

Result<std::vector<std::string>> ControlPlane::held_of(const SpiffeId& caller,
                                                       const std::vector<std::string>& clusters) {
  if (held_.version != objects().version) {
    held_ = {.version = objects().version};
    for (const Workload& workload : objects().workloads) {
      held_.workloads.emplace(objects().spiffe_id(workload), workload.metadata.key());
    }
  }
  if (held_.wanted != clusters) {
    held_.wanted = clusters;
    held_.found.clear();
  }
  const std::string identity = caller.text();
  if (const auto found = held_.found.find(identity); found != held_.found.end()) {
    return found->second;
  }
  const auto [begin, end] = held_.workloads.equal_range(identity);
  if (begin == end) {
    return Error(ErrorKind::kDenied, Fault::kDownstream,
                 cat(identity, " is no workload of the mesh"));
  }
  std::set<std::string> held;
  for (auto entry = begin; entry != end; ++entry) {
    const auto callable = mesh_.callable(entry->second);
    if (callable == nullptr) continue;
    const ResourceMap& names = callable->of(XdsType::kCluster).resources;
    for (const std::string& cluster : clusters) {
      if (names.contains(cluster)) held.insert(cluster);
    }
  }
  return held_.found[identity] = {held.begin(), held.end()};
}

v1::Status ControlPlane::status() const {
  v1::Status status;
  const ObjectSet& objects = mesh_.objects();
  status.set_version(version_);
  status.set_mesh(objects.mesh.metadata.name);
  status.set_trust_domain(objects.mesh.spec.trust_domain);
  status.set_started_unix_s(seconds(started_));
  status.set_config_version(in_force_);
  count(status, Mesh::kKind, 1);
  count(status, Workload::kKind, objects.workloads.size());
  count(status, MeshService::kKind, objects.services.size() - objects.inference_pools.size());
  count(status, InferencePool::kKind, objects.inference_pools.size());
  count(status, HttpRoute::kKind, objects.http_routes.size());
  count(status, GrpcRoute::kKind, objects.grpc_routes.size());
  count(status, TrafficPolicy::kKind, objects.traffic_policies.size());
  count(status, ModelPolicy::kKind, objects.model_policies.size());
  count(status, AuthorizationPolicy::kKind, objects.policies.size());
  count(status, EndpointSlice::kKind, objects.slices.size());
  count(status, ReferenceGrant::kKind, objects.grants.size());
  count(status, Canary::kKind, objects.canaries.size());
  for (const RouteStatus& route : route_statuses(objects)) describe(*status.add_routes(), route);
  for (const std::string& error : mesh_.errors()) status.add_config_errors(error);
  if (stopped_) {
    for (const std::string& sentence : stopped_->sentences) status.add_config_errors(sentence);
  }
  for (const auto& [source, why] : mesh_.set_aside()) {
    status.add_config_errors(cat(source, ": ", why));
  }
  for (const auto& [workload, sidecar] : sidecars_) {
    v1::Proxy* proxy = status.add_proxies();
    proxy->set_node_id(sidecar.node_id);
    proxy->set_workload(workload);
    proxy->set_spiffe_id(sidecar.spiffe_id);
    if (!sidecar.streams.empty()) {
      proxy->set_connected_unix_s(seconds(sidecar.streams.back()->connected_));
    }
    if (const Workload* known = objects.workload(workload)) proxy->set_away(known->away);
    describe(*proxy, sidecar.kinds());
  }
  return status;
}

Result<v1::CreateTokenResponse> ControlPlane::create_token(const v1::CreateTokenRequest& request) {
  // Clamped, so that nonsense does not overflow before the registrar refuses it.
  constexpr int64_t kTooLong = Registrar::kLongestTokenLifetime / 1s + 1;
  const std::chrono::seconds lifetime(std::clamp<int64_t>(request.lifetime_s(), -1, kTooLong));
  TRY(const Registrar::Token token,
      registrar_.make_token(objects(), request.workload(), lifetime, wall_now()));
  const Workload& member = *objects().workload(request.workload());
  const std::string workload = member.metadata.key();
  v1::CreateTokenResponse response;
  response.set_expires_unix_s(seconds(token.expires));
  response.set_join_file(cat(
      "# Lets the sidecar of ", workload, " join mesh ", objects().mesh.metadata.name,
      ", once, until ", utc_text(token.expires), ":\n# glia-proxy --join FILE\n",
      "workload: ", workload, "\ncontrol: ", advertised_, "\nadmin: \"", member.admin_address(),
      "\"", "\ntoken: ", token.secret, "\ntrustBundle: |\n", indented(registrar_.trust_bundle())));
  LOG(info, "made a join token for ", workload, ", good until ", utc_text(token.expires));
  return response;
}

Result<v1::SignCertificateResponse> ControlPlane::sign(const v1::SignCertificateRequest& request,
                                                       const std::optional<SpiffeId>& caller) {
  Result<v1::SignCertificateResponse> response =
      registrar_.sign(objects(), request, caller, {loop_.now(), wall_now()});
  // Refusals beyond the limit stay out of the log: strangers must not fill the disk.
  if (!response && response.error().kind() != ErrorKind::kOverflow) {
    LOG(warning, "no certificate was signed: ", response.error().message());
  }
  return response;
}

void ControlPlane::sign(const v1::SignCertificateRequest& request,
                        const std::optional<SpiffeId>& caller, Signed done) {
  const bool ours = reviewer_ == nullptr || !is_web_token(request.token());
  // Who asks for what is not there need not be looked up.
  if (ours || objects().workload(request.workload()) == nullptr) {
    return done(sign(request, caller));
  }
  reviewer_->review(request.token(),
                    [this, request, done = std::move(done)](const Result<TokenHolder>& holder) {
                      done(sign_for(request, holder));
                    });
}

// The holder of the token is who calls: what he may be is what he may renew.
Result<v1::SignCertificateResponse> ControlPlane::sign_for(v1::SignCertificateRequest request,
                                                           const Result<TokenHolder>& holder) {
  const auto refuse = [&request](Error error) {
    // As in sign(): strangers must not fill the disk.
    if (error.kind() != ErrorKind::kOverflow) {
      LOG(warning, "no certificate was signed for ", printable(request.workload()), ": ",
          error.message());
    }
    return error;
  };
  if (!holder) return refuse(holder.error());
  const Workload* workload = objects().workload(request.workload());
  const std::string pod = cat(holder->ns, "/", holder->pod);
  if (workload != nullptr && !holder->pod.empty() && workload->metadata.key() != pod) {
    return refuse(Error(
        ErrorKind::kDenied, Fault::kDownstream,
        cat("the token is that of pod ", pod, ", not of workload ", workload->metadata.key())));
  }
  const Result<SpiffeId> caller =
      SpiffeId::parse(cat("spiffe://", objects().mesh.spec.trust_domain, "/ns/", holder->ns, "/sa/",
                          holder->service_account));
  if (!caller) return refuse(caller.error());
  LOG(info, request.workload(), " joins by the token of its service account");
  request.clear_token();
  return sign(request, *caller);
}

}  // namespace glia
