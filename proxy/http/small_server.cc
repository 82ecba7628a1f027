#include "proxy/http/small_server.h"

#include <algorithm>

namespace glia {

Response text_response(const ServerStream& stream, int status, std::string_view content_type,
                       std::string_view text) {
  Response response(stream.arena());
  response.status = status;
  response.headers.add("content-type", content_type);
  response.body = std::make_unique<TextBody>(Slice::copy(text));
  return response;
}

SmallServer::SmallServer(EventLoop& loop, Network& network, Service& service, Options options)
    : loop_(loop), network_(network), service_(service), options_(std::move(options)) {
  http_.limits.header_bytes = 16 * 1024;
  http_.limits.streams = 16;
  http_.limits.idle_time = options_.idle_time;
}

Result<void> SmallServer::listen(const Address& address) {
  TRY(auto acceptor, network_.listen(address, {}, *this));
  acceptors_.push_back(std::move(acceptor));
  return {};
}

void SmallServer::on_accept(std::unique_ptr<Stream> stream) {
  if (connections_.size() >= kMostConnections) {
    if (options_.when_full == WhenFull::kRefuse) return;  // Destroying the stream closes it.
    on_finished(*connections_.front());
  }
  if (options_.wrap) stream = options_.wrap(std::move(stream));
  connections_.push_back(serve_http(loop_, std::move(stream), http_, service_, *this, stats_));
}

void SmallServer::on_finished(ServerConnection& connection) {
  const auto place =
      std::ranges::find(connections_, &connection, &std::unique_ptr<ServerConnection>::get);
  // It was ended for a newer one in the turn in which it ended by itself.
  if (place == connections_.end()) return;
  loop_.reap(std::move(*place));
  connections_.erase(place);
}

}  // namespace glia
