#include "control_plane/serve/ads_session.h"

#include <algorithm>

#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

// Only these have a wildcard and are full states: what is absent is deleted.
bool full_state(XdsType type) { return type == XdsType::kCluster || type == XdsType::kListener; }

// Would a proxy that has `held` learn nothing from `wanted`? Of endpoints and routes it keeps what
// a response does not mention.
bool nothing_new(XdsType type, const ResourceMap& wanted, const ResourceMap& held) {
  if (full_state(type)) return same_content(wanted, held);
  return std::all_of(wanted.begin(), wanted.end(), [&held](const auto& entry) {
    const auto found = held.find(entry.first);
    return found != held.end() && found->second->value() == entry.second->value();
  });
}

// Endpoints of a cluster of which there are none.
bool nobody_there(const google::protobuf::Any& resource) {
  envoy::config::endpoint::v3::ClusterLoadAssignment endpoints;
  if (!endpoints.ParseFromString(resource.value())) return false;
  return std::all_of(endpoints.endpoints().begin(), endpoints.endpoints().end(),
                     [](const auto& locality) { return locality.lb_endpoints().empty(); });
}

}  // namespace

void AdsSession::set_target(std::shared_ptr<const NodeResources> target) {
  target_ = std::move(target);
  for (const XdsType type : kXdsTypes) {
    Kind& kind = this->kind(type);
    if (kind.answer != Answer::kRefused || kind.accepted_version.empty()) continue;
    // Back to what the proxy still runs: there is nothing to send and nothing to complain about.
    if (!nothing_new(type, desired(type).resources, kind.accepted)) continue;
    kind.sent = kind.accepted;
    kind.sent_version = kind.accepted_version;
    kind.refusal.clear();
    kind.answer = Answer::kAccepted;
  }
}

Result<AdsSession::Heard> AdsSession::on_request(const Request& request, TimePoint now) {
  const std::optional<XdsType> type = xds_type(request.type_url());
  if (!type) return Heard::kUnknownType;
  if (request.resource_names_size() > kMostNames) {
    return Error(ErrorKind::kTooLarge, Fault::kDownstream,
                 cat("the request names ", request.resource_names_size(), " resources; at most ",
                     kMostNames, " are taken"));
  }
  Kind& kind = this->kind(*type);
  Heard heard = Heard::kAsked;
  // A nonce lives on one stream only, so before our first response there is none to compare.
  if (!request.response_nonce().empty() && kind.answer != Answer::kNone) {
    if (request.response_nonce() != kind.nonce) return Heard::kStale;
    if (kind.answer == Answer::kWaiting) {
      hear_answer(kind, request, now);
      heard = kind.answer == Answer::kAccepted ? Heard::kAccepted : Heard::kRefused;
    }
  }
  subscribe(*type, request);
  return heard;
}

void AdsSession::hear_answer(Kind& kind, const Request& request, TimePoint now) {
  if (request.has_error_detail()) {
    kind.answer = Answer::kRefused;
    kind.refusal = request.error_detail().message().substr(0, kLongestRefusal);
    // It goes into logs and onto terminals.
    std::replace_if(
        kind.refusal.begin(), kind.refusal.end(),
        [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    if (kind.refusal.empty()) kind.refusal = "refused without a reason";
    return;
  }
  kind.answer = Answer::kAccepted;
  kind.accepted = kind.sent;
  kind.accepted_version = kind.sent_version;
  kind.accepted_at = now;
}

void AdsSession::subscribe(XdsType type, const Request& request) {
  Kind& kind = this->kind(type);
  std::set<std::string, std::less<>> names(request.resource_names().begin(),
                                           request.resource_names().end());
  bool wildcard = false;
  if (full_state(type)) {
    wildcard = names.empty() ? !kind.named : names.contains("*");
    kind.named = kind.named || !names.empty();
    names.erase("*");
  }
  const bool more =
      (wildcard && !kind.wildcard) ||
      !std::includes(kind.names.begin(), kind.names.end(), names.begin(), names.end());
  kind.due = kind.due || more;
  kind.asked = true;
  kind.wildcard = wildcard;
  kind.names = std::move(names);
  if (wildcard) return;
  // What is not asked for any more is forgotten, so that asking again is answered again.
  const auto unasked = [&kind](const auto& held) { return !kind.names.contains(held.first); };
  std::erase_if(kind.sent, unasked);
  std::erase_if(kind.accepted, unasked);
}

// What the target has of that kind and the proxy has asked for.
ResourceMap AdsSession::wanted(XdsType type) const {
  const ResourceMap& all = target_->of(type).resources;
  const Kind& kind = this->kind(type);
  if (kind.wildcard) return all;
  ResourceMap some;
  for (const std::string& name : kind.names) {
    const auto found = all.find(name);
    if (found != all.end()) some.insert(*found);
  }
  return some;
}

// What to send now: what is wanted and, while listeners and routes may still name them, the
// clusters that the proxy holds beyond that, and the clusters that lose all their endpoints as they
// were: with those endpoints, and with the identities that they have.
AdsSession::Desired AdsSession::desired(XdsType type) const {
  Desired desired{target_->of(type).version, wanted(type)};
  if (type == XdsType::kListener || type == XdsType::kRoutes) return desired;
  if (settled(XdsType::kListener) && settled(XdsType::kRoutes)) return desired;
  bool kept = keep_emptied(type, desired.resources);
  if (type == XdsType::kCluster) {
    const std::size_t new_size = desired.resources.size();
    desired.resources.insert(kind(type).accepted.begin(), kind(type).accepted.end());
    desired.resources.insert(kind(type).sent.begin(), kind(type).sent.end());
    kept = kept || desired.resources.size() != new_size;
  }
  if (kept) desired.version += '+';
  return desired;
}

bool AdsSession::keep_emptied(XdsType type, ResourceMap& resources) const {
  bool kept = false;
  for (const auto& [name, held] : kind(type).accepted) {
    const auto found = resources.find(name);
    if (found == resources.end() || found->second->value() == held->value()) continue;
    if (!loses_last_endpoint(name)) continue;
    found->second = held;
    kept = true;
  }
  return kept;
}

// Endpoints go by the name of their cluster here.
bool AdsSession::loses_last_endpoint(const std::string& cluster) const {
  const ResourceMap& held = kind(XdsType::kEndpoints).accepted;
  const ResourceMap& next = target_->of(XdsType::kEndpoints).resources;
  const auto before = held.find(cluster), after = next.find(cluster);
  return before != held.end() && after != next.end() && nobody_there(*after->second) &&
         !nobody_there(*before->second);
}

// Does the proxy run the target of that kind? True if it never asked for any.
bool AdsSession::settled(XdsType type) const {
  const Kind& kind = this->kind(type);
  if (!kind.asked) return true;
  return kind.answer == Answer::kAccepted && nothing_new(type, wanted(type), kind.sent);
}

bool AdsSession::changed(XdsType type, const Desired& desired) const {
  const Kind& kind = this->kind(type);
  if (!kind.asked || kind.answer == Answer::kNone) return false;  // Requests set `due`.
  if (nothing_new(type, desired.resources, kind.sent)) return kind.refresh;
  // After a refusal the proxy runs what it accepted before.
  return kind.answer != Answer::kRefused || !nothing_new(type, desired.resources, kind.accepted);
}

// Has the proxy asked for the endpoints of every cluster that it was given?
bool AdsSession::endpoints_covered() const {
  const Kind& endpoints = kind(XdsType::kEndpoints);
  for (const auto& [name, resource] : target_->of(XdsType::kEndpoints).resources) {
    if (!endpoints.names.contains(name)) return false;
  }
  return true;
}

// Must the kinds after `type` stay here for now?
bool AdsSession::holds_back(XdsType type, TimePoint now) const {
  const Kind& kind = this->kind(type);
  if (type == XdsType::kListener || type == XdsType::kRoutes) return false;
  if (kind.answer == Answer::kRefused) return true;
  const Kind& clusters = this->kind(XdsType::kCluster);
  return type == XdsType::kEndpoints && clusters.answer == Answer::kAccepted &&
         now < clusters.accepted_at + kSubscribeWait && !endpoints_covered();
}

std::optional<AdsSession::Response> AdsSession::next(TimePoint now) {
  for (const XdsType type : kXdsTypes) {
    const Kind& kind = this->kind(type);
    if (!kind.due || (kind.answer == Answer::kWaiting && now < kind.deadline)) continue;
    return send(type, desired(type), now);
  }
  for (const XdsType type : kXdsTypes) {
    const Kind& kind = this->kind(type);
    const bool waiting = kind.answer == Answer::kWaiting;
    if (waiting && now < kind.deadline) return {};
    if (!waiting) {
      Desired desired = this->desired(type);
      if (changed(type, desired)) return send(type, std::move(desired), now);
    }
    if (holds_back(type, now)) return {};
  }
  return {};
}

std::optional<TimePoint> AdsSession::wake_at(TimePoint now) const {
  std::optional<TimePoint> earliest;
  const auto consider = [&](TimePoint when) {
    if (when > now && (!earliest || when < *earliest)) earliest = when;
  };
  for (const Kind& kind : kinds_) {
    if (kind.answer == Answer::kWaiting) consider(kind.deadline);
  }
  const Kind& clusters = kind(XdsType::kCluster);
  if (clusters.answer == Answer::kAccepted) consider(clusters.accepted_at + kSubscribeWait);
  return earliest;
}

AdsSession::Response AdsSession::send(XdsType type, Desired desired, TimePoint now) {
  Kind& kind = this->kind(type);
  if (type == XdsType::kCluster) {
    // A proxy warms a cluster that changed until it hears its endpoints again, even equal ones.
    for (const auto& [name, resource] : desired.resources) {
      const auto before = kind.accepted.find(name);
      if (before != kind.accepted.end() && before->second->value() != resource->value()) {
        this->kind(XdsType::kEndpoints).refresh = true;
      }
    }
  }
  Response response;
  kind.nonce = cat(++last_nonce_);
  response.set_nonce(kind.nonce);
  response.set_version_info(desired.version);
  response.set_type_url(std::string(type_url(type)));
  for (const auto& [name, resource] : desired.resources) *response.add_resources() = *resource;
  kind.sent_count = desired.resources.size();
  if (!full_state(type)) desired.resources.merge(kind.sent);
  kind.sent = std::move(desired.resources);
  kind.sent_version = std::move(desired.version);
  kind.refusal.clear();
  kind.due = kind.refresh = false;
  kind.answer = Answer::kWaiting;
  kind.deadline = now + kAnswerWait;
  return response;
}

std::vector<AdsSession::KindStatus> AdsSession::status() const {
  std::vector<KindStatus> all;
  for (const XdsType type : kXdsTypes) {
    const Kind& kind = this->kind(type);
    if (!kind.asked) continue;
    all.push_back({type, kind.sent_version, kind.accepted_version, kind.refusal, kind.sent_count});
  }
  return all;
}

}  // namespace glia
