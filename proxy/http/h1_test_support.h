// What the HTTP/1.1 tests share: a peer that speaks raw bytes, a server and a client on a simulated
// network, and services that do one thing each.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/http/client.h"
#include "proxy/http/server.h"
#include "test/sim/sim.h"

namespace glia {

inline Address server_address() { return *Address::ip("10.0.0.1", 80); }

// One end of a connection, as an attacker or a person with netcat has it.
class RawPeer final : private Stream::Watcher {
 public:
  explicit RawPeer(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
    stream_->watch(*this);
  }

  void send(std::string_view bytes) {
    unsent_ += bytes;
    on_writable();
  }
  // Ends our side once all was sent.
  void finish() {
    finish_ = true;
    on_writable();
  }
  void read_nothing(bool nothing) { stream_->pause_reading(nothing); }
  const std::string& received() const { return received_; }
  std::string take() { return std::exchange(received_, {}); }
  bool ended() const { return ended_; }
  bool broken() const { return broken_; }
  bool over() const { return ended_ || broken_; }

 private:
  void on_open() override {
    open_ = true;
    on_writable();
  }
  void on_readable() override {
    char bytes[16 * 1024];
    const IoResult got = stream_->read(bytes);
    if (got.state == IoResult::State::kDone) received_.append(bytes, got.bytes);
    ended_ = ended_ || got.state == IoResult::State::kEnd;
    broken_ = broken_ || got.state == IoResult::State::kError;
    if (over()) stream_->pause_reading(true);
  }
  void on_writable() override {
    while (open_ && !broken_ && !unsent_.empty()) {
      const std::string_view piece = unsent_;
      const IoResult wrote = stream_->write({&piece, 1});
      if (wrote.state == IoResult::State::kError) broken_ = true;
      if (wrote.state != IoResult::State::kDone) return;
      unsent_.erase(0, wrote.bytes);
      if (wrote.bytes < piece.size()) return;
    }
    if (open_ && finish_ && !broken_) stream_->finish_writing();
  }
  void on_broken() override { broken_ = true; }

  std::unique_ptr<Stream> stream_;
  std::string unsent_;
  std::string received_;
  bool open_ = false;
  bool finish_ = false;
  bool ended_ = false;
  bool broken_ = false;
};

// A listening server and all its connections.
class ServerRig final : private AcceptHandler, private ServerConnection::Owner {
 public:
  ServerRig(SimWorld& world, Service& service, Codec codec = Codec::kHttp1,
            const std::string& ip = "10.0.0.1")
      : world_(world), service_(service), address_(*Address::ip(ip, 80)) {
    options.codec = codec;
    acceptor_ = *world.host(ip).listen(address_, {}, *this);
  }
  // What its services hold of the test must not be used after it.
  ~ServerRig() override {
    for (auto& [key, connection] : connections_) world_.loop().reap(std::move(connection));
    connections_.clear();
    world_.loop().turn(Duration(0));
  }
  const Address& address() const { return address_; }

  std::unique_ptr<RawPeer> connect() {
    return std::make_unique<RawPeer>(world_.host("10.0.0.2").connect(server_address()));
  }
  std::size_t open() const { return connections_.size(); }
  void drain() {
    for (const auto& [key, connection] : connections_) connection->drain();
  }
  // Takes a connection away, as a worker that ends does.
  void drop_one() {
    if (connections_.empty()) return;
    const auto it = connections_.begin();
    world_.loop().reap(std::move(it->second));
    connections_.erase(it);
  }

  ServerOptions options;
  HttpServerStats stats;

 private:
  void on_accept(std::unique_ptr<Stream> stream) override {
    auto connection = serve_http(world_.loop(), std::move(stream), options, service_, *this, stats);
    connections_[connection.get()] = std::move(connection);
  }
  void on_finished(ServerConnection& connection) override {
    const auto it = connections_.find(&connection);
    if (it == connections_.end()) return;
    world_.loop().reap(std::move(it->second));
    connections_.erase(it);
  }

  SimWorld& world_;
  Service& service_;
  const Address address_;
  std::unique_ptr<Acceptor> acceptor_;
  std::map<ServerConnection*, std::unique_ptr<ServerConnection>> connections_;
};

// One upstream connection, and what its owner was told.
class ClientRig final : private ClientConnection::Owner {
 public:
  explicit ClientRig(SimWorld& world, Codec codec = Codec::kHttp1) : world_(world) {
    options.codec = codec;
    connection_ = connect_http(world.loop(), world.host("10.0.0.2").connect(server_address()),
                               options, *this, stats);
  }
  ClientConnection& operator*() { return *connection_; }
  ClientConnection* operator->() { return connection_.get(); }
  void drop() { world_.loop().reap(std::move(connection_)); }

  ClientOptions options;
  HttpClientStats stats;
  bool connected = false;
  bool finished = false;
  int capacities = 0;
  std::string error;

 private:
  void on_connected(ClientConnection&) override { connected = true; }
  void on_capacity(ClientConnection&) override { ++capacities; }
  void on_finished(ClientConnection&, const Error& why) override {
    finished = true;
    error = why.message();
    world_.loop().reap(std::move(connection_));
  }

  SimWorld& world_;
  std::unique_ptr<ClientConnection> connection_;
};

// The other side of a ClientRig: accepts raw peers.
class RawServer final : private AcceptHandler {
 public:
  explicit RawServer(SimWorld& world) {
    acceptor_ = *world.host("10.0.0.1").listen(server_address(), {}, *this);
  }
  std::vector<std::unique_ptr<RawPeer>> peers;

 private:
  void on_accept(std::unique_ptr<Stream> stream) override {
    peers.push_back(std::make_unique<RawPeer>(std::move(stream)));
  }
  std::unique_ptr<Acceptor> acceptor_;
};

inline Response text_response(const ArenaRef& arena, int status, std::string_view text) {
  Response response(arena);
  response.status = status;
  response.body = std::make_unique<TextBody>(Slice::copy(text));
  return response;
}

// Reads the whole request, counts it, and says what it was.
class TellingService final : public Service {
 public:
  Task<void> serve(ServerStream& stream) override {
    const Alive alive(*this);
    ++begun;
    std::string body;
    std::string trailers;
    if (stream.request().body != nullptr) {
      auto all = co_await read_all(*stream.request().body, 64 * 1024 * 1024);
      if (!all) co_return;
      body = std::move(*all);
      if (const Headers* fields = stream.request().body->trailers()) {
        for (const Field& field : fields->fields()) trailers += cat(' ', field.name);
      }
    }
    ++served;
    const Request& request = stream.request();
    co_await stream.respond(text_response(
        stream.arena(), 200, cat(request.method, ' ', request.path, ' ', body, trailers)));
  }
  int begun = 0;
  int served = 0;
  int alive = 0;

 private:
  struct Alive {
    explicit Alive(TellingService& of) : service(of) { ++service.alive; }
    ~Alive() { --service.alive; }
    TellingService& service;
  };
};

// Sends the request's body back while it comes.
class EchoService final : public Service {
 public:
  Task<void> serve(ServerStream& stream) override {
    Response response(stream.arena());
    response.status = 200;
    response.body = std::move(stream.request().body);
    co_await stream.respond(std::move(response));
  }
};

inline int count_of(std::string_view text, std::string_view what) {
  int count = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos;
       at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace glia
