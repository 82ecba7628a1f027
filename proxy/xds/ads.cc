#include "proxy/xds/ads.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/xds/wire.h"

namespace glia {

namespace {

constexpr int kInvalidArgument = 3;         // google.rpc.Code
constexpr std::size_t kSentenceMax = 4096;  // bytes of a NACK's message
// Resources of one kind whose time to live is kept; those beyond live for ever.
constexpr std::size_t kMostEnds = 20'000;
// Errors of resources of one kind that are kept; those beyond are logged alone.
constexpr std::size_t kMostErrors = 20'000;
constexpr std::string_view kRequest = "envoy.service.discovery.v3.DiscoveryRequest";
constexpr std::string_view kDeltaRequest = "envoy.service.discovery.v3.DeltaDiscoveryRequest";

void add_refusal(std::string_view sentence, Message& message) {
  if (sentence.empty()) return;
  Message& status = message.add_message("error_detail");
  status.add_bits("code", kInvalidArgument);
  status.add_text("message", std::string(sentence.substr(0, kSentenceMax)));
}

// Tells one push from another; not a secret. In delta the version of a push says nothing of it.
std::string fingerprint_of(const PushedResources& push, bool delta) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto add = [&hash](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash = (hash ^ 0xFF) * 0x100000001b3;
  };
  for (const PushedResource& resource : push.resources) add(resource.bytes);
  for (const std::string& name : push.removed) add(name);
  return cat(delta ? "" : push.version, " ", hash);
}

// It says only that resources live on.
bool is_heartbeat(const PushedResources& push) {
  return !push.resources.empty() && push.removed.empty() &&
         std::ranges::all_of(push.resources, &PushedResource::heartbeat);
}

// What `push` says of each resource, without what it says of those that are held anyway. It borrows from
// `push`.
Push part_of(ResourceKind kind, const PushedResources& push, bool delta) {
  Push part{.kind = kind, .version = push.version, .resources = {}};
  if (delta) part.delta.emplace().removed = push.removed;
  for (const PushedResource& resource : push.resources) {
    if (resource.heartbeat) continue;
    part.resources.push_back(resource.bytes);
    if (delta) part.delta->versions.push_back(resource.version);
  }
  for (const ResourceTrouble& error : push.errors) part.unsaid.insert(error.name);
  return part;
}

}  // namespace

AdsClient::AdsClient(EventLoop& loop, Configuration& configuration, OpenAds open, uint64_t seed,
                     const AdsOptions& options)
    : loop_(loop),
      configuration_(configuration),
      open_(std::move(open)),
      random_(seed),
      options_(options),
      backoff_(options.reconnect_least, options.reconnect_most),
      reconnect_(loop, [this] { connect(); }),
      first_fetch_(
          loop,
          [this] {
            if (!settled_)
              LOG(warning,
                  "the control plane has not sent everything in time, starting without it");
            settled_ = true;
          }),
      expiry_(loop, [this] { expire(); }) {}

void AdsClient::discover(HostDemand::Refused refused) {
  hosts_ = std::make_unique<HostDemand>(
      loop_, configuration_, [this](Message request) { send(std::move(request)); },
      std::move(refused));
}

// As changes, in either variant: so each resource has the version with which it came. In state of the
// world the first request says none all the same: the numbers of a server that forgot everything may
// begin anew.
Result<void> AdsClient::restore(const std::vector<PushedResources>& kept) {
  std::vector<Push> parts;
  for (const PushedResources& push : kept) {
    parts.push_back(part_of(*kind_of(push.type_url), push, /*delta=*/true));
  }
  TRY_VOID(configuration_.restore(parts));
  for (const PushedResources& push : kept) note_ends(*kind_of(push.type_url), push);
  unconfirmed_ = true;
  return {};
}

void AdsClient::start() {
  first_fetch_.start(options_.initial_fetch);
  check_complete();
  reconnect_.start(Duration::zero());
}

bool AdsClient::wildcard(ResourceKind kind) const {
  return kind == ResourceKind::kCluster || kind == ResourceKind::kListener;
}

void AdsClient::connect() {
  for (Topic& topic : topics_) {
    topic.asked = false;
    topic.nonce.clear();
    topic.names.clear();
    topic.held_answer.reset();
  }
  node_sent_ = false;
  connected_ = false;
  call_.reset();
  open_now_ = true;
  opened_ = loop_.now();
  call_ = open_(*this);
  // First, so that nothing of what is held is taken for unwanted.
  if (hosts_ != nullptr) hosts_->opened();
  for (const ResourceKind kind : kResourceKinds) subscribe(kind);
}

void AdsClient::refresh() {
  for (const ResourceKind kind : kResourceKinds) subscribe(kind);
  if (check_complete()) changed_();
}

// Asks for what is wanted of that kind, if that differs from what was asked for.
void AdsClient::subscribe(ResourceKind kind) {
  if (!open_now_) return;
  Topic& topic = this->topic(kind);
  if (wildcard(kind)) {
    const Bootstrap& bootstrap = configuration_.bootstrap();
    const bool by_ads = kind == ResourceKind::kCluster ? bootstrap.cds : bootstrap.lds;
    if (by_ads && !topic.asked) request(kind);
    return;
  }
  std::set<std::string> names = configuration_.draft().wanted(kind);
  if (delta()) return change_names(kind, std::move(names));
  // Never naming anything would mean "everything", so nothing is asked before something is wanted.
  if (names == topic.names || (names.empty() && !topic.asked)) return;
  topic.names = std::move(names);
  // A held refusal is answered by its own timer, with the new names.
  if (!topic.held_answer || !topic.held_answer->running()) request(kind, topic.sentence);
}

void AdsClient::request(ResourceKind kind, std::string_view refusal) {
  if (delta()) return request_delta(kind, refusal);
  Topic& topic = this->topic(kind);
  Message message(*MessageSchema::find(kRequest));
  if (!topic.version.empty()) message.add_text("version_info", topic.version);
  message.add_text("type_url", type_url_of(kind));
  for (const std::string& name : topic.names) message.add_text("resource_names", name);
  if (!topic.nonce.empty()) message.add_text("response_nonce", topic.nonce);
  if (!topic.nonce.empty()) add_refusal(refusal, message);
  topic.asked = true;
  send(std::move(message));
}

void AdsClient::request_delta(ResourceKind kind, std::string_view refusal) {
  Topic& topic = this->topic(kind);
  Message message(*MessageSchema::find(kDeltaRequest));
  message.add_text("type_url", type_url_of(kind));
  if (!topic.asked) add_held_versions(kind, message);
  if (!topic.nonce.empty()) {
    message.add_text("response_nonce", topic.nonce);
    add_refusal(refusal, message);
  }
  topic.asked = true;
  send(std::move(message));
}

void AdsClient::change_names(ResourceKind kind, std::set<std::string> wanted) {
  Topic& topic = this->topic(kind);
  // Without a name there is nothing to ask for yet.
  if (wanted == topic.names) return;
  Message message(*MessageSchema::find(kDeltaRequest));
  message.add_text("type_url", type_url_of(kind));
  for (const std::string& name : wanted) {
    if (!topic.names.contains(name)) message.add_text("resource_names_subscribe", name);
  }
  for (const std::string& name : topic.names) {
    if (!wanted.contains(name)) message.add_text("resource_names_unsubscribe", name);
  }
  topic.names = std::move(wanted);
  if (!topic.asked) add_held_versions(kind, message);
  topic.asked = true;
  send(std::move(message));
}

// What a fresh stream begins with: the versions of all that is held and not static.
void AdsClient::add_held_versions(ResourceKind kind, Message& message) const {
  for (const auto& [name, resource] : configuration_.draft().of(kind)) {
    if (resource->is_static || resource->version.empty()) continue;
    if (kind == ResourceKind::kCluster && configuration_.draft().leaving(name)) continue;
    Message& entry = message.add_message("initial_resource_versions");
    entry.add_text("key", name);
    entry.add_text("value", resource->version);
  }
}

void AdsClient::send(Message message) {
  if (!std::exchange(node_sent_, true) && !configuration_.bootstrap().node_bytes.empty()) {
    const auto* node = MessageSchema::find("envoy.config.core.v3.Node");
    if (Result<Message> decoded = decode_wire(*node, configuration_.bootstrap().node_bytes);
        decoded.ok()) {
      Message& node = message.add_message("node");
      node = *std::move(decoded);
      // Envoy's page "Well Known Client Features".
      node.add_text("client_features", "xds.config.supports-resource-ttl");
      node.add_text("client_features", "xds.config.resource-in-sotw");
      if (hosts_ != nullptr) node.add_text("client_features", std::string(HostDemand::kType));
    }
  }
  call_->send(encode_wire(message));
}

void AdsClient::on_message(std::string_view bytes) {
  connected_ = true;
  if (hosts_ != nullptr) hosts_->heard();
  const Result<PushedResources> push = delta() ? decode_delta_push(bytes) : decode_push(bytes);
  if (!push.ok()) {
    LOG(warning, "the control plane sent a push that is no ", delta() ? "Delta" : "",
        "DiscoveryResponse: ", push.error().message());
    return;
  }
  if (hosts_ != nullptr && type_of_url(push->type_url) == HostDemand::kType) {
    return hosts_->take(*push);
  }
  const auto kind = kind_of(push->type_url);
  if (!kind || !topic(*kind).asked) {
    LOG(warning, "the control plane sent resources nobody asked for: ", push->type_url);
    return;
  }
  Topic& topic = this->topic(*kind);
  topic.nonce = push->nonce;
  if (is_heartbeat(*push)) {  // Neither a state of the world nor a word on what was refused.
    note_ends(*kind, *push);
    unconfirmed_ = false;
    request(*kind);
    return changed_();
  }
  const std::string fingerprint = fingerprint_of(*push, delta());
  // The same again: not worth reading, the sentence is the same. But what this machine did not have may be
  // there now: a port, for one.
  if (!topic.refused.empty() && fingerprint == topic.refused && !topic.machine_lacks) {
    return refuse(*kind, push->version, topic.sentence, fingerprint);
  }
  topic.machine_lacks = false;
  if (!push->trouble.empty()) return refuse(*kind, push->version, push->trouble, fingerprint);
  const Result<void> pushed = apply(*kind, *push);
  if (!pushed.ok()) {
    topic.machine_lacks = pushed.error().kind() == ErrorKind::kInternal;
    return refuse(*kind, push->version, pushed.error().message(), fingerprint);
  }
  accept(*kind, *push);
}

Result<void> AdsClient::apply(ResourceKind kind, const PushedResources& push) {
  return configuration_.push({part_of(kind, push, delta())});
}

void AdsClient::accept(ResourceKind kind, const PushedResources& push) {
  Topic& topic = this->topic(kind);
  backoff_.reset();
  topic.version = push.version;
  note_ends(kind, push);
  note_errors(kind, push);
  topic.refused.clear();
  topic.sentence.clear();
  topic.hold = Duration::zero();
  topic.held_answer.reset();
  // In state of the world an answer names all that is wanted.
  if (!wildcard(kind) && !delta()) topic.names = configuration_.draft().wanted(kind);
  request(kind);
  for (const ResourceKind other : kResourceKinds) {
    if (other != kind || delta()) subscribe(other);
  }
  if (hosts_ != nullptr) hosts_->look();
  unconfirmed_ = false;
  const bool only_heard =
      delta() && push.resources.empty() && push.removed.empty() && push.errors.empty();
  if (check_complete() || !only_heard) changed_();
}

void AdsClient::note_ends(ResourceKind kind, const PushedResources& push) {
  Topic& topic = this->topic(kind);
  for (const PushedResource& resource : push.resources) {
    if (resource.name.empty()) continue;
    if (!resource.ttl) {
      if (!resource.heartbeat) topic.ends.erase(resource.name);
    } else if (topic.ends.size() < kMostEnds || topic.ends.contains(resource.name)) {
      topic.ends[resource.name] = loop_.now() + *resource.ttl;
    }
  }
  for (const std::string& name : push.removed) topic.ends.erase(name);
  const ResourceMap& held = configuration_.draft().of(kind);
  std::erase_if(topic.ends, [&held](const auto& entry) { return !held.contains(entry.first); });
  look_at_ends();
}

// An error is over when the resource comes, or is not wanted any more.
void AdsClient::note_errors(ResourceKind kind, const PushedResources& push) {
  std::map<std::string, std::string>& errors = topic(kind).errors;
  for (const ResourceTrouble& error : push.errors) {
    const auto known = errors.find(error.name);
    if (known != errors.end() && known->second == error.why) continue;
    LOG(warning, "the control plane cannot say what ", word_of(kind), " ", error.name,
        " is: ", error.why);
    if (known != errors.end() || errors.size() < kMostErrors) errors[error.name] = error.why;
  }
  std::set<std::string_view> named;
  for (const ResourceTrouble& error : push.errors) named.insert(error.name);
  const ResourceMap& held = configuration_.draft().of(kind);
  const bool full_state = wildcard(kind) && !delta();
  std::erase_if(errors, [&](const auto& entry) {
    return !named.contains(entry.first) && (full_state || held.contains(entry.first));
  });
  for (const std::string& name : push.removed) errors.erase(name);
}

std::optional<Duration> AdsClient::time_left(ResourceKind kind, const std::string& name) const {
  const Topic& topic = this->topic(kind);
  const auto end = topic.ends.find(name);
  if (end == topic.ends.end()) return {};
  return std::max(end->second - loop_.now(), Duration::zero());
}

void AdsClient::look_at_ends() {
  std::optional<TimePoint> first;
  for (const Topic& topic : topics_) {
    for (const auto& [name, end] : topic.ends) {
      if (!first || end < *first) first = end;
    }
  }
  if (first) {
    expiry_.start(std::max(*first - loop_.now(), Duration::zero()));
  } else {
    expiry_.stop();
  }
}

void AdsClient::expire() {
  for (const ResourceKind kind : kResourceKinds) {
    std::set<std::string> over;
    for (const auto& [name, end] : topic(kind).ends) {
      if (end <= loop_.now()) over.insert(name);
    }
    if (over.empty()) continue;
    for (const std::string& name : over) {
      topic(kind).ends.erase(name);
      LOG(info, "the time of ", word_of(kind), " ", name, " is over");
    }
    if (const Result<void> gone = configuration_.expire(kind, over); !gone.ok()) {
      LOG(warning, "what expired stays in use: ", gone.error().message());
    }
  }
  look_at_ends();
  refresh();
  changed_();
}

void AdsClient::refuse(ResourceKind kind, const std::string& version, std::string sentence,
                       const std::string& fingerprint) {
  Topic& topic = this->topic(kind);
  if (topic.refused != fingerprint) {
    LOG(warning, "refused ", word_of(kind), " version ", version, ": ", sentence);
    topic.refused = fingerprint;
    topic.sentence = std::move(sentence);
    topic.hold = options_.refuse_again;
    topic.held_answer.reset();
    return request(kind, topic.sentence);
  }
  if (topic.held_answer && topic.held_answer->running()) return;  // It will carry the newest nonce.
  topic.held_answer = std::make_unique<CallbackTimer>(
      loop_, [this, kind] { request(kind, this->topic(kind).sentence); });
  topic.held_answer->start(topic.hold);
  topic.hold = std::min(2 * topic.hold, options_.reconnect_most);
}

void AdsClient::on_end(std::string_view why) {
  last_end_ = why;
  connected_ = false;
  open_now_ = false;
  for (Topic& topic : topics_) topic.held_answer.reset();
  if (hosts_ != nullptr) hosts_->ended(why);
  // A server that has nothing to say is no failure.
  if (loop_.now() - opened_ >= options_.reconnect_most) backoff_.reset();
  const Duration delay = backoff_.next(random_);
  LOG(warning, "the call to the control plane ended: ", why, "; trying again in ", to_ms(delay),
      " ms");
  reconnect_.start(delay);
}

bool AdsClient::has_lists() const {
  const Bootstrap& bootstrap = configuration_.bootstrap();
  const Draft& draft = configuration_.draft();
  return (!bootstrap.cds || !draft.version(ResourceKind::kCluster).empty()) &&
         (!bootstrap.lds || !draft.version(ResourceKind::kListener).empty());
}

bool AdsClient::complete() const { return has_lists() && configuration_.warming().empty(); }

bool AdsClient::only_errors_are_missing() const {
  if (!has_lists()) return false;
  const Draft& draft = configuration_.draft();
  bool missing = false;
  for (const ResourceKind kind :
       {ResourceKind::kSecret, ResourceKind::kEndpoints, ResourceKind::kRoutes}) {
    for (const std::string& name : draft.wanted(kind)) {
      const bool held = kind == ResourceKind::kSecret ? draft.secret(name) != nullptr
                                                      : draft.of(kind).contains(name);
      if (held) continue;
      if (!topic(kind).errors.contains(name)) return false;
      missing = true;
    }
  }
  return missing;
}

bool AdsClient::check_complete() {
  if (!settled_ && only_errors_are_missing()) {
    LOG(warning, "starting without what the control plane has only errors for");
    settled_ = true;
    first_fetch_.stop();
  }
  if (was_complete_ || !complete()) return false;
  was_complete_ = settled_ = true;
  first_fetch_.stop();
  return true;
}

}  // namespace glia
