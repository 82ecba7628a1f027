// PortReservation: a TCP port that is held, without listening, for sockets of this process.
//
// Workers each listen on a socket of their own with SO_REUSEPORT. Reserving first tells in one
// place, before anything changes, that the address cannot be used; and it turns port 0 into one
// real port for all of them. The kernel gives no connection to a socket that does not listen.
#pragma once

#include <utility>

#include "proxy/base/result.h"
#include "proxy/net/address.h"

namespace glia {

class PortReservation {
 public:
  // A UNIX address needs no reservation and is returned as it is.
  static Result<PortReservation> reserve(const Address& address);
  PortReservation(PortReservation&& other) noexcept
      : address_(other.address_), fd_(std::exchange(other.fd_, -1)) {}
  PortReservation& operator=(PortReservation&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~PortReservation();
  const Address& address() const { return address_; }  // With the real port.

 private:
  PortReservation(Address address, int fd) : address_(address), fd_(fd) {}
  Address address_;
  int fd_ = -1;
};

}  // namespace glia
