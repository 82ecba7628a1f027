// AdminServer: where the admin pages listen: one socket on the main loop, and few connections.
#pragma once

#include <memory>
#include <vector>

#include "proxy/http/server.h"
#include "proxy/server/admin.h"

namespace glia {

class AdminServer final : private AcceptHandler, private ServerConnection::Owner {
 public:
  // People and one Prometheus; more would be somebody who uses up our descriptors.
  static constexpr std::size_t kMostConnections = 64;

  // All outlive the server. It is destroyed from outside of the loop's callbacks.
  AdminServer(EventLoop& loop, Network& network, AdminView& view);
  Result<void> listen(const Address& address);
  // With the real port; after listen().
  const Address& address() const { return acceptor_->address(); }
  const HttpServerStats& stats() const { return stats_; }

 private:
  void on_accept(std::unique_ptr<Stream> stream) override;
  void on_finished(ServerConnection& connection) override;

  EventLoop& loop_;
  Network& network_;
  AdminService service_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::unique_ptr<Acceptor> acceptor_;
  std::vector<std::unique_ptr<ServerConnection>> connections_;
};

}  // namespace glia
