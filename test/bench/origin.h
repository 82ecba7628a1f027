// Origin: the server behind the proxies that are compared. It does what a request's path says, as
// cheaply as our library can:
//
//   /answer/BYTES   an answer of so many bytes
//   /take/BYTES     status 200 if the request's body had so many bytes, else 400
//   /grpc/BYTES     a unary gRPC answer with a message of so many bytes and four trailers
//   /events/COUNT   server-sent events, `events_per_second` of them until COUNT were sent
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/http/server.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "test/bench/pacer.h"

namespace glia {

// One port of one protocol in clear text. Lives on the loop's thread and ends before the loop.
class Origin final : private AcceptHandler, private Service, private ServerConnection::Owner {
 public:
  // Enough for every stream of a comparison, so that no proxy needs more connections than another.
  static constexpr uint32_t kStreams = 1000;
  static constexpr uint64_t kEventsPerSecond = 50;  // Of each stream; streams take turns.

  Origin(EventLoop& loop, Network& network, Codec codec);
  ~Origin() override;

  // On a free port of the loopback address.
  Result<void> listen();
  const Address& address() const { return acceptor_->address(); }
  uint64_t requests() const { return stats_.requests; }

 private:
  class Events;
  void on_accept(std::unique_ptr<Stream> stream) override;
  Task<void> serve(ServerStream& stream) override;
  Task<void> serve_take(ServerStream& stream, uint64_t bytes);
  Task<void> serve_grpc(ServerStream& stream, uint64_t bytes);
  void on_finished(ServerConnection& connection) override;
  // The next event of the next stream.
  void beat();
  Duration between_beats() const;

  EventLoop& loop_;
  Network& network_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::vector<Events*> events_;  // Streams of events that are open.
  std::size_t turn_ = 0;         // Whose event is next.
  TimePoint beat_at_;
  Pacer pacer_;
  std::unique_ptr<Acceptor> acceptor_;
  std::map<ServerConnection*, std::unique_ptr<ServerConnection>> connections_;
};

}  // namespace glia
