// AdsClient: asks a control plane for resources over one ADS call, and answers for what came
// (envoyproxy.io "xDS REST and gRPC protocol"). The bootstrap chooses the variant.
//
// One stream carries a conversation for each type. Each response is answered with its nonce: ACK, or
// NACK with the sentence that says why. Clusters and listeners are asked for as a whole, the others
// by the names that clusters and listeners use. In state of the world every request says all names
// and the last good version; in delta it says which names came and went, and a fresh stream begins
// with the version of everything that is held, so that only what changed comes again.
//
// Of a resource that the control plane cannot say anything of (resource_errors), what is held stays, and a
// start does not wait for it.
//
// A resource may come with a time to live (ttl): it is dropped when that has passed without a push
// or a heartbeat that speaks of it.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/net/loop.h"
#include "proxy/xds/backoff.h"
#include "proxy/xds/configuration.h"
#include "proxy/xds/host_demand.h"
#include "proxy/xds/push.h"

namespace glia {

// One bidirectional gRPC call that carries whole messages.
class AdsCall {
 public:
  class Watcher {
   public:
    virtual ~Watcher() = default;
    virtual void on_message(std::string_view bytes) = 0;
    // The call is over or never began; told once. Not the place to destroy the call.
    virtual void on_end(std::string_view why) = 0;
  };
  // Destroying a call resets it.
  virtual ~AdsCall() = default;
  virtual void send(std::string message) = 0;
  // Bytes that wait for a server that does not read, as far as known.
  virtual std::size_t unsent() const { return 0; }
};
// Begins a call; may be sent to at once. Never calls the watcher before it returns.
using OpenAds = std::function<std::unique_ptr<AdsCall>(AdsCall::Watcher&)>;

struct AdsOptions {
  Duration initial_fetch = 15s;      // How long settled() waits for first answers.
  Duration reconnect_least = 500ms;  // Doubles with each failure, plus jitter,
  Duration reconnect_most = 30s;     // up to this.
  // How long the answer to a push is held back that was refused before, doubling up to
  // reconnect_most: a server that sends it again at once must not make us spin.
  Duration refuse_again = 1s;
};

class AdsClient final : private AdsCall::Watcher {
 public:
  // Does nothing until start(). `configuration` and `loop` outlive it.
  AdsClient(EventLoop& loop, Configuration& configuration, OpenAds open, uint64_t seed,
            const AdsOptions& options = {});

  // Before start(): begins with what an earlier run has kept, whole or not at all. Nothing of it is
  // dropped before the control plane has said something else of it.
  Result<void> restore(const std::vector<PushedResources>& kept);
  void start();
  bool connected() const { return connected_; }
  // All that is wanted has arrived, or the time for the first fetch is over; then it stays so.
  bool settled() const { return settled_; }
  // All that is wanted has arrived, once at least.
  bool was_complete() const { return was_complete_; }
  // Why the last call ended; "" if none did.
  const std::string& last_end() const { return last_end_; }
  // Is all that is held from restore()? False once the control plane has sent or confirmed any of it.
  bool unconfirmed() const { return unconfirmed_; }
  // Told whenever what is held may have changed by what the control plane said, or by time.
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }
  // What is left of a resource that came with a time to live; nothing: it lives for ever.
  std::optional<Duration> time_left(ResourceKind kind, const std::string& name) const;
  // Our own secrets or the like changed what is wanted.
  void refresh();
  // Can hosts be asked for by name? Then, before start(), whom to tell what was refused; `want_host` is
  // answered so or by a drawing.
  bool can_discover() const { return delta(); }
  void discover(HostDemand::Refused refused);
  void want_host(const std::string& host, Duration limit) { hosts_->want(host, limit); }
  // See HostDemand::forget_idle(); after discover().
  void forget_idle_hosts(std::function<void()> ask) { hosts_->forget_idle(std::move(ask)); }
  void hosts_used(const std::set<std::string>& clusters) { hosts_->used(clusters); }
  uint64_t hosts_given_back() const { return hosts_ == nullptr ? 0 : hosts_->given_back(); }

 private:
  // The conversation about one type.
  struct Topic {
    bool asked = false;                // On this stream.
    std::set<std::string> names;       // Asked for.
    std::string version;               // Last good one.
    std::string nonce;                 // Of the last response on this stream.
    std::string refused;               // Hash and version of the last refused response.
    std::string sentence;              // Why.
    bool machine_lacks = false;        // And that may pass.
    Duration hold = Duration::zero();  // Before the next answer to `refused`.
    std::unique_ptr<CallbackTimer> held_answer;
    std::map<std::string, TimePoint> ends;      // Of resources that came with a time to live.
    std::map<std::string, std::string> errors;  // Why the control plane has no word on a resource.
  };

  void on_message(std::string_view bytes) override;
  void on_end(std::string_view why) override;
  void connect();
  void subscribe(ResourceKind kind);
  // With `refusal`: a NACK. With the nonce of the last response it is the answer to it.
  void request(ResourceKind kind, std::string_view refusal = "");
  void request_delta(ResourceKind kind, std::string_view refusal);
  // Delta: asks for what `wanted` has more than topic.names, and not for what it has less.
  void change_names(ResourceKind kind, std::set<std::string> wanted);
  void add_held_versions(ResourceKind kind, Message& message) const;
  void send(Message message);
  Result<void> apply(ResourceKind kind, const PushedResources& push);
  void accept(ResourceKind kind, const PushedResources& push);
  void refuse(ResourceKind kind, const std::string& version, std::string sentence,
              const std::string& fingerprint);
  void note_ends(ResourceKind kind, const PushedResources& push);
  void note_errors(ResourceKind kind, const PushedResources& push);
  void look_at_ends();
  void expire();
  bool wildcard(ResourceKind kind) const;
  bool delta() const { return configuration_.bootstrap().ads_delta; }
  bool complete() const;
  bool has_lists() const;
  // Nothing more is to come: of all that is missing the control plane cannot say what it is.
  bool only_errors_are_missing() const;
  // True: what was missing until now has come.
  bool check_complete();
  Topic& topic(ResourceKind kind) { return topics_[static_cast<std::size_t>(kind)]; }
  const Topic& topic(ResourceKind kind) const { return topics_[static_cast<std::size_t>(kind)]; }

  EventLoop& loop_;
  Configuration& configuration_;
  OpenAds open_;
  Random random_;
  AdsOptions options_;
  Backoff backoff_;
  std::array<Topic, 5> topics_;
  std::unique_ptr<HostDemand> hosts_;  // Null: no host is asked for by name.
  std::unique_ptr<AdsCall> call_;
  CallbackTimer reconnect_;
  CallbackTimer first_fetch_;
  CallbackTimer expiry_;  // Of the first resource whose time is over.
  std::function<void()> changed_ = [] {};
  std::string last_end_;
  TimePoint opened_;        // The present stream, or the last one.
  bool connected_ = false;  // The stream has brought a message.
  bool open_now_ = false;
  bool node_sent_ = false;
  bool settled_ = false;
  bool was_complete_ = false;
  bool unconfirmed_ = false;
};

}  // namespace glia
