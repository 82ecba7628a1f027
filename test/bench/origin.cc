#include "test/bench/origin.h"

namespace glia {

Origin::Origin(EventLoop& loop, Network& network, Codec codec, std::string_view body)
    : loop_(loop), network_(network), body_(body) {
  options_.codec = codec;
  options_.limits.streams = kStreams;
}

Origin::~Origin() {
  acceptor_.reset();
  for (auto& [key, connection] : connections_) loop_.reap(std::move(connection));
}

Result<void> Origin::listen() {
  TRY(const Address any, Address::ip("127.0.0.1", 0));
  TRY(acceptor_, network_.listen(any, ListenOptions(), *this));
  return {};
}

void Origin::on_accept(std::unique_ptr<Stream> stream) {
  auto connection = serve_http(loop_, std::move(stream), options_, *this, *this, stats_);
  ServerConnection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
}

Task<void> Origin::serve(ServerStream& stream) {
  Response response(stream.arena());
  response.status = 200;
  response.headers.add_kept("server", "uvicorn");
  response.headers.add_kept("date", "Sun, 22 Nov 2026 17:00:00 GMT");
  response.headers.add_kept("content-type", "application/json");
  if (!body_.empty()) response.body = std::make_unique<TextBody>(Slice::literal(body_));
  co_await stream.respond(std::move(response));
}

void Origin::on_finished(ServerConnection& connection) {
  const auto found = connections_.find(&connection);
  loop_.reap(std::move(found->second));
  connections_.erase(found);
}

}  // namespace glia
