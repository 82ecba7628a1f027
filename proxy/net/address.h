// Address: where a connection goes or comes from: IPv4, IPv6 or a UNIX socket path.
//
// Each connection has a few, so that it is small: a path, which few have, is shared by its copies.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/base/result.h"

namespace glia {

class Address {
 public:
  Address() = default;
  // "127.0.0.1" or "::1" (no brackets, no names; names are the resolver's) and a port.
  static Result<Address> ip(std::string_view text, uint16_t port);
  static Result<Address> unix_path(std::string_view path);
  // "127.0.0.1:80", "[::1]:80" or "unix:/path".
  static Result<Address> parse(std::string_view text);
  static Address from(const sockaddr* address, socklen_t length);

  const sockaddr* raw() const {
    return is_unix() ? reinterpret_cast<const sockaddr*>(path_.get()) : &ip_.plain;
  }
  socklen_t raw_size() const { return size_; }
  int family() const { return is_unix() ? AF_UNIX : ip_.plain.sa_family; }
  bool is_unix() const { return path_ != nullptr; }
  bool is_loopback() const;
  uint16_t port() const;                                          // 0 for a UNIX socket
  Address with_port(uint16_t port) const;                         // IP only
  std::string ip_text() const;                                    // "" for a UNIX socket
  const char* unix_path_text() const { return path_->sun_path; }  // UNIX sockets only.
  std::string text() const;                                       // The form that parse() takes.

  friend bool operator==(const Address& a, const Address& b);
  friend bool operator<(const Address& a, const Address& b);

 private:
  union {
    sockaddr_in6 six;  // The first member is the one that {} makes zero.
    sockaddr_in four;
    sockaddr plain;
  } ip_ = {};
  socklen_t size_ = 0;
  std::shared_ptr<const sockaddr_un> path_;  // Null for IP.
};

}  // namespace glia
