// Request and Response: plain values, the same for HTTP/1.1 and HTTP/2.
//
// Pseudo-fields are members, never in `headers`. Hop-by-hop fields (connection, keep-alive,
// proxy-connection, te other than trailers, transfer-encoding, upgrade) and content-length are not
// in `headers` either: the codecs take them out and put in what the next hop needs. The announced
// length is body->length().
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
  // What the client asks to go on with, if the connection manager takes it: a protocol in lower
  // case ("websocket"), with HTTP/1.1's Upgrade or with HTTP/2's extended CONNECT (RFC 8441), which
  // is then the same GET; or kConnect with the method CONNECT: a tunnel to `authority`, which has a
  // port (RFC 9110 section 9.3.6; scheme and path are ""). "" for a plain request. The body is then
  // what the client sends afterwards, never null: it goes up only once the upstream has agreed, see
  // switches(), and ends when the client ends.
  std::string_view upgrade;
  Headers headers;
  std::unique_ptr<Body> body;      // Null: no body.
  bool trailers_accepted = false;  // The client sent "te: trailers".

  static constexpr std::string_view kConnect = "connect";
  bool is_connect() const { return method == "CONNECT"; }
  // Whether an answer with `status` agrees to `upgrade`: what follows it, each way, is not HTTP.
  bool switches(int status) const {
    if (upgrade.empty()) return false;
    return is_connect() ? status / 100 == 2 : status == 101;
  }

  bool is_grpc() const {
    if (!upgrade.empty()) return false;
    const auto type = headers.get("content-type");
    return type && is_grpc_type(*type);
  }
};

struct Response {
  explicit Response(ArenaRef arena) : headers(std::move(arena)) {}
  // 200 to 599, or 101; interim responses do not get here. If the request switches() by it, the
  // body is what the upstream sends afterwards.
  int status = 0;
  Headers headers;
  std::unique_ptr<Body> body;  // Null: no body. HTTP/2 sends END_STREAM with the headers.
};

}  // namespace glia
