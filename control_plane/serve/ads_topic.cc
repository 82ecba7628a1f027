#include "control_plane/serve/ads_topic.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kAll = "*";

Error too_many(std::size_t count) {
  return Error(
      ErrorKind::kTooLarge, Fault::kDownstream,
      cat("the request names ", count, " resources; at most ", AdsTopic::kMostNames, " are taken"));
}

Result<void> check_name(std::string_view name) {
  if (name.size() <= AdsTopic::kLongestName) return {};
  return Error(ErrorKind::kTooLarge, Fault::kDownstream,
               cat("the request names a resource with ", name.size(), " bytes; at most ",
                   AdsTopic::kLongestName, " are taken"));
}

// What takes a proxy from `base` to `desired`, in order of names.
void difference(const ResourceMap& base, const ResourceMap& desired, const AdsTopic::Names& again,
                AdsPush& push) {
  std::map<std::string_view, PackedRef> sent;  // Null: removed.
  for (const ResourceMap::Change& change : ResourceMap::changes(base, desired)) {
    if (change.after != nullptr && change.after->resource == nullptr) continue;
    sent.emplace(change.name(), change.after == nullptr ? nullptr : change.after->resource);
  }
  for (const std::string& name : again) {
    const ResourceMap::Entry* wanted = desired.find(name);
    if (wanted == nullptr && base.contains(name)) continue;  // Told above.
    if (wanted != nullptr && wanted->resource == nullptr) continue;
    sent.emplace(name, wanted == nullptr ? nullptr : wanted->resource);
  }
  for (const auto& [name, resource] : sent) {
    if (resource == nullptr) {
      push.removed.emplace_back(name);
    } else {
      push.resources.emplace_back(name, resource);
    }
  }
}

}  // namespace

Result<void> AdsTopic::subscribe(const Request& request) {
  if (static_cast<std::size_t>(request.resource_names_size()) > kMostNames) {
    return too_many(static_cast<std::size_t>(request.resource_names_size()));
  }
  for (const std::string& name : request.resource_names()) TRY_VOID(check_name(name));
  Names now_asked(request.resource_names().begin(), request.resource_names().end());
  bool everything = false;
  if (full_state()) {
    everything = now_asked.empty() ? !named : now_asked.contains(kAll);
    named = named || !now_asked.empty();
    now_asked.erase(std::string(kAll));
  }
  const bool same = now_asked == names;
  const bool more =
      (everything && !wildcard) ||
      (!same && !std::includes(names.begin(), names.end(), now_asked.begin(), now_asked.end()));
  due = due || more;
  whole = due;
  asked = true;
  if (same && everything == wildcard) return {};
  wildcard = everything;
  names = std::move(now_asked);
  wanted_made_ = false;
  forget_unasked();
  return {};
}

Result<void> AdsTopic::subscribe(const DeltaRequest& request, const NodeResources::Kind& target,
                                 TimePoint now) {
  if (static_cast<std::size_t>(request.initial_resource_versions_size()) > kMostNames) {
    return too_many(static_cast<std::size_t>(request.initial_resource_versions_size()));
  }
  for (const auto& [name, version] : request.initial_resource_versions()) {
    TRY_VOID(check_name(name));
  }
  const bool first = !asked;
  asked = true;
  if (first) resume(request, target, now);
  const bool resumed = answer == Answer::kAccepted && first;
  // Even without news: a proxy wants to know that it is heard.
  due = due || resumed;
  const auto everything = [&] {
    if (!wildcard && !resumed) due = whole = true;
    wildcard = true;
  };
  for (const std::string& name : request.resource_names_subscribe()) {
    TRY_VOID(check_name(name));
    if (name == kAll) {
      everything();
    } else {
      if (names.insert(name).second) want(name);
      // A proxy that came back with it waits for changes of it, not for it.
      if (!first || !sent.contains(name)) again.insert(name);
    }
  }
  if (first && full_state() && request.resource_names_subscribe().empty()) everything();
  bool forgets = first;
  for (const std::string& name : request.resource_names_unsubscribe()) {
    TRY_VOID(check_name(name));
    if (name == kAll) {
      forgets = forgets || wildcard;
      wildcard = false;
      continue;
    }
    names.erase(name);
    again.erase(name);
    wanted_.erase(name);
    if (!wildcard) forget(name);
    if (wildcard) again.insert(name);  // It has it still, or is told that there is none.
  }
  if (names.size() > kMostNames || again.size() > kMostNames) {
    return too_many(std::max(names.size(), again.size()));
  }
  due = due || !again.empty();
  if (forgets) forget_unasked();
  return {};
}

// The proxy comes back from an earlier stream with what it holds. So it goes on as if we had sent
// that: changes reach it in their order.
void AdsTopic::resume(const DeltaRequest& request, const NodeResources::Kind& target,
                      TimePoint now) {
  if (request.initial_resource_versions().empty()) return;
  // Nearly all of it is what it shall have, so that is where its map begins.
  const auto& versions = request.initial_resource_versions();
  ResourceMap held = target.resources;
  for (const ResourceMap::Entry& entry : target.resources) {
    const auto found = versions.find(entry.name);
    if (found == versions.end()) {
      held.erase(entry.name);
    } else if (found->second != entry.resource->version) {
      held.set(entry.name, nullptr);
    }
  }
  for (const auto& [name, version] : versions) {
    if (!target.resources.contains(name)) held.set(name, nullptr);
  }
  sent = accepted = std::move(held);
  sent_count = sent.size();
  const bool same = sent.same(target.resources);
  sent_version = accepted_version = same ? target.version : "resumed";
  answer = Answer::kAccepted;
  accepted_at = now;
}

void AdsTopic::forget(std::string_view name) {
  sent.erase(name);
  accepted.erase(name);
}

void AdsTopic::forget_unasked() {
  if (wildcard) return;
  for (ResourceMap* held : {&sent, &accepted}) {
    for (const ResourceMap::Entry& entry : ResourceMap(*held)) {
      if (!names.contains(entry.name)) held->erase(entry.name);
    }
  }
}

void AdsTopic::accept(TimePoint now) {
  answer = Answer::kAccepted;
  accepted = sent;
  accepted_version = sent_version;
  accepted_at = now;
}

void AdsTopic::refuse(std::string_view sentence) {
  answer = Answer::kRefused;
  refusal = sentence.substr(0, kLongestRefusal);
  // It goes into logs and onto terminals.
  std::replace_if(
      refusal.begin(), refusal.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  if (refusal.empty()) refusal = "refused without a reason";
}

// One name more is asked for.
void AdsTopic::want(const std::string& name) const {
  const ResourceMap::Entry* found = wanted_of_.find(name);
  if (found != nullptr) wanted_.set(name, found->resource);
}

ResourceMap AdsTopic::wanted(const NodeResources::Kind& target) const {
  const ResourceMap& all = target.resources;
  if (wildcard) return all;
  if (!wanted_made_) {
    wanted_made_ = true;
    wanted_ = {};
    wanted_of_ = all;
    // Whoever asks for nearly everything shares what is nearly everything.
    if (names.size() * 2 > all.size()) {
      wanted_ = all;
      for (const ResourceMap::Entry& entry : all) {
        if (!names.contains(entry.name)) wanted_.erase(entry.name);
      }
    } else {
      for (const std::string& name : names) want(name);
    }
  }
  for (const ResourceMap::Change& change : ResourceMap::changes(wanted_of_, all)) {
    if (!names.contains(change.name())) continue;
    if (change.after == nullptr) {
      wanted_.erase(change.name());
    } else {
      wanted_.set(change.name(), change.after->resource);
    }
  }
  wanted_of_ = all;
  if (wanted_.same(all)) wanted_ = all;
  return wanted_;
}

bool AdsTopic::nothing_new(const ResourceMap& wanted, const ResourceMap& held) const {
  if (full_state() || delta()) return wanted.same(held);
  // Of endpoints and routes a proxy keeps what a response does not mention.
  const auto changes = ResourceMap::changes(held, wanted);
  return std::all_of(changes.begin(), changes.end(),
                     [](const ResourceMap::Change& change) { return change.after == nullptr; });
}

bool AdsTopic::warms(const ResourceMap& desired) const {
  return std::any_of(warm.begin(), warm.end(),
                     [&desired](const std::string& name) { return desired.contains(name); });
}

ResourceMap AdsTopic::only_again(const ResourceMap& desired) const {
  ResourceMap all = base();
  for (const std::string& name : again) {
    const ResourceMap::Entry* found = desired.find(name);
    if (found != nullptr) {
      all.set(name, found->resource);
    } else {
      all.erase(name);
    }
  }
  return all;
}

void AdsTopic::send(ResourceMap desired, AdsPush& push) {
  sent_count = desired.size();
  const Names warmed = std::exchange(warm, {});
  if (delta()) {
    std::copy_if(warmed.begin(), warmed.end(), std::inserter(again, again.end()),
                 [&desired](const std::string& name) { return desired.contains(name); });
    difference(base(), desired, again, push);
    again.clear();
    sent = std::move(desired);
    return;
  }
  for (const ResourceMap::Entry& entry : desired) {
    push.resources.emplace_back(entry.name, entry.resource);
  }
  const ResourceMap before = std::exchange(sent, std::move(desired));
  if (full_state()) return;
  for (const ResourceMap::Change& change : ResourceMap::changes(before, sent)) {
    if (change.after == nullptr) sent.set(change.name(), change.before->resource);
  }
}

void AdsTopic::beat(AdsPush& push) const {
  push.heartbeat = true;
  // Envoy 1.40 takes bare ones of these for a state of the world without anything, and crashes.
  push.bare = delta() || !full_state();
  for (const ResourceMap::Entry& entry : accepted) {
    push.resources.emplace_back(entry.name, entry.resource);
  }
}

namespace {

namespace xds = envoy::service::discovery::v3;

void fill(const std::string& name, std::string version, const PackedRef& resource,
          const AdsPush& push, xds::Resource& one) {
  one.set_name(name);
  one.set_version(std::move(version));
  if (push.ttl) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*push.ttl);
    one.mutable_ttl()->set_seconds(seconds.count());
  }
  if (!push.bare) *one.mutable_resource() = resource->any();
}

}  // namespace

envoy::service::discovery::v3::DiscoveryResponse to_response(const AdsPush& push) {
  envoy::service::discovery::v3::DiscoveryResponse response;
  response.set_nonce(push.nonce);
  response.set_version_info(push.version);
  response.set_type_url(std::string(type_url(push.type)));
  for (const auto& [name, resource] : push.resources) {
    if (!push.ttl) {
      *response.add_resources() = resource->any();
      continue;
    }
    xds::Resource one;
    // That of the whole kind: Envoy knows a heartbeat by it.
    fill(name, push.version, resource, push, one);
    response.add_resources()->PackFrom(one);
  }
  return response;
}

envoy::service::discovery::v3::DeltaDiscoveryResponse to_delta_response(const AdsPush& push) {
  envoy::service::discovery::v3::DeltaDiscoveryResponse response;
  response.set_nonce(push.nonce);
  response.set_system_version_info(push.version);
  response.set_type_url(push.hosts.empty() ? std::string(type_url(push.type))
                                           : std::string(kHostUrl));
  for (const auto& [name, host] : push.hosts) {
    auto* one = response.add_resources();
    one->set_name(name);
    one->set_version("1");
    one->mutable_resource()->PackFrom(host);
  }
  for (const auto& [name, resource] : push.resources) {
    // Of what a proxy brought from an earlier stream, nothing but the name may be known.
    fill(name, resource == nullptr ? "" : resource->version, resource, push,
         *response.add_resources());
  }
  for (const std::string& name : push.removed) response.add_removed_resources(name);
  return response;
}

}  // namespace glia
