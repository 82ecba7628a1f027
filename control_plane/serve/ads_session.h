// AdsSession: one proxy's conversation in the state-of-the-world variant of xDS, as a state
// machine.
//
// Requests go in, responses come out when the transport has room; no thread, no clock, no gRPC. It
// always answers with the newest target, so a slow reader costs nothing and misses only what nobody
// needs any more. The rules are those of the xDS protocol (Envoy, docs "xDS REST and gRPC
// protocol"): one answer a nonce, stale nonces are ignored, a refused version is never repeated by
// itself.
//
// What a request asks for is answered at once. What changes by itself is sent make-before-break, so
// that no proxy is ever told to use what it does not hold: clusters (the new ones beside those that
// the change takes away), their endpoints, listeners, routes, and at last the clusters again
// without what is not needed any more. A cluster that loses its last endpoint counts as taken away. Each step waits for the proxy's word on the one before, at
// most kAnswerWait. When a proxy refuses clusters or endpoints, the rest of that change stays here.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control_plane/serve/node_resources.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

class AdsSession {
 public:
  using Request = envoy::service::discovery::v3::DiscoveryRequest;
  using Response = envoy::service::discovery::v3::DiscoveryResponse;

  // How long later steps of a change wait for the answer to an earlier one.
  static constexpr Duration kAnswerWait = 5s;
  // How long listeners and routes wait until the proxy asks for the endpoints of clusters that it
  // has accepted; a client that never asks for endpoints must still get its routes.
  static constexpr Duration kSubscribeWait = 2s;
  static constexpr int kMostNames = 20'000;             // resource names of one request
  static constexpr std::size_t kLongestRefusal = 2048;  // bytes of a proxy's sentence that are kept

  explicit AdsSession(std::shared_ptr<const NodeResources> target) : target_(std::move(target)) {}

  // What the proxy shall have from now on.
  void set_target(std::shared_ptr<const NodeResources> target);

  // What a request turned out to be, for logs.
  enum class Heard : uint8_t { kAsked, kAccepted, kRefused, kStale, kUnknownType };
  // An error ends the stream.
  Result<Heard> on_request(const Request& request, TimePoint now);

  // The next response to send, if there is one to send now. The transport calls this when it can
  // write: after on_request(), set_target(), a finished write, and at wake_at().
  std::optional<Response> next(TimePoint now);
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

 private:
  enum class Answer : uint8_t { kNone, kWaiting, kAccepted, kRefused };
  struct Kind {
    bool asked = false;
    bool named = false;  // Once a name was sent, an empty list asks for nothing.
    bool wildcard = false;
    std::set<std::string, std::less<>> names;
    bool due = false;      // A request waits for its answer, whatever the content.
    bool refresh = false;  // Send again although the content is the same.
    Answer answer = Answer::kNone;
    std::string nonce;  // Of the last response.
    std::string sent_version, accepted_version, refusal;
    // What the proxy holds once it accepts, and what it holds for certain.
    ResourceMap sent, accepted;
    std::size_t sent_count = 0;  // Resources of the last response.
    TimePoint deadline;          // kWaiting: how long others wait.
    TimePoint accepted_at;
  };
  struct Desired {
    std::string version;
    ResourceMap resources;
  };

  Kind& kind(XdsType type) { return kinds_[static_cast<std::size_t>(type)]; }
  const Kind& kind(XdsType type) const { return kinds_[static_cast<std::size_t>(type)]; }
  void hear_answer(Kind& kind, const Request& request, TimePoint now);
  void subscribe(XdsType type, const Request& request);
  ResourceMap wanted(XdsType type) const;
  Desired desired(XdsType type) const;
  // Puts back what the proxy holds of clusters that lose their last endpoint; did it change any?
  bool keep_emptied(XdsType type, ResourceMap& resources) const;
  bool loses_last_endpoint(const std::string& cluster) const;
  bool settled(XdsType type) const;
  bool changed(XdsType type, const Desired& desired) const;
  bool endpoints_covered() const;
  bool holds_back(XdsType type, TimePoint now) const;
  Response send(XdsType type, Desired desired, TimePoint now);

  std::array<Kind, kXdsTypes.size()> kinds_;
  std::shared_ptr<const NodeResources> target_;
  uint64_t last_nonce_ = 0;
};

}  // namespace glia
