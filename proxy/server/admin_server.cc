#include "proxy/server/admin_server.h"

#include <algorithm>

namespace glia {

AdminServer::AdminServer(EventLoop& loop, Network& network, AdminView& view)
    : loop_(loop), network_(network), service_(view) {
  options_.limits.header_bytes = 16 * 1024;
  options_.limits.streams = 16;
  options_.limits.idle_time = 60s;
}

Result<void> AdminServer::listen(const Address& address) {
  TRY(acceptor_, network_.listen(address, {}, *this));
  return {};
}

void AdminServer::on_accept(std::unique_ptr<Stream> stream) {
  if (connections_.size() >= kMostConnections) return;  // Destroying the stream closes it.
  connections_.push_back(serve_http(loop_, std::move(stream), options_, service_, *this, stats_));
}

void AdminServer::on_finished(ServerConnection& connection) {
  const auto place =
      std::ranges::find(connections_, &connection, &std::unique_ptr<ServerConnection>::get);
  loop_.reap(std::move(*place));
  connections_.erase(place);
}

}  // namespace glia
