#include "control_plane/serve/ads_session.h"

#include <algorithm>

#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

// Endpoints of a cluster of which there are none.
bool nobody_there(const google::protobuf::Any& resource) {
  envoy::config::endpoint::v3::ClusterLoadAssignment endpoints;
  if (!endpoints.ParseFromString(resource.value())) return false;
  return std::all_of(endpoints.endpoints().begin(), endpoints.endpoints().end(),
                     [](const auto& locality) { return locality.lb_endpoints().empty(); });
}

}  // namespace

AdsSession::AdsSession(AdsVariant variant, std::shared_ptr<const NodeResources> target)
    : variant_(variant), target_(std::move(target)) {
  for (const XdsType type : kXdsTypes) {
    own(type).type = type;
    own(type).variant = variant;
  }
}

void AdsSession::set_target(std::shared_ptr<const NodeResources> target, TimePoint now) {
  target_ = std::move(target);
  for (const XdsType type : kXdsTypes) {
    AdsTopic& topic = own(type);
    if (topic.answer != Answer::kRefused || topic.accepted_version.empty()) continue;
    // Back to what the proxy still runs: there is nothing to send and nothing to complain about.
    if (!topic.nothing_new(desired(type, now).resources, topic.accepted)) continue;
    topic.sent = topic.accepted;
    topic.sent_version = topic.accepted_version;
    topic.refusal.clear();
    topic.answer = Answer::kAccepted;
  }
}

template <class AnyRequest>
AdsSession::Heard AdsSession::hear_answer(AdsTopic& topic, const AnyRequest& request,
                                          TimePoint now) {
  // A nonce lives on one stream only, so before our first push there is none to compare.
  if (request.response_nonce().empty() || topic.nonce.empty()) return Heard::kAsked;
  if (request.response_nonce() != topic.nonce) return Heard::kStale;
  if (topic.answer != Answer::kWaiting) return Heard::kAsked;
  if (request.has_error_detail()) {
    topic.refuse(request.error_detail().message());
    return Heard::kRefused;
  }
  topic.accept(now);
  return Heard::kAccepted;
}

Result<AdsSession::Heard> AdsSession::on_request(const Request& request, TimePoint now) {
  const std::optional<XdsType> type = xds_type(request.type_url());
  if (!type) return Heard::kUnknownType;
  AdsTopic& topic = own(*type);
  const Heard heard = hear_answer(topic, request, now);
  if (heard == Heard::kStale) return heard;  // It speaks of names as they were.
  TRY_VOID(topic.subscribe(request));
  return heard;
}

Result<AdsSession::Heard> AdsSession::on_request(const DeltaRequest& request, TimePoint now) {
  const std::optional<XdsType> type = xds_type(request.type_url());
  if (!type) return Heard::kUnknownType;
  AdsTopic& topic = own(*type);
  const Heard heard = hear_answer(topic, request, now);
  // Subscriptions are changes, so they count whatever the nonce.
  TRY_VOID(topic.subscribe(request, target_->of(*type), now));
  if (!request.initial_resource_versions().empty()) resumed_until_ = now + kSubscribeWait;
  return heard;
}

// What to send now: what is wanted and, while listeners and routes may still name them, the
// clusters that the proxy holds beyond that, and the clusters that lose all their endpoints as they
// were: with those endpoints, and with the identities that they have.
AdsSession::Desired AdsSession::desired(XdsType type, TimePoint now) const {
  const AdsTopic& topic = this->topic(type);
  const NodeResources::Kind& target = target_->of(type);
  Desired desired{target.version, topic.wanted(target)};
  if (type == XdsType::kListener || type == XdsType::kRoutes) return desired;
  const std::optional<TimePoint> drained = drained_at(now);
  if (drained && now >= *drained) return desired;
  if (keep_held(topic, desired.resources)) desired.version += '+';
  return desired;
}

bool AdsSession::keep_held(const AdsTopic& topic, ResourceMap& resources) const {
  if (topic.sent.same(resources) && topic.accepted.same(resources)) return false;
  // In state of the world the absence of endpoints says nothing.
  const bool told = topic.full_state() || topic.delta();
  const ResourceMap wanted = resources;
  for (const ResourceMap::Change& change : ResourceMap::changes(topic.accepted, wanted)) {
    const bool kept = change.after == nullptr
                          ? told
                          : change.before != nullptr && loses_last_endpoint(change.name());
    if (kept) resources.set(change.name(), change.before->resource);
  }
  if (told) {
    for (const ResourceMap::Change& change : ResourceMap::changes(topic.base(), wanted)) {
      if (change.after != nullptr || resources.contains(change.name())) continue;
      resources.set(change.name(), change.before->resource);
    }
  }
  return !resources.same(wanted);
}

// Endpoints go by the name of their cluster here.
bool AdsSession::loses_last_endpoint(const std::string& cluster) const {
  const ResourceMap::Entry* before = topic(XdsType::kEndpoints).accepted.find(cluster);
  const ResourceMap::Entry* after = target_->of(XdsType::kEndpoints).resources.find(cluster);
  if (before == nullptr || after == nullptr || before->resource == after->resource) return false;
  if (!nobody_there(after->resource->any())) return false;
  return before->resource == nullptr || !nobody_there(before->resource->any());
}

// Does the proxy run the target of that kind? True if it never asked for any.
bool AdsSession::settled(XdsType type, TimePoint now) const {
  const AdsTopic& topic = this->topic(type);
  if (!topic.asked) return now >= resumed_until_;
  return topic.answer == Answer::kAccepted &&
         topic.nothing_new(topic.wanted(target_->of(type)), topic.sent);
}

std::optional<TimePoint> AdsSession::drained_at(TimePoint now) const {
  TimePoint last{};
  for (const XdsType type : {XdsType::kListener, XdsType::kRoutes}) {
    if (!settled(type, now)) return {};
    if (topic(type).asked) last = std::max(last, topic(type).accepted_at + kDrainWait);
  }
  return last;
}

bool AdsSession::changed(const AdsTopic& topic, const Desired& desired) const {
  if (!topic.asked || topic.answer == Answer::kNone) return false;  // Requests set `due`.
  if (topic.nothing_new(desired.resources, topic.sent)) return topic.warms(desired.resources);
  // After a refusal the proxy runs what it accepted before.
  return topic.answer != Answer::kRefused || !topic.nothing_new(desired.resources, topic.accepted);
}

// Has the proxy asked for the endpoints of every cluster that it was given?
bool AdsSession::endpoints_covered() const {
  const AdsTopic& topic = this->topic(XdsType::kEndpoints);
  const NodeResources::Kind& all = target_->of(XdsType::kEndpoints);
  return topic.wanted(all).same(all.resources);
}

// Must the kinds after `type` stay here for now?
bool AdsSession::holds_back(XdsType type, TimePoint now) const {
  if (type == XdsType::kListener || type == XdsType::kRoutes) return false;
  if (topic(type).answer == Answer::kRefused) return true;
  const AdsTopic& clusters = topic(XdsType::kCluster);
  return type == XdsType::kEndpoints && clusters.answer == Answer::kAccepted &&
         now < clusters.accepted_at + kSubscribeWait && !endpoints_covered();
}

// Nothing for what is on its way, or was never taken.
std::optional<TimePoint> AdsSession::beat_at(const AdsTopic& topic) const {
  const bool answered = topic.answer == Answer::kAccepted || topic.answer == Answer::kRefused;
  if (!ttl_ || !answered || topic.accepted.empty()) return {};
  return topic.heard_at + *ttl_ / kHeartbeats;
}

// What changes meanwhile has its turn after it. An answer to it is none to the push before: that has one.
std::optional<AdsPush> AdsSession::heartbeat(TimePoint now) {
  for (AdsTopic& topic : topics_) {
    const auto due = beat_at(topic);
    if (!due || now < *due || topic.due) continue;
    topic.nonce = cat(++last_nonce_);
    topic.heard_at = now;
    AdsPush push{topic.type, topic.accepted_version, topic.nonce, {}, {}, ttl_};
    topic.beat(push);
    return push;
  }
  return {};
}

std::optional<AdsPush> AdsSession::next(TimePoint now) {
  if (auto beat = heartbeat(now)) return beat;
  for (const XdsType type : kXdsTypes) {
    if (topic(type).due && !topic(type).busy(now)) return answer(type, now);
  }
  for (const XdsType type : kXdsTypes) {
    const AdsTopic& topic = this->topic(type);
    if (topic.answer == Answer::kWaiting) {
      if (now < topic.deadline) return {};
    } else if (Desired desired = this->desired(type, now); changed(topic, desired)) {
      return send(type, std::move(desired), now);
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
  for (const AdsTopic& topic : topics_) {
    if (topic.answer == Answer::kWaiting) consider(topic.deadline);
    if (const auto beat = beat_at(topic)) consider(*beat);
  }
  const AdsTopic& clusters = topic(XdsType::kCluster);
  if (clusters.answer == Answer::kAccepted) consider(clusters.accepted_at + kSubscribeWait);
  consider(resumed_until_);
  if (const std::optional<TimePoint> drained = drained_at(now)) consider(*drained);
  return earliest;
}

// A proxy warms a cluster that changed until it hears its endpoints again, even equal ones.
void AdsSession::warm_again(const ResourceMap& clusters) {
  const ResourceMap& endpoints = target_->of(XdsType::kEndpoints).resources;
  const ResourceMap& held = topic(XdsType::kCluster).accepted;
  for (const ResourceMap::Change& change : ResourceMap::changes(held, clusters)) {
    if (change.before == nullptr || change.after == nullptr) continue;
    if (endpoints.contains(change.name())) own(XdsType::kEndpoints).warm.insert(change.name());
  }
}

// To a request: of delta only what it is about, because the rest of a change has its turn.
AdsPush AdsSession::answer(XdsType type, TimePoint now) {
  const AdsTopic& topic = this->topic(type);
  Desired all = desired(type, now);
  if (!topic.delta() || topic.whole) return send(type, std::move(all), now);
  Desired some{all.version, topic.only_again(all.resources)};
  const bool partial = !some.resources.same(all.resources);
  if (partial && !topic.sent_version.empty()) some.version = topic.sent_version;
  return send(type, std::move(some), now);
}

AdsPush AdsSession::send(XdsType type, Desired desired, TimePoint now) {
  if (type == XdsType::kCluster) warm_again(desired.resources);
  AdsTopic& topic = own(type);
  topic.nonce = cat(++last_nonce_);
  topic.sent_version = desired.version;
  AdsPush push{type, std::move(desired.version), topic.nonce, {}, {}, ttl_};
  // The first one speaks of all; a later one, in delta, of some.
  if (topic.accepted.empty()) topic.heard_at = now;
  topic.send(std::move(desired.resources), push);
  topic.refusal.clear();
  topic.due = topic.whole = false;
  topic.answer = Answer::kWaiting;
  topic.deadline = now + kAnswerWait;
  return push;
}

Trial::Word AdsSession::word(TimePoint now) const {
  bool asked = false, runs_all = true;
  for (const AdsTopic& topic : topics_) {
    if (!topic.asked) continue;
    asked = true;
    if (topic.answer == Answer::kRefused) return Trial::Word::kRefused;
    runs_all = runs_all && topic.answer == Answer::kAccepted && !topic.due &&
               !changed(topic, desired(topic.type, now));
  }
  return asked && runs_all ? Trial::Word::kAccepted : Trial::Word::kNothing;
}

bool AdsSession::can_judge() const {
  return std::ranges::all_of(topics_, [](const AdsTopic& topic) {
    return !topic.asked || (!topic.accepted_version.empty() && topic.answer != Answer::kRefused);
  });
}

void AdsSession::remind() {
  for (AdsTopic& topic : topics_) {
    if (topic.answer == Answer::kRefused && !topic.accepted_version.empty()) topic.due = true;
  }
}

std::vector<AdsSession::KindStatus> AdsSession::status() const {
  std::vector<KindStatus> all;
  for (const AdsTopic& topic : topics_) {
    if (!topic.asked) continue;
    all.push_back(
        {topic.type, topic.sent_version, topic.accepted_version, topic.refusal, topic.sent_count});
  }
  return all;
}

}  // namespace glia
