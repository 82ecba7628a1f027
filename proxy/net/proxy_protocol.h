// The PROXY protocol: a header before the first byte of a connection that tells whose connection it
// really is (https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt, versions 1 and 2).
//
// Strict, because what it says is believed: whoever may send this header may claim any address.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/net/address.h"

namespace glia {

enum class ProxyVersion : uint8_t { kV1, kV2 };

struct ProxyHeader {
  enum class State : uint8_t { kNeedMore, kMalformed, kComplete };
  State state = State::kNeedMore;
  std::size_t size = 0;  // bytes, when complete; what follows is the connection's own.
  // Neither: LOCAL, UNKNOWN or a family that is not IP; the connection's own addresses count. IPv4
  // addresses in IPv6 form are IPv4, so that rules about them hold.
  std::optional<Address> source, destination;
  std::string_view why;  // When malformed; static text.
};

// A header of version 2 that announces more is malformed; its additions (TLVs) are skipped.
inline constexpr std::size_t kLongestProxyHeader = 4096;  // bytes
// Version 1, its CRLF included (section 2.1).
inline constexpr std::size_t kLongestProxyLine = 107;  // bytes

ProxyHeader read_proxy_header(std::string_view bytes);

// The header for a connection from `source` to `destination`. Addresses of different families, or
// of none, cannot be written: the header then says UNKNOWN or LOCAL.
std::string write_proxy_header(ProxyVersion version, const Address& source,
                               const Address& destination);

}  // namespace glia
