#include "proxy/xds/ads.h"

#include <algorithm>
#include <optional>

#include "proxy/base/log.h"
#include "proxy/xds/push.h"
#include "proxy/xds/wire.h"

namespace glia {

namespace {

constexpr int kInvalidArgument = 3;         // google.rpc.Code
constexpr std::size_t kSentenceMax = 4096;  // bytes of a NACK's message

// Tells one push from another; not a secret.
std::string fingerprint_of(const PushedResources& push) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const std::string& resource : push.resources) {
    for (const char c : resource) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash = (hash ^ 0xFF) * 0x100000001b3;
  }
  return cat(push.version, " ", hash);
}

}  // namespace

AdsClient::AdsClient(EventLoop& loop, Configuration& configuration, OpenAds open, uint64_t seed,
                     const AdsOptions& options)
    : loop_(loop),
      configuration_(configuration),
      open_(std::move(open)),
      random_(seed),
      options_(options),
      reconnect_(loop, [this] { connect(); }),
      first_fetch_(loop, [this] {
        if (!settled_)
          LOG(warning, "the control plane has not sent everything in time, starting without it");
        settled_ = true;
      }) {}

void AdsClient::start() {
  first_fetch_.start(options_.initial_fetch);
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
  call_ = open_(*this);
  for (const ResourceKind kind : kResourceKinds) subscribe(kind);
}

void AdsClient::refresh() {
  for (const ResourceKind kind : kResourceKinds) subscribe(kind);
  check_settled();
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
  // Never naming anything would mean "everything", so nothing is asked before something is wanted.
  if (names == topic.names || (names.empty() && !topic.asked)) return;
  topic.names = std::move(names);
  // A held refusal is answered by its own timer, with the new names.
  if (!topic.held_answer || !topic.held_answer->running()) request(kind, topic.sentence);
}

void AdsClient::request(ResourceKind kind, std::string_view refusal) {
  Topic& topic = this->topic(kind);
  Message message(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryRequest"));
  if (!topic.version.empty()) message.add_text("version_info", topic.version);
  message.add_text("type_url", type_url_of(kind));
  for (const std::string& name : topic.names) message.add_text("resource_names", name);
  if (!topic.nonce.empty()) message.add_text("response_nonce", topic.nonce);
  if (!refusal.empty() && !topic.nonce.empty()) {
    Message& status = message.add_message("error_detail");
    status.add_bits("code", kInvalidArgument);
    status.add_text("message", std::string(refusal.substr(0, kSentenceMax)));
  }
  topic.asked = true;
  std::string bytes = encode_wire(message);
  if (!node_sent_ && !configuration_.bootstrap().node_bytes.empty()) {
    // Field 1 of DiscoveryRequest is a Node; its bytes are kept ready.
    const auto* schema = MessageSchema::find("envoy.service.discovery.v3.DiscoveryRequest");
    Message with_node(*schema);
    const auto* node = MessageSchema::find("envoy.config.core.v3.Node");
    if (Result<Message> decoded = decode_wire(*node, configuration_.bootstrap().node_bytes);
        decoded.ok()) {
      with_node.add_message("node") = *std::move(decoded);
      bytes += encode_wire(with_node);
    }
  }
  node_sent_ = true;
  call_->send(std::move(bytes));
}

void AdsClient::on_message(std::string_view bytes) {
  connected_ = true;
  const Result<PushedResources> push = decode_push(bytes);
  if (!push.ok()) {
    LOG(warning,
        "the control plane sent a push that is no DiscoveryResponse: ", push.error().message());
    return;
  }
  const auto kind = kind_of(push->type_url);
  if (!kind || !topic(*kind).asked) {
    LOG(warning, "the control plane sent resources nobody asked for: ", push->type_url);
    return;
  }
  Topic& topic = this->topic(*kind);
  topic.nonce = push->nonce;
  const std::string fingerprint = fingerprint_of(*push);
  // The same again: not worth reading, the sentence is the same.
  if (!topic.refused.empty() && fingerprint == topic.refused) {
    return refuse(*kind, push->version, topic.sentence, fingerprint);
  }
  if (!push->trouble.empty()) return refuse(*kind, push->version, push->trouble, fingerprint);
  const std::vector<std::string_view> resources(push->resources.begin(), push->resources.end());
  const Result<void> pushed = configuration_.push(*kind, push->version, resources);
  if (!pushed.ok()) return refuse(*kind, push->version, pushed.error().message(), fingerprint);
  accept(*kind, push->version);
}

void AdsClient::accept(ResourceKind kind, const std::string& version) {
  Topic& topic = this->topic(kind);
  failures_ = 0;
  topic.version = version;
  topic.refused.clear();
  topic.sentence.clear();
  topic.hold = Duration::zero();
  topic.held_answer.reset();
  if (!wildcard(kind)) topic.names = configuration_.draft().wanted(kind);
  request(kind);
  for (const ResourceKind other : kResourceKinds) {
    if (other != kind) subscribe(other);
  }
  check_settled();
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
  Duration delay = options_.reconnect_least;
  for (int i = 0; i < failures_ && delay < options_.reconnect_most; ++i) delay *= 2;
  delay = std::min(delay, options_.reconnect_most);
  ++failures_;
  // Half to whole, so that a fleet does not come back in step.
  const auto jittered = Duration(
      static_cast<int64_t>(static_cast<double>(delay.count()) * (0.5 + 0.5 * random_.unit())));
  LOG(warning, "the call to the control plane ended: ", why, "; trying again in ", to_ms(jittered),
      " ms");
  reconnect_.start(jittered);
}

bool AdsClient::complete() const {
  const Bootstrap& bootstrap = configuration_.bootstrap();
  const Draft& draft = configuration_.draft();
  if (bootstrap.cds && draft.version(ResourceKind::kCluster).empty()) return false;
  if (bootstrap.lds && draft.version(ResourceKind::kListener).empty()) return false;
  return configuration_.warming().empty();
}

void AdsClient::check_settled() {
  if (settled_ || !complete()) return;
  settled_ = true;
  first_fetch_.stop();
}

}  // namespace glia
