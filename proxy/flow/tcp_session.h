// TcpSession: one accepted connection that is relayed to an endpoint of a cluster, from accepting it
// to its line in the access log.
//
// The upstream is connected to once it is known who the client is (its TLS handshake, if there is one)
// and the gate let it in; the client is not read before. Nothing has been sent until a connection
// opened, so one that fails is tried on another endpoint.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/task.h"
#include "proxy/flow/flags.h"
#include "proxy/flow/relay.h"
#include "proxy/flow/site.h"
#include "proxy/http/server.h"
#include "proxy/mesh/cluster.h"

namespace glia {

class TcpSession final : public ServerConnection,
                         private Stream::Watcher,
                         private Relay::Owner,
                         private Timer {
 public:
  // `stream` is opening. The site's chain has a TcpProxy. `owner` outlives the session. `upstream`: an
  // open connection to where the client wanted to go, if there is one already; else null.
  TcpSession(Site& site, std::unique_ptr<Stream> stream, ServerConnection::Owner& owner,
             std::unique_ptr<Stream> upstream = nullptr);
  ~TcpSession() override;  // Counts and logs.

  // Nobody can be told to go: a relayed connection lasts until it ends or is cut.
  void drain() override {}
  std::size_t active_requests() const override { return 1; }
  // Asks the gate, now that it is known who the client is, or once more because the gate is another.
  void judge();
  // The connection in a few words, for /exchanges.
  std::string describe() const;

 private:
  class Opening;
  class Ready;

  // Of the client's stream, until the relay has it.
  void on_open() override;
  void on_readable() override {}
  void on_writable() override {}
  void on_broken() override { finish(ResponseFlag::kDownstreamGone, stream_->error().message()); }
  // Of the relay.
  void on_moved(Relay::Side from, std::size_t bytes) override;
  void on_held(Relay::Side from, bool held) override;
  void on_ended() override { finish({}, ""); }
  void on_broken(Relay::Side side) override;
  void fire() override;

  const TcpProxy& config() const { return *state_->chain->tcp; }
  const ConnectionInfo& client() const;
  const std::string& choose_cluster() const;
  Task<void> connect();
  Task<std::unique_ptr<Stream>> try_endpoint(const std::string& cluster);
  void set_timer();
  void finish(std::optional<ResponseFlag> flag, std::string_view why);
  void log() const;

  Site& site_;
  ServerConnection::Owner& owner_;
  const std::shared_ptr<const SiteState> state_;  // Pinned.
  std::unique_ptr<Stream> stream_;                // Until the relay has it.
  std::unique_ptr<Ready> ready_;                  // What the first attempt need not connect.
  const std::string* cluster_ = nullptr;          // In state_; null until one is chosen.
  Hold hold_;                                     // Ends after the relay.
  std::unique_ptr<Relay> relay_;
  std::vector<Address> failed_;  // Endpoints that could not be connected to.
  std::optional<Error> error_;   // Of the last attempt.
  Address endpoint_;             // The last one tried.
  std::string upstream_identity_;
  std::string policy_;
  std::string details_;
  ResponseFlags flags_;
  const TimePoint began_;
  TimePoint moved_;  // When a byte last moved.
  int attempts_ = 0;
  bool open_ = false;
  bool finished_ = false;
  Task<void> connecting_;  // Ends before what it uses.
};

}  // namespace glia
