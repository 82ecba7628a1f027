#include "proxy/net/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::size_t kLongestIp4 = 15;  // "255.255.255.255"
constexpr std::size_t kLongestPort = 6;  // ":65535"

// By hand: the library's way goes through sprintf, and the access log asks for three a request.
// Returns the end.
char* put_ip4(char* at, const in_addr& ip) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&ip);
  for (int i = 0; i < 4; ++i) {
    if (i > 0) *at++ = '.';
    at = std::to_chars(at, at + 3, bytes[i]).ptr;
  }
  return at;
}

}  // namespace

Result<Address> Address::ip(std::string_view text, uint16_t port) {
  const std::string terminated(text.substr(0, text.find('\0')));
  if (terminated.size() < text.size()) return invalid("an IP address cannot hold a zero byte");
  Address address;
  sockaddr_in& four = address.ip_.four;
  if (inet_pton(AF_INET, terminated.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    address.size_ = sizeof four;
    return address;
  }
  sockaddr_in6& six = address.ip_.six;
  if (inet_pton(AF_INET6, terminated.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    address.size_ = sizeof six;
    return address;
  }
  return invalid(cat("\"", text, "\" is not an IP address; write it as 127.0.0.1 or ::1"));
}

Result<Address> Address::unix_path(std::string_view path) {
  sockaddr_un local = {};
  if (path.empty() || path.size() >= sizeof local.sun_path) {
    return invalid(cat("UNIX socket path \"", path, "\" has ", path.size(),
                       " bytes; the system takes 1 to ", sizeof local.sun_path - 1));
  }
  if (path.find('\0') != path.npos) return invalid("a UNIX socket path cannot hold a zero byte");
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path, path.data(), path.size());
  Address address;
  address.path_ = std::make_shared<const sockaddr_un>(local);
  address.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

Result<Address> Address::parse(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) return unix_path(text.substr(kUnixPrefix.size()));
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) {
    return invalid(cat("address \"", text, "\" has no port; write it as 127.0.0.1:80 or [::1]:80"));
  }
  const std::optional<uint64_t> port = parse_decimal(text.substr(colon + 1));
  if (!port || *port > 65535) {
    return invalid(cat("port \"", text.substr(colon + 1), "\" of address \"", text,
                       "\" is not a number from 0 to 65535"));
  }
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != host.npos) {
    return invalid(cat("address \"", text, "\" needs brackets around its IPv6 part: [::1]:80"));
  }
  return ip(host, static_cast<uint16_t>(*port));
}

Address Address::from(const sockaddr* raw, socklen_t length) {
  Address address;
  if (length < sizeof(sa_family_t) || raw->sa_family != AF_UNIX) {
    address.size_ = std::min<socklen_t>(length, sizeof address.ip_);
    std::memcpy(&address.ip_, raw, address.size_);
    return address;
  }
  // A path is read as text that ends in a zero, which the kernel may leave out. The peer of a UNIX
  // socket has no name of its own.
  struct Terminated : sockaddr_un {
    char zero = '\0';
  } local = {};
  length = std::min<socklen_t>(length, sizeof(sockaddr_un));
  std::memcpy(static_cast<sockaddr_un*>(&local), raw, length);
  address.path_ = std::make_shared<const Terminated>(local);
  address.size_ = std::max<socklen_t>(length, offsetof(sockaddr_un, sun_path) + 1);
  return address;
}

bool Address::is_loopback() const {
  switch (family()) {
    case AF_UNIX: return true;
    case AF_INET: return (ntohl(ip_.four.sin_addr.s_addr) >> 24) == 127;
    case AF_INET6: {
      const in6_addr& six = ip_.six.sin6_addr;
      return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
    }
    default: return false;
  }
}

uint16_t Address::port() const {
  switch (family()) {
    case AF_INET: return ntohs(ip_.four.sin_port);
    case AF_INET6: return ntohs(ip_.six.sin6_port);
    default: return 0;
  }
}

Address Address::with_port(uint16_t port) const {
  CHECK(family() == AF_INET || family() == AF_INET6);
  Address copy = *this;
  (family() == AF_INET ? copy.ip_.four.sin_port : copy.ip_.six.sin6_port) = htons(port);
  return copy;
}

std::string Address::ip_text() const {
  if (family() == AF_INET) {
    std::array<char, kLongestIp4> text;
    return {text.data(), put_ip4(text.data(), ip_.four.sin_addr)};
  }
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET6) inet_ntop(AF_INET6, &ip_.six.sin6_addr, text, sizeof text);
  return text;
}

std::string Address::text() const {
  switch (family()) {
    case AF_UNIX: return cat(kUnixPrefix, path_->sun_path);
    case AF_INET: {
      std::array<char, kLongestIp4 + kLongestPort> text;
      char* at = put_ip4(text.data(), ip_.four.sin_addr);
      *at++ = ':';
      at = std::to_chars(at, text.data() + text.size(), port()).ptr;
      return {text.data(), at};
    }
    case AF_INET6: return cat("[", ip_text(), "]:", port());
    default: return "(no address)";
  }
}

bool operator==(const Address& a, const Address& b) { return !(a < b) && !(b < a); }

// Field by field: the kernel does not promise anything about padding, flow label and scope.
bool operator<(const Address& a, const Address& b) {
  if (a.family() != b.family()) return a.family() < b.family();
  if (a.is_unix()) return std::strcmp(a.path_->sun_path, b.path_->sun_path) < 0;
  int order = 0;
  if (a.family() == AF_INET) {
    order = std::memcmp(&a.ip_.four.sin_addr, &b.ip_.four.sin_addr, sizeof(in_addr));
  } else if (a.family() == AF_INET6) {
    order = std::memcmp(&a.ip_.six.sin6_addr, &b.ip_.six.sin6_addr, sizeof(in6_addr));
  }
  return order != 0 ? order < 0 : a.port() < b.port();
}

}  // namespace glia
