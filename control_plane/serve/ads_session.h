// AdsSession: one proxy's conversation in xDS, state of the world or delta, as a state machine.
//
// Requests go in, pushes come out when the transport has room; no thread, no clock, no gRPC. It
// always answers with the newest target, so a slow reader costs nothing and misses only what nobody
// needs any more. The rules are those of the xDS protocol (Envoy, docs "xDS REST and gRPC
// protocol"): one answer a nonce, stale nonces are no answer, a refused version is never repeated by
// itself.
//
// What a request asks for is answered at once. What changes by itself is sent make-before-break, so
// that no proxy is ever told to use what it does not hold: clusters (the new ones beside those that
// the change takes away), their endpoints, listeners, routes, and at last the clusters again
// without what is not needed any more. A cluster that loses its last endpoint counts as taken away.
// Each step waits for the proxy's word on the one before, at most kAnswerWait. When a proxy refuses
// clusters or endpoints, the rest of that change stays here. What is not needed any more stays for
// kDrainWait after the proxy has moved on, because a request that began before may still be on its
// way. A delta stream that begins with what the proxy holds from an earlier one goes on as if we had
// sent that.
//
// Where resources live for a while only (live_for), the proxy hears of all that it holds each third of that
// time: heartbeats, which carry names without contents and change nothing else here.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/serve/ads_topic.h"
#include "control_plane/serve/trial.h"

namespace glia {

class AdsSession {
 public:
  using Request = AdsTopic::Request;
  using DeltaRequest = AdsTopic::DeltaRequest;
  using Response = envoy::service::discovery::v3::DiscoveryResponse;
  using DeltaResponse = envoy::service::discovery::v3::DeltaDiscoveryResponse;

  // How long later steps of a change wait for the answer to an earlier one.
  static constexpr Duration kAnswerWait = 5s;
  // How long listeners and routes wait until the proxy asks for the endpoints of clusters that it
  // has accepted; a client that never asks for endpoints must still get its routes. And how long a
  // proxy that came back keeps old clusters while it has not asked for listeners and routes.
  static constexpr Duration kSubscribeWait = 2s;

  // How long after the last word about listeners and routes their old clusters stay.
  static constexpr Duration kDrainWait = 2s;

  AdsSession(AdsVariant variant, std::shared_ptr<const NodeResources> target);

  // From now on resources come with that time to live, of whole seconds.
  void live_for(Duration ttl) { ttl_ = ttl; }
  // Of a time to live: so many heartbeats go into it, so that one or two may be late.
  static constexpr int kHeartbeats = 3;

  // What the proxy shall have from now on.
  void set_target(std::shared_ptr<const NodeResources> target, TimePoint now);

  // What a request turned out to be, for logs.
  enum class Heard : uint8_t { kAsked, kAccepted, kRefused, kStale, kUnknownType };
  // An error ends the stream. The request is of the session's variant.
  Result<Heard> on_request(const Request& request, TimePoint now);
  Result<Heard> on_request(const DeltaRequest& request, TimePoint now);

  // The next push to send, if there is one to send now. The transport calls this when it can
  // write: after on_request(), set_target(), a finished write, and at wake_at().
  std::optional<AdsPush> next(TimePoint now);
  // When waiting ends by itself; nothing if it does not.
  std::optional<TimePoint> wake_at(TimePoint now) const;

  struct KindStatus {
    XdsType type;
    std::string sent_version;  // Ends in "+" while clusters are kept for the old routes.
    std::string accepted_version;
    std::string refusal;        // The proxy's sentence about sent_version; "" if it accepted.
    std::size_t resources = 0;  // Of sent_version.
  };
  // The kinds that the proxy has asked for, in the order of kXdsTypes.
  std::vector<KindStatus> status() const;
  const AdsTopic& topic(XdsType type) const { return topics_[static_cast<std::size_t>(type)]; }
  const NodeResources& target() const { return *target_; }

  // What the proxy says of the target as a whole: that it runs it, or that it refuses a part of it.
  Trial::Word word(TimePoint now) const;
  // Does it run something of all that it has asked for, and refuse nothing?
  bool can_judge() const;
  // A change that the proxy refuses is taken back from everybody: it is told again what it runs, so
  // that it knows that, too. A proxy may answer late when it is sent again what it has refused.
  void remind();

 private:
  using Answer = AdsTopic::Answer;
  struct Desired {
    std::string version;
    ResourceMap resources;
  };

  AdsTopic& own(XdsType type) { return topics_[static_cast<std::size_t>(type)]; }
  template <class AnyRequest>
  Heard hear_answer(AdsTopic& topic, const AnyRequest& request, TimePoint now);
  Desired desired(XdsType type, TimePoint now) const;
  // Adds what the proxy holds beyond that and may still use; did that change anything?
  bool keep_held(const AdsTopic& topic, ResourceMap& resources) const;
  bool loses_last_endpoint(const std::string& cluster) const;
  bool settled(XdsType type, TimePoint now) const;
  // Until then what listeners and routes used before may be in use; nothing if that is not over yet.
  std::optional<TimePoint> drained_at(TimePoint now) const;
  bool changed(const AdsTopic& topic, const Desired& desired) const;
  bool endpoints_covered() const;
  bool holds_back(XdsType type, TimePoint now) const;
  void warm_again(const ResourceMap& clusters);
  std::optional<TimePoint> beat_at(const AdsTopic& topic) const;
  std::optional<AdsPush> heartbeat(TimePoint now);
  AdsPush answer(XdsType type, TimePoint now);
  AdsPush send(XdsType type, Desired desired, TimePoint now);

  const AdsVariant variant_;
  std::array<AdsTopic, kXdsTypes.size()> topics_;
  std::shared_ptr<const NodeResources> target_;
  std::optional<Duration> ttl_;
  TimePoint resumed_until_;  // Until then listeners and routes of an earlier stream may be in use.
  uint64_t last_nonce_ = 0;
};

}  // namespace glia
