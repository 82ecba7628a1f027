// Where a connection wanted to go before the kernel's rules sent it to us, and the socket options that
// listeners for such connections need.
#pragma once

#include "proxy/net/address.h"

namespace glia {

// Of an accepted socket: what netfilter remembers (REDIRECT), else the socket's own address, which is
// the answer for TPROXY.
Address original_destination(int fd, int family);

// An IPv6 socket takes no IPv4 connections, as with Envoy unless it is asked for ipv4_compat: "::" and
// "0.0.0.0" can be listened on side by side. False and errno on failure.
bool keep_families_apart(int fd, const Address& at);

// IP_TRANSPARENT. False and errno on failure.
bool make_transparent(int fd, const Address& at);

}  // namespace glia
