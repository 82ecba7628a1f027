// Origin: the server behind the proxies that are compared. It answers every request with the same
// body, as cheaply as our library can.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "proxy/http/server.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

// One port of one protocol in clear text. Lives on the loop's thread and ends before the loop.
class Origin final : private AcceptHandler, private Service, private ServerConnection::Owner {
 public:
  // Enough for every stream of a comparison, so that no proxy needs more connections than another.
  static constexpr uint32_t kStreams = 1000;

  // `body` outlives the origin.
  Origin(EventLoop& loop, Network& network, Codec codec, std::string_view body);
  ~Origin() override;

  // On a free port of the loopback address.
  Result<void> listen();
  const Address& address() const { return acceptor_->address(); }
  uint64_t requests() const { return stats_.requests; }
  uint64_t connections() const { return stats_.connections; }

 private:
  void on_accept(std::unique_ptr<Stream> stream) override;
  Task<void> serve(ServerStream& stream) override;
  void on_finished(ServerConnection& connection) override;

  EventLoop& loop_;
  Network& network_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::string_view body_;
  std::unique_ptr<Acceptor> acceptor_;
  std::map<ServerConnection*, std::unique_ptr<ServerConnection>> connections_;
};

}  // namespace glia
