// Server: serves HTTP/1.1 or HTTP/2 on one accepted stream, one task a request.
//
// The protocol is told by ALPN, by the configured codec, or by the first bytes (the HTTP/2
// preface).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http/message.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

enum class Codec : uint8_t { kAuto, kHttp1, kHttp2 };

// Every limit is on by default; docs/limits.md says what reaching each of them does.
struct HttpLimits {
  uint32_t header_bytes = 60 * 1024;    // Decoded names and values of one message, 60 KiB as Envoy.
  uint32_t header_fields = 100;         // Fields of one message.
  uint32_t streams = 100;               // Concurrent HTTP/2 streams a connection.
  uint32_t stream_window = 256 * 1024;  // bytes, HTTP/2 receive window of a stream
  uint32_t connection_window = 1024 * 1024;  // bytes, of a connection; above stream_window
  uint32_t write_buffer = 256 * 1024;        // bytes queued for one stream before its pump sleeps
  // HTTP/2 peers that flood, as Envoy counts them.
  uint32_t outbound_frames = 10000;         // That wait to be written, of all kinds.
  uint32_t outbound_control_frames = 1000;  // Answers to PING and SETTINGS among them.
  uint32_t empty_frames = 1;  // In a row: DATA and heads without a byte that end nothing.
  uint32_t priority_frames_per_stream = 100;
  uint32_t window_updates_per_data_frame = 10;  // That we have sent.
  Duration header_time = 10s;            // From the first byte of a request head to its last.
  Duration idle_time = 3600s;            // A connection without streams; kForever: no limit.
  uint32_t requests_per_connection = 0;  // 0: no limit.
  Duration connection_age = kForever;    // An older connection is drained; kForever: no limit.
  // HTTP/2: a peer that was silent for keepalive_interval is sent a PING, and given up when
  // it stays silent for keepalive_timeout more. Off unless set: an idle connection costs nothing.
  Duration keepalive_interval = kForever;
  Duration keepalive_timeout = 10s;
  // HTTP/2: extended CONNECT (RFC 8441) is offered to clients, and asked of upstreams.
  bool allow_connect = false;
};

// Who has just connected has a first request on its way, and nobody sends that again: a drain waits
// this long for it.
inline constexpr Duration kFirstRequestWait = 1s;

// How a downstream message ended.
struct Sent {
  uint64_t bytes = 0;     // Body bytes handed to the codec.
  bool complete = false;  // false: the upstream broke off or the downstream went away.
  std::optional<Error> error;
};

// One request on a connection, as the service sees it. Lives until its task is destroyed.
class ServerStream {
 public:
  virtual ~ServerStream() = default;
  virtual Request& request() = 0;
  virtual Protocol protocol() const = 0;
  virtual const ConnectionInfo& connection() const = 0;
  // Was it given to the service?
  virtual bool started() const = 0;
  virtual const ArenaRef& arena() const = 0;
  virtual EventLoop& loop() = 0;
  virtual TimePoint began() const = 0;          // When the first byte of the head arrived.
  virtual uint64_t request_bytes() const = 0;   // Body bytes received so far.
  virtual uint64_t response_bytes() const = 0;  // Body bytes sent so far.
  // Sends the response and carries its body. May be called once. If the response's body breaks off
  // after the head was sent, the stream is reset (HTTP/2) or the connection closed (HTTP/1).
  virtual Task<Sent> respond(Response response) = 0;
  // Breaks the stream off at once (a timeout): RST_STREAM, or the connection is closed. Its task is
  // destroyed by the reaper at the end of the turn, as when the client resets the stream. May be
  // called from anywhere on the loop's thread, also from the task itself.
  virtual void abort() = 0;
  // The connection must not serve another request after this one (HTTP/1 "connection: close").
  virtual void close_after() = 0;
};

// Why a codec refuses a request by itself: it broke a rule or a limit.
struct Refusal {
  int status = 0;           // 0: nothing was refused.
  std::string_view reason;  // A sentence that lives for ever.
};

// What serves requests. A request's task is destroyed, wherever it sleeps, when the client resets
// the stream or the connection dies.
class Service {
 public:
  virtual ~Service() = default;
  virtual Task<void> serve(ServerStream& stream) = 0;
  // The answer to a request that the codec refuses, and the chance to note it. `stream` was perhaps
  // never started: then its request holds what was read of it. The body is all there at once. Here:
  // the sentence, and nothing about who says it.
  virtual Response refuse(const Refusal& refusal, ServerStream& stream);
};

// Counts that the owner of the connections shows; plain numbers of one worker.
struct HttpServerStats {
  uint64_t connections = 0, connections_active = 0;
  uint64_t http1_connections = 0, http2_connections = 0;
  uint64_t requests = 0, requests_active = 0;
  uint64_t protocol_errors = 0, resets_received = 0, resets_sent = 0;
  uint64_t bytes_received = 0, bytes_sent = 0;
};

class ServerConnection : public Reapable {
 public:
  // Told once, from the top of the loop, when the connection is over; the owner reaps it.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_finished(ServerConnection& connection) = 0;
  };
  // No new requests: GOAWAY, or "connection: close" on the next response. Ends when the last
  // request has ended.
  virtual void drain() = 0;
  virtual std::size_t active_requests() const = 0;
};

// What connections take besides plain HTTP/1.1 and HTTP/2 requests: nothing, unless it is
// configured.
struct Http1Options {
  bool accept_http_10 = false;
  std::string default_host;  // Of an HTTP/1.0 request without Host; "": such a one is refused.
  // Protocols that may be switched to, lower case: "websocket"; HTTP/2 also needs allow_connect.
  std::vector<std::string> upgrades;
  bool connect = false;  // CONNECT reaches the service, which says for which routes it is meant.
};

struct ServerOptions {
  Codec codec = Codec::kAuto;
  HttpLimits limits;
  Http1Options http1;
};

// Serves `stream`. `service`, `owner`, `stats` and `options` outlive the connection.
std::unique_ptr<ServerConnection> serve_http(EventLoop& loop, std::unique_ptr<Stream> stream,
                                             const ServerOptions& options, Service& service,
                                             ServerConnection::Owner& owner,
                                             HttpServerStats& stats);

}  // namespace glia
