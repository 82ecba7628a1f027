#include "proxy/net/original_destination.h"

#include <netinet/in.h>
#include <sys/socket.h>

namespace glia {
namespace {

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST; their headers cannot stand beside <netinet/in.h>.
constexpr int kOriginalDestination = 80;

}  // namespace

Address original_destination(int fd, int family) {
  sockaddr_storage place = {};
  socklen_t size = sizeof place;
  auto* const raw = reinterpret_cast<sockaddr*>(&place);
  const int found = family == AF_INET6
                        ? getsockopt(fd, IPPROTO_IPV6, kOriginalDestination, raw, &size)
                        : getsockopt(fd, IPPROTO_IP, kOriginalDestination, raw, &size);
  if (found == 0) return Address::from(raw, size);
  size = sizeof place;
  if (getsockname(fd, raw, &size) != 0) return {};
  return Address::from(raw, size);
}

bool keep_families_apart(int fd, const Address& at) {
  if (at.family() != AF_INET6) return true;
  const int on = 1;
  return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
}

bool make_transparent(int fd, const Address& at) {
  const int on = 1;
  if (at.family() == AF_INET6) {
    return setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on) == 0;
  }
  return setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on) == 0;
}

}  // namespace glia
