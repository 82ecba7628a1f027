// AdsClient: asks a control plane for resources, state of the world, over one ADS call, and answers
// for what came (envoyproxy.io "xDS REST and gRPC protocol").
//
// One stream carries a conversation for each type. Our first request of a type, and each one on a
// fresh stream, names the last good version; each response is answered with its nonce: ACK with the
// new version, or NACK with the last good version and the sentence that says why. Clusters and
// listeners are asked for as a whole, the others by the names that clusters and listeners use.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "proxy/base/random.h"
#include "proxy/net/loop.h"
#include "proxy/xds/configuration.h"

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

  void start();
  bool connected() const { return connected_; }
  // All that is wanted has arrived, or the time for the first fetch is over; then it stays so.
  bool settled() const { return settled_; }
  // Why the last call ended; "" if none did.
  const std::string& last_end() const { return last_end_; }
  // Our own secrets or the like changed what is wanted.
  void refresh();

 private:
  // The conversation about one type.
  struct Topic {
    bool asked = false;                // On this stream.
    std::set<std::string> names;       // Last asked for.
    std::string version;               // Last good one.
    std::string nonce;                 // Of the last response on this stream.
    std::string refused;               // Hash and version of the last refused response.
    std::string sentence;              // Why.
    Duration hold = Duration::zero();  // Before the next answer to `refused`.
    std::unique_ptr<CallbackTimer> held_answer;
  };

  void on_message(std::string_view bytes) override;
  void on_end(std::string_view why) override;
  void connect();
  void subscribe(ResourceKind kind);
  void request(ResourceKind kind, std::string_view refusal = "");
  void accept(ResourceKind kind, const std::string& version);
  void refuse(ResourceKind kind, const std::string& version, std::string sentence,
              const std::string& fingerprint);
  bool wildcard(ResourceKind kind) const;
  bool complete() const;
  void check_settled();
  Topic& topic(ResourceKind kind) { return topics_[static_cast<std::size_t>(kind)]; }

  EventLoop& loop_;
  Configuration& configuration_;
  OpenAds open_;
  Random random_;
  AdsOptions options_;
  std::array<Topic, 5> topics_;
  std::unique_ptr<AdsCall> call_;
  CallbackTimer reconnect_;
  CallbackTimer first_fetch_;
  std::string last_end_;
  int failures_ = 0;
  bool connected_ = false;  // The stream has brought a message.
  bool open_now_ = false;
  bool node_sent_ = false;
  bool settled_ = false;
};

}  // namespace glia
