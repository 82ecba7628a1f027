#include "proxy/net/reservation.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "proxy/base/text.h"
#include "proxy/net/original_destination.h"
#include "proxy/net/tcp.h"

namespace glia {

Result<PortReservation> PortReservation::reserve(const Address& address) {
  if (address.is_unix()) return PortReservation(address, -1);
  const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return Error(ErrorKind::kInternal, Fault::kSelf, cat("socket: ", system_error_text(errno)));
  }
  PortReservation held(address, fd);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  keep_families_apart(fd, address);
  if (::bind(fd, address.raw(), address.raw_size()) != 0) {
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat("cannot listen on ", address.text(), ": ", system_error_text(errno)));
  }
  sockaddr_storage real;
  socklen_t size = sizeof real;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&real), &size);
  held.address_ = Address::from(reinterpret_cast<const sockaddr*>(&real), size);
  return held;
}

PortReservation::~PortReservation() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace glia
