// Request and Response: plain values, the same for HTTP/1.1 and HTTP/2.
//
// Pseudo-fields are members, never in `headers`. Hop-by-hop fields (connection, keep-alive,
// proxy-connection, te other than trailers, transfer-encoding, upgrade) and content-length are not in
// `headers` either: the codecs take them out and put in what the next hop needs. The announced length
// is body->length().
#pragma once

#include <memory>
#include <string_view>

#include "proxy/http/body.h"
#include "proxy/http/headers.h"

namespace glia {

enum class Protocol : uint8_t { kHttp1, kHttp2 };
inline std::string_view name_of(Protocol protocol) {
  return protocol == Protocol::kHttp1 ? "HTTP/1.1" : "HTTP/2";
}

// "application/grpc", "application/grpc+proto", "application/grpc;..."; not "application/grpc-web".
inline bool is_grpc_type(std::string_view content_type) {
  constexpr std::string_view kType = "application/grpc";
  return content_type.starts_with(kType) &&
         (content_type.size() == kType.size() || content_type[kType.size()] == '+' ||
          content_type[kType.size()] == ';');
}

struct Request {
  explicit Request(ArenaRef arena) : headers(std::move(arena)) {}
  std::string_view method;
  std::string_view scheme;     // "http" or "https".
  std::string_view authority;  // Host and optional port.
  std::string_view path;       // With query; begins with '/', or is "*" for OPTIONS.
  // The protocol that an HTTP/1.1 client asks to go on with ("websocket", lower case), if the
  // connection manager takes it; "" for a plain request. The body is then what the client sends after
  // the switch: it goes up only once the upstream has answered 101, and ends when the client ends.
  std::string_view upgrade;
  Headers headers;
  std::unique_ptr<Body> body;      // Null: no body.
  bool trailers_accepted = false;  // The client sent "te: trailers".

  bool is_grpc() const {
    const auto type = headers.get("content-type");
    return type && is_grpc_type(*type);
  }
};

struct Response {
  explicit Response(ArenaRef arena) : headers(std::move(arena)) {}
  // 200 to 599, or 101 with a body of the new protocol's bytes; interim responses do not get here.
  int status = 0;
  Headers headers;
  std::unique_ptr<Body> body;  // Null: no body. HTTP/2 sends END_STREAM with the headers.
};

}  // namespace glia
