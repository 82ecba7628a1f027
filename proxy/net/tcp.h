// SocketNetwork: the door to other machines through the system's sockets, TCP and UNIX.
//
// The streams that it makes read and write straight from and to the socket: no buffer of their own,
// so an idle connection costs a few hundred bytes. A read that came back short tells that the
// socket is empty, and no system call is spent on asking again before the next event.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/net/libevent_backend.h"
#include "proxy/net/stream.h"

namespace glia {

class Resolver;

// One a loop, destroyed before it. The loop's backend is a LibeventBackend.
class SocketNetwork final : public Network {
 public:
  // Accepts are tried again so long after the process ran out of descriptors or memory.
  static constexpr Duration kAcceptPause = 100ms;
  // Connections taken in one turn, so that a flood of them leaves time for those that are open.
  static constexpr int kAcceptsPerTurn = 64;

  explicit SocketNetwork(EventLoop& loop);
  ~SocketNetwork() override;

  using Network::connect;
  std::unique_ptr<Stream> connect(const Address& to, const Address& from) override;
  // A UNIX socket's path is taken over if nobody listens there any more, and removed with the
  // acceptor.
  Result<std::unique_ptr<Acceptor>> listen(const Address& at, const ListenOptions& options,
                                           AcceptHandler& handler) override;
  // getaddrinfo on one thread of this object's own, one name after the other.
  Task<Result<std::vector<Address>>> resolve(std::string host, uint16_t port) override;

 private:
  EventLoop& loop_;
  LibeventBackend& backend_;
  std::unique_ptr<Resolver> resolver_;  // Made when the first name is asked for.
};

// "connection refused": what the system says about `error_number`, as part of a sentence.
std::string system_error_text(int error_number);

}  // namespace glia
