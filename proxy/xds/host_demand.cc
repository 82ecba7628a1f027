#include "proxy/xds/host_demand.h"

#include <algorithm>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/xds/wire.h"

namespace glia {
namespace {

constexpr std::string_view kDeltaRequest = "envoy.service.discovery.v3.DeltaDiscoveryRequest";

Message request_of(const std::vector<std::string>& names) {
  Message message(*MessageSchema::find(kDeltaRequest));
  message.add_text("type_url", cat("type.googleapis.com/", HostDemand::kType));
  for (const std::string& name : names) message.add_text("resource_names_subscribe", name);
  return message;
}

// The host that takes what no other takes, if the control plane may know more; null: it may not.
const VirtualHost* discovering(const RouteTable& table) {
  const VirtualHost* any = table.host_for("");
  if (any == nullptr) return nullptr;
  const bool discovers = std::ranges::any_of(
      any->routes, [](const Route& route) { return route.discover.has_value(); });
  return discovers ? any : nullptr;
}

Duration idle_of(const VirtualHost& any) {
  for (const Route& route : any.routes) {
    if (route.discover) return route.discover->idle;
  }
  return Duration::zero();
}

// Nothing if the host was found.
std::optional<Error> refusal_in(std::string_view bytes) {
  const Result<Message> host = decode_wire(*MessageSchema::find(HostDemand::kType), bytes);
  if (!host) return host.error();
  const Entry* status = host->find("status");
  const Entry* sentence = host->find("sentence");
  if (status == nullptr || status->bits == 0) return {};
  const ErrorKind kind = status->bits == 403   ? ErrorKind::kDenied
                         : status->bits == 404 ? ErrorKind::kNoRoute
                                               : ErrorKind::kNoCluster;
  return Error(kind, Fault::kDownstream, sentence != nullptr ? sentence->text : "");
}

}  // namespace

HostDemand::HostDemand(EventLoop& loop, const Configuration& configuration, Send send,
                       Refused refused)
    : loop_(loop),
      configuration_(configuration),
      send_(std::move(send)),
      refused_(std::move(refused)),
      sending_(loop, [this] { send_wanted(); }),
      giving_up_(loop, [this] { give_up(); }),
      looking_(loop, [this] { ask_used_(); }) {}

void HostDemand::want(const std::string& host, Duration limit) {
  // Whoever asks has not got the drawing yet: asked for now, it would be wanted when it was given back.
  if (held(host)) return;
  if (const auto before = wanted_.find(host); before != wanted_.end()) {
    before->second.until = std::max(before->second.until, loop_.now() + limit);
    before->second.limit = limit;
    return wake_for_first();
  }
  if (wanted_.size() >= kMostHosts) {
    return refused_(host, Error(ErrorKind::kOverflow, Fault::kSelf,
                                cat("the control plane is asked for ", kMostHosts,
                                    " hosts already; try again")));
  }
  wanted_.emplace(host, Wanted{.until = loop_.now() + limit, .limit = limit});
  wake_for_first();
  if (!open_ || sending_.running()) return;
  const TimePoint due = last_sent_ ? *last_sent_ + kBetweenRequests : loop_.now();
  sending_.start(std::max(Duration::zero(), due - loop_.now()));
}

void HostDemand::opened() {
  open_ = true;
  plan_looking();
  std::vector<std::string> names = all_held();
  for (auto& [host, wanted] : wanted_) {
    names.push_back(host);
    wanted.sent = true;
  }
  if (names.empty()) return;
  last_sent_ = loop_.now();
  send_(request_of(names));
}

void HostDemand::ended(std::string_view why) {
  open_ = false;
  why_ended_ = why;
  sending_.stop();
  for (auto& [host, wanted] : wanted_) wanted.sent = false;
}

void HostDemand::send_wanted() {
  std::vector<std::string> names;
  for (auto& [host, wanted] : wanted_) {
    if (!std::exchange(wanted.sent, true)) names.push_back(host);
  }
  if (names.empty()) return;
  last_sent_ = loop_.now();
  send_(request_of(names));
}

void HostDemand::take(const PushedResources& push) {
  for (const PushedResource& resource : push.resources) {
    const auto found = wanted_.find(resource.name);
    if (found == wanted_.end()) continue;
    const std::optional<Error> refusal = refusal_in(resource.bytes);
    if (!refusal) continue;
    wanted_.erase(found);
    refused_(resource.name, *refusal);
  }
  wake_for_first();
  Message answer = request_of({});
  answer.add_text("response_nonce", push.nonce);
  send_(std::move(answer));
}

void HostDemand::forget_idle(std::function<void()> ask) {
  ask_used_ = std::move(ask);
  plan_looking();
}

std::map<std::string, HostDemand::Group> HostDemand::groups() const {
  std::map<std::string, Group> groups;
  for (const auto& [name, resource] : configuration_.draft().of(ResourceKind::kRoutes)) {
    const auto& table = std::get<std::shared_ptr<const RouteTable>>(resource->value);
    const VirtualHost* any = discovering(*table);
    const Duration idle = any == nullptr ? Duration::zero() : idle_of(*any);
    if (idle <= Duration::zero()) continue;
    for (const VirtualHost& host : table->hosts()) {
      if (&host == any) continue;
      Group& group = groups[host.name.substr(0, host.name.rfind(':'))];
      group.idle = idle;
      group.hosts.push_back(host.name);
      for (const Route& route : host.routes) {
        if (!route.forward) continue;
        for (const WeightedCluster& target : route.forward->clusters) {
          group.clusters.insert(target.cluster);
        }
        for (const Mirror& mirror : route.forward->mirrors) group.clusters.insert(mirror.cluster);
      }
    }
  }
  return groups;
}

void HostDemand::plan_looking() {
  if (ask_used_ == nullptr || looking_.running()) return;
  std::optional<Duration> least;
  for (const auto& [name, group] : groups())
    least = std::min(least.value_or(group.idle), group.idle);
  if (least) looking_.start(std::clamp(*least / 4, kLookOften, kLookSeldom));
}

void HostDemand::used(const std::set<std::string>& clusters) {
  // Ports without HTTP have clusters and no host: "outbound:5432:reco.default" is the group's, too.
  std::set<std::string_view> by_name;
  for (const std::string& cluster : clusters) {
    by_name.insert(std::string_view(cluster).substr(cluster.rfind(':') + 1));
  }
  const TimePoint now = loop_.now();
  const bool heard = open_ && why_ended_.empty();
  std::map<std::string, TimePoint> last;
  std::vector<std::string> idle;
  for (const auto& [name, group] : groups()) {
    const bool is_used = by_name.contains(name) ||
                         std::ranges::any_of(group.clusters, [&](std::string_view cluster) {
                           return clusters.contains(std::string(cluster));
                         });
    const auto before = last_used_.find(name);
    TimePoint& when = last[name];
    when = is_used || before == last_used_.end() ? now : before->second;
    if (!heard || now - when < group.idle) continue;
    idle.insert(idle.end(), group.hosts.begin(), group.hosts.end());
    when = now;  // Asked again as late as that, should the control plane not follow.
  }
  last_used_ = std::move(last);
  if (!idle.empty()) give_back(idle);
  plan_looking();
}

void HostDemand::give_back(const std::vector<std::string>& hosts) {
  Message message(*MessageSchema::find(kDeltaRequest));
  message.add_text("type_url", cat("type.googleapis.com/", kType));
  for (const std::string& host : hosts) message.add_text("resource_names_unsubscribe", host);
  given_back_ += hosts.size();
  LOG(info, "gives back ", hosts.size(), " hosts that nobody has used for a while, ", hosts.front(),
      hosts.size() > 1 ? " and others" : "");
  send_(std::move(message));
}

void HostDemand::look() {
  plan_looking();
  if (wanted_.empty()) return;
  std::erase_if(wanted_, [this](const auto& entry) { return held(entry.first); });
  wake_for_first();
}

void HostDemand::give_up() {
  for (auto at = wanted_.begin(); at != wanted_.end();) {
    if (at->second.until > loop_.now()) {
      ++at;
      continue;
    }
    const std::string host = at->first;
    const Error error(
        ErrorKind::kNoCluster, Fault::kSelf,
        cat("the control plane did not say within ", to_ms(at->second.limit), " ms where ", host,
            " is", why_ended_.empty() ? "" : cat("; it is not reached: ", why_ended_)));
    at = wanted_.erase(at);
    refused_(host, error);
  }
  wake_for_first();
}

void HostDemand::wake_for_first() {
  std::optional<TimePoint> first;
  for (const auto& [host, wanted] : wanted_) {
    if (!first || wanted.until < *first) first = wanted.until;
  }
  if (first) {
    giving_up_.start(std::max(Duration::zero(), *first - loop_.now()));
  } else {
    giving_up_.stop();
  }
}

bool HostDemand::held(std::string_view host) const {
  for (const auto& [name, resource] : configuration_.draft().of(ResourceKind::kRoutes)) {
    const auto& table = std::get<std::shared_ptr<const RouteTable>>(resource->value);
    const VirtualHost* any = discovering(*table);
    if (any != nullptr && table->host_for(host, ":80") != any) return true;
  }
  return false;
}

std::vector<std::string> HostDemand::all_held() const {
  std::vector<std::string> names;
  for (const auto& [name, resource] : configuration_.draft().of(ResourceKind::kRoutes)) {
    const auto& table = std::get<std::shared_ptr<const RouteTable>>(resource->value);
    const VirtualHost* any = discovering(*table);
    if (any == nullptr) continue;
    for (const VirtualHost& host : table->hosts()) {
      if (&host != any) names.push_back(host.name);
    }
  }
  return names;
}

}  // namespace glia
