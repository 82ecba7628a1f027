// The handshake of WebSocket over HTTP/1.1 (RFC 6455 section 4), which HTTP/2 does without (RFC
// 8441 section 5.1): where a side that speaks HTTP/1.1 lacks its part of it, the proxy shakes hands
// itself.
#pragma once

#include <string>
#include <string_view>

namespace glia {

inline constexpr std::string_view kWebSocket = "websocket";
inline constexpr std::string_view kWebSocketKey = "sec-websocket-key";
inline constexpr std::string_view kWebSocketAccept = "sec-websocket-accept";

// 16 random bytes in base64.
std::string make_websocket_key();
// What a server that understood `key` answers.
std::string websocket_accept(std::string_view key);

}  // namespace glia
