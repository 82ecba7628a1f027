// The codecs behind serve_http() and connect_http(): one factory a protocol and a side.
//
// A codec normally gets a stream that has not opened yet. When the protocol had to be found out
// first (ALPN, or the first bytes), somebody else saw the stream open and may have read from it; it
// then tells the codec with take_over(), once, right after making it. From there on the codec is
// the stream's only watcher, so finding out costs nothing afterwards.
#pragma once

#include <memory>
#include <string_view>

#include "proxy/http/client.h"
#include "proxy/http/server.h"

namespace glia {

// How every HTTP/2 connection begins (RFC 9113 section 3.4). No HTTP/1.1 request begins so: PRI is
// reserved for this.
inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class ServerCodec : public ServerConnection {
 public:
  // The stream is open already, and `already_read` (perhaps empty) was read from it.
  virtual void take_over(Slice already_read) = 0;
};

class ClientCodec : public ClientConnection {
 public:
  // The stream is open already. Calls owner.on_connected().
  virtual void take_over() = 0;
};

// A codec counts itself: connections, connections_active and http1_connections or
// http2_connections of `stats`.
std::unique_ptr<ServerCodec> serve_http1(EventLoop& loop, std::unique_ptr<Stream> stream,
                                         const ServerOptions& options, Service& service,
                                         ServerConnection::Owner& owner, HttpServerStats& stats);
std::unique_ptr<ServerCodec> serve_http2(EventLoop& loop, std::unique_ptr<Stream> stream,
                                         const ServerOptions& options, Service& service,
                                         ServerConnection::Owner& owner, HttpServerStats& stats);

std::unique_ptr<ClientCodec> connect_http1(EventLoop& loop, std::unique_ptr<Stream> stream,
                                           const ClientOptions& options,
                                           ClientConnection::Owner& owner, HttpClientStats& stats);
std::unique_ptr<ClientCodec> connect_http2(EventLoop& loop, std::unique_ptr<Stream> stream,
                                           const ClientOptions& options,
                                           ClientConnection::Owner& owner, HttpClientStats& stats);

}  // namespace glia
