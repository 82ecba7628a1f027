#include "control_plane/serve/ads_topic.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kAll = "*";

bool covers(const AdsTopic::Names& names, const PackedMap& all) {
  if (names.size() < all.size()) return false;
  return std::all_of(all.begin(), all.end(),
                     [&names](const auto& entry) { return names.contains(entry.first); });
}

void forget(PackedMapRef& held, const AdsTopic::Names& names) {
  const auto unasked = [&names](const auto& entry) { return !names.contains(entry.first); };
  if (std::none_of(held->begin(), held->end(), unasked)) return;
  PackedMap kept = *held;
  std::erase_if(kept, unasked);
  held = std::make_shared<const PackedMap>(std::move(kept));
}

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

// What takes a proxy from `base` to `desired`, in order of names; both are sorted.
void difference(const PackedMap& base, const PackedMap& desired, const AdsTopic::Names& again,
                AdsPush& push) {
  auto held = base.begin();
  for (const auto& [name, resource] : desired) {
    for (; held != base.end() && held->first < name; ++held) push.removed.push_back(held->first);
    const bool known = held != base.end() && held->first == name;
    const bool same = known && same_content(held->second, resource);
    if (known) ++held;
    if (resource == nullptr || (same && !again.contains(name))) continue;
    push.resources.emplace_back(name, resource);
  }
  for (; held != base.end(); ++held) push.removed.push_back(held->first);
  for (const std::string& name : again) {
    if (!desired.contains(name) && !base.contains(name)) push.removed.push_back(name);
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
  const bool more = (everything && !wildcard) ||
                    !std::includes(names.begin(), names.end(), now_asked.begin(), now_asked.end());
  due = due || more;
  whole = due;
  asked = true;
  wildcard = everything;
  names = std::move(now_asked);
  wanted_ = nullptr;
  // What is not asked for any more is forgotten, so that asking again is answered again.
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
      names.insert(name);
      // A proxy that came back with it waits for changes of it, not for it.
      if (!first || !sent->contains(name)) again.insert(name);
    }
  }
  if (first && full_state() && request.resource_names_subscribe().empty()) everything();
  for (const std::string& name : request.resource_names_unsubscribe()) {
    TRY_VOID(check_name(name));
    if (name == kAll) {
      wildcard = false;
      continue;
    }
    names.erase(name);
    again.erase(name);
    if (wildcard) again.insert(name);  // It has it still, or is told that there is none.
  }
  if (names.size() > kMostNames || again.size() > kMostNames) {
    return too_many(std::max(names.size(), again.size()));
  }
  due = due || !again.empty();
  wanted_ = nullptr;
  forget_unasked();
  return {};
}

// The proxy comes back from an earlier stream with what it holds. So it goes on as if we had sent
// that: changes reach it in their order.
void AdsTopic::resume(const DeltaRequest& request, const NodeResources::Kind& target,
                      TimePoint now) {
  if (request.initial_resource_versions().empty()) return;
  PackedMap held;
  for (const auto& [name, version] : request.initial_resource_versions()) {
    const auto found = target.resources->find(name);
    const bool current = found != target.resources->end() && found->second->version == version;
    held[name] = current ? found->second : nullptr;
  }
  sent = accepted = std::make_shared<const PackedMap>(std::move(held));
  sent_count = sent->size();
  const bool same = same_content(*sent, *target.resources);
  sent_version = accepted_version = same ? target.version : "resumed";
  answer = Answer::kAccepted;
  accepted_at = now;
}

void AdsTopic::forget_unasked() {
  if (wildcard) return;
  forget(sent, names);
  forget(accepted, names);
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

PackedMapRef AdsTopic::wanted(const NodeResources::Kind& target) const {
  const PackedMapRef& all = target.resources;
  if (wildcard) return all;
  if (wanted_ != nullptr && wanted_of_ == all) return wanted_;
  const bool was_all = wanted_ != nullptr && wanted_ == wanted_of_;
  const bool is_all = (was_all && wanted_names_ == target.names) || covers(names, *all);
  wanted_of_ = wanted_ = all;
  wanted_names_ = target.names;
  if (is_all) return wanted_;
  PackedMap some;
  for (const std::string& name : names) {
    const auto found = all->find(name);
    if (found != all->end()) some.insert(*found);
  }
  return wanted_ = std::make_shared<const PackedMap>(std::move(some));
}

bool AdsTopic::nothing_new(const PackedMap& wanted, const PackedMap& held) const {
  if (&wanted == &held) return true;
  if (full_state() || delta()) return same_content(wanted, held);
  // Of endpoints and routes a proxy keeps what a response does not mention.
  return std::all_of(wanted.begin(), wanted.end(), [&held](const auto& entry) {
    const auto found = held.find(entry.first);
    return found != held.end() && same_content(found->second, entry.second);
  });
}

bool AdsTopic::warms(const PackedMap& desired) const {
  return std::any_of(warm.begin(), warm.end(),
                     [&desired](const std::string& name) { return desired.contains(name); });
}

PackedMapRef AdsTopic::only_again(const PackedMap& desired) const {
  PackedMap all = *base();
  for (const std::string& name : again) {
    const auto found = desired.find(name);
    if (found != desired.end()) {
      all[name] = found->second;
    } else {
      all.erase(name);
    }
  }
  return std::make_shared<const PackedMap>(std::move(all));
}

void AdsTopic::send(PackedMapRef desired, AdsPush& push) {
  sent_count = desired->size();
  const Names warmed = std::exchange(warm, {});
  if (delta()) {
    std::copy_if(warmed.begin(), warmed.end(), std::inserter(again, again.end()),
                 [&desired](const std::string& name) { return desired->contains(name); });
    difference(*base(), *desired, again, push);
    again.clear();
    sent = std::move(desired);
    return;
  }
  push.resources.assign(desired->begin(), desired->end());
  const auto absent = [&desired](const auto& held) { return !desired->contains(held.first); };
  if (full_state() || std::none_of(sent->begin(), sent->end(), absent)) {
    sent = std::move(desired);
    return;
  }
  PackedMap all = *desired;
  all.insert(sent->begin(), sent->end());
  sent = std::make_shared<const PackedMap>(std::move(all));
}

envoy::service::discovery::v3::DiscoveryResponse to_response(const AdsPush& push) {
  envoy::service::discovery::v3::DiscoveryResponse response;
  response.set_nonce(push.nonce);
  response.set_version_info(push.version);
  response.set_type_url(std::string(type_url(push.type)));
  for (const auto& [name, resource] : push.resources) *response.add_resources() = resource->any;
  return response;
}

envoy::service::discovery::v3::DeltaDiscoveryResponse to_delta_response(const AdsPush& push) {
  envoy::service::discovery::v3::DeltaDiscoveryResponse response;
  response.set_nonce(push.nonce);
  response.set_system_version_info(push.version);
  response.set_type_url(std::string(type_url(push.type)));
  for (const auto& [name, resource] : push.resources) {
    auto* one = response.add_resources();
    one->set_name(name);
    one->set_version(resource->version);
    *one->mutable_resource() = resource->any;
  }
  for (const std::string& name : push.removed) response.add_removed_resources(name);
  return response;
}

}  // namespace glia
