// Serves HTTP on a loopback port, for peers of other makers: curl, h2load, nghttp, h2spec. GET
// answers "hello", everything else echoes. With an upstream's address as the second argument it
// forwards every request there over HTTP/2 instead.
//
//   h2_echo PORT [UPSTREAM]     for example: h2_echo 8080 127.0.0.1:8081
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/http/client.h"
#include "proxy/http/server.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/tcp.h"

namespace glia {
namespace {

class Echo final : public Service,
                   public AcceptHandler,
                   public ServerConnection::Owner,
                   public ClientConnection::Owner {
 public:
  Echo(EventLoop& loop, Network& network) : loop_(loop), network_(network) {
    options_.codec = Codec::kAuto;
    client_options_.codec = Codec::kHttp2;
  }

  bool forward_to(std::string_view upstream) {
    Result<Address> address = Address::parse(upstream);
    if (!address) return false;
    client_ =
        connect_http(loop_, network_.connect(*address), client_options_, *this, client_stats_);
    return true;
  }

  void on_accept(std::unique_ptr<Stream> stream) override {
    connections_.push_back(serve_http(loop_, std::move(stream), options_, *this, *this, stats_));
  }
  void on_finished(ServerConnection& connection) override {
    for (auto& held : connections_) {
      if (held.get() != &connection) continue;
      loop_.reap(std::move(held));
      held = std::move(connections_.back());
      return connections_.pop_back();
    }
  }
  void on_connected(ClientConnection&) override {}
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error& error) override {
    LOG(warning, "upstream is gone: ", error.message());
    loop_.reap(std::move(client_));
  }

  Task<void> serve(ServerStream& stream) override {
    Response response(stream.arena());
    response.status = 200;
    if (client_ != nullptr && client_->capacity() > 0) {
      std::unique_ptr<Call> call = client_->start(stream.request());
      Result<Response> head = co_await head_of(*call);
      if (head) {
        response = *std::move(head);
        response.body = std::move(call);
      } else {
        response.status = 502;
        response.body = std::make_unique<TextBody>(Slice::copy(head.error().message()));
      }
    } else if (stream.request().body != nullptr) {
      response.body = std::move(stream.request().body);
    } else {
      response.headers.add_kept("content-type", "text/plain");
      response.body = std::make_unique<TextBody>(Slice::literal("hello\n"));
    }
    (void)co_await stream.respond(std::move(response));
  }

 private:
  EventLoop& loop_;
  Network& network_;
  ServerOptions options_;
  ClientOptions client_options_;
  HttpServerStats stats_;
  HttpClientStats client_stats_;
  std::vector<std::unique_ptr<ServerConnection>> connections_;
  std::unique_ptr<ClientConnection> client_;
};

int run(int count, char** words) {
  const auto port = count >= 2 ? parse_decimal(words[1]) : std::nullopt;
  if (!port || *port > 65535) {
    std::fprintf(stderr, "usage: h2_echo PORT [UPSTREAM]\n");
    return 2;
  }
  EventLoop loop(std::make_unique<LibeventBackend>());
  SocketNetwork network(loop);
  Echo echo(loop, network);
  const Address at = *Address::ip("127.0.0.1", static_cast<uint16_t>(*port));
  auto acceptor = network.listen(at, {}, echo);
  if (!acceptor || (count > 2 && !echo.forward_to(words[2]))) {
    std::fprintf(stderr, "cannot listen or connect\n");
    return 1;
  }
  std::printf("listening on %s\n", (*acceptor)->address().text().c_str());
  std::fflush(stdout);
  loop.run();
  return 0;
}

}  // namespace
}  // namespace glia

int main(int count, char** words) { return glia::run(count, words); }
