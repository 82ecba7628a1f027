// SmallServer: a service of our own on one socket of the main loop, for few clients: the admin pages, probes
// of an application, the webhook of the control plane.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "proxy/http/server.h"

namespace glia {

// One that is written at once.
Response text_response(const ServerStream& stream, int status, std::string_view content_type,
                       std::string_view text);

class SmallServer final : private AcceptHandler, private ServerConnection::Owner {
 public:
  // People, one Prometheus, a kubelet or some API servers; more would be somebody who uses up our
  // descriptors.
  static constexpr std::size_t kMostConnections = 64;

  // What becomes of one connection too many: it is closed at once, or the oldest is, for whoever holds
  // many open must not keep out who really asks.
  enum class WhenFull : uint8_t { kRefuse, kEndOldest };
  struct Options {
    Duration idle_time;  // Of a connection without requests.
    WhenFull when_full = WhenFull::kRefuse;
    // Makes TLS of what was accepted; empty: plain text.
    std::function<std::unique_ptr<Stream>(std::unique_ptr<Stream>)> wrap;
  };

  // All outlive the server. It is destroyed from outside of the loop's callbacks.
  SmallServer(EventLoop& loop, Network& network, Service& service, Options options);
  SmallServer(const SmallServer&) = delete;
  // May be called for more than one address.
  Result<void> listen(const Address& address);
  // The first one, with its real port; after listen().
  const Address& address() const { return acceptors_.front()->address(); }
  const HttpServerStats& stats() const { return stats_; }

 private:
  void on_accept(std::unique_ptr<Stream> stream) override;
  void on_finished(ServerConnection& connection) override;

  EventLoop& loop_;
  Network& network_;
  Service& service_;
  const Options options_;
  ServerOptions http_;
  HttpServerStats stats_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::vector<std::unique_ptr<ServerConnection>> connections_;  // The oldest first.
};

}  // namespace glia
