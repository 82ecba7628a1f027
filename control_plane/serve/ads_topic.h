// AdsTopic: the conversation with one proxy about one type of resource: what it asks for, what it
// holds, and what it said about the last push. AdsSession decides what is sent when.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control_plane/serve/node_resources.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "glia/v1/discovery.pb.h"
#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

inline constexpr std::string_view kHostUrl = "type.googleapis.com/glia.v1.Host";

// State of the world says all names, and all resources, each time; delta only what changed.
enum class AdsVariant : uint8_t { kStateOfTheWorld, kDelta };

// One push, before it takes the form of its stream's variant.
struct AdsPush {
  XdsType type;
  std::string version, nonce;
  std::vector<std::pair<std::string, PackedRef>> resources;
  std::vector<std::string> removed;  // Only in delta.
  // How long the proxy may use it without hearing of it again; nothing: for ever.
  std::optional<Duration> ttl = {};
  // Says only that what the proxy has lives on; without the resources themselves if it is `bare`.
  bool heartbeat = false, bare = false;
  // Instead of all that: what is said of hosts that were asked for by name.
  std::vector<std::pair<std::string, v1::Host>> hosts = {};
};

struct AdsTopic {
  using Request = envoy::service::discovery::v3::DiscoveryRequest;
  using DeltaRequest = envoy::service::discovery::v3::DeltaDiscoveryRequest;
  using Names = std::set<std::string, std::less<>>;

  static constexpr std::size_t kMostNames = 20'000;     // Of one type on one stream.
  static constexpr std::size_t kLongestName = 1024;     // bytes
  static constexpr std::size_t kLongestRefusal = 2048;  // bytes of a proxy's sentence that are kept

  enum class Answer : uint8_t { kNone, kWaiting, kAccepted, kRefused };

  XdsType type = XdsType::kCluster;
  AdsVariant variant = AdsVariant::kStateOfTheWorld;
  bool asked = false;
  bool named = false;  // Once a name was sent, an empty list asks for nothing.
  bool wildcard = false;
  Names names;
  bool due = false;    // A request waits for its answer, whatever the content.
  bool whole = false;  // `due` is for all that is wanted, not only for what is in `again`.
  Names again;         // Delta: the next push speaks of these although they did not change.
  Names warm;          // Send these again although they are the same, if they are wanted.
  Answer answer = Answer::kNone;
  std::string nonce;  // Of the last push.
  std::string sent_version, accepted_version, refusal;
  // What the proxy holds once it accepts, and what it holds for certain.
  ResourceMap sent, accepted;
  std::size_t sent_count = 0;  // Resources that the last push left the proxy with.
  TimePoint deadline;          // kWaiting: how long others wait.
  TimePoint accepted_at;
  TimePoint heard_at;  // When the proxy was last sent word of all that it holds.

  // Only clusters and listeners: a first request without names asks for everything, and in state of
  // the world what a response does not mention is deleted.
  bool full_state() const { return type == XdsType::kCluster || type == XdsType::kListener; }
  bool delta() const { return variant == AdsVariant::kDelta; }
  // Must the next push of this type wait? Delta: until there is an answer, because what is sent
  // next depends on it.
  bool busy(TimePoint now) const {
    return answer == Answer::kWaiting && (delta() || now < deadline);
  }

  // What the proxy says. An error ends the stream.
  Result<void> subscribe(const Request& request);
  Result<void> subscribe(const DeltaRequest& request, const NodeResources::Kind& target,
                         TimePoint now);
  void accept(TimePoint now);
  void refuse(std::string_view sentence);

  // What `target` has of what the proxy asks for.
  ResourceMap wanted(const NodeResources::Kind& target) const;
  // Would a proxy that has `held` learn nothing from `wanted`?
  bool nothing_new(const ResourceMap& wanted, const ResourceMap& held) const;
  // Is there something to send again?
  bool warms(const ResourceMap& desired) const;
  // What the proxy certainly has if it neither accepts nor refuses anything more.
  const ResourceMap& base() const { return answer == Answer::kRefused ? accepted : sent; }
  // base() with `again` as it is in `desired`: the answer to a subscription, and nothing more.
  ResourceMap only_again(const ResourceMap& desired) const;
  // Fills in what brings the proxy to `desired`, and notes that it was sent.
  void send(ResourceMap desired, AdsPush& push);
  // Fills in all that the proxy holds for certain.
  void beat(AdsPush& push) const;

 private:
  void resume(const DeltaRequest& request, const NodeResources::Kind& target, TimePoint now);
  // Of what it holds, what it does not ask for any more: asking again is answered again.
  void forget_unasked();
  void forget(std::string_view name);
  void want(const std::string& name) const;

  // The last answer of wanted(), and to what; the next one is made of it by what has changed.
  mutable ResourceMap wanted_of_, wanted_;
  mutable bool wanted_made_ = false;
};

// Forms of a push.
envoy::service::discovery::v3::DiscoveryResponse to_response(const AdsPush& push);
envoy::service::discovery::v3::DeltaDiscoveryResponse to_delta_response(const AdsPush& push);

}  // namespace glia
