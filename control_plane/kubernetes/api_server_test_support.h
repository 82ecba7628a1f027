// An API server in the simulated network: answers in the order in which they are given, and watches that the test
// writes into.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "control_plane/kubernetes/api_server.h"
#include "proxy/base/text.h"
#include "proxy/http/server.h"
#include "test/sim/sim.h"

namespace glia {

class SimApiServer final : private AcceptHandler, private ServerConnection::Owner, private Service {
 public:
  static constexpr char kIp[] = "10.0.0.1";

  // What is said to one request, or to a watch until it is ended.
  struct Said {
    int status = 200;
    std::string body;
    bool stays = false;  // More may follow.
  };
  struct Asked {
    std::string method, path, authorization, body;
  };

  explicit SimApiServer(SimWorld& world) : world_(world) {
    auto listening = world.host(kIp).listen(*Address::ip(kIp, 8001), {}, *this);
    EXPECT_TRUE(listening.ok());
    acceptor_ = *std::move(listening);
  }
  ~SimApiServer() override {
    for (auto& connection : connections_) world_.loop().reap(std::move(connection));
  }
  static ApiAccess access() {
    ApiAccess access;
    access.host = kIp;
    access.port = 8001;
    access.tls = false;
    access.token = "secret";
    return access;
  }

  // The next requests get these; when there are none left, they wait without an answer.
  void will_say(Said said) { answers_.push_back(std::move(said)); }
  // Into the newest watch.
  void tell(std::string_view text) {
    told_ += text;
    wake();
  }
  void end_watch() {
    ended_ = true;
    wake();
  }
  std::vector<Asked> asked;

 private:
  // What the test tells, as it is told.
  class Events final : public Body {
   public:
    Events(SimApiServer& server, std::string first) : server_(server), first_(std::move(first)) {
      server_.told_.clear();
      server_.ended_ = false;
    }
    Piece poll() override {
      std::string text = std::exchange(first_, {}) + std::exchange(server_.told_, {});
      if (!text.empty()) return {State::kData, Slice::copy(text)};
      return {server_.ended_ ? State::kEnd : State::kPending, {}};
    }
    void wait(Waiter& waiter) override { server_.slot_.put(waiter); }

   private:
    SimApiServer& server_;
    std::string first_;
  };

  void wake() { slot_.wake(world_.loop().ready()); }
  void on_accept(std::unique_ptr<Stream> stream) override {
    connections_.push_back(
        serve_http(world_.loop(), std::move(stream), options_, *this, *this, stats_));
  }
  void on_finished(ServerConnection& connection) override {
    const auto place =
        std::ranges::find(connections_, &connection, &std::unique_ptr<ServerConnection>::get);
    world_.loop().reap(std::move(*place));
    connections_.erase(place);
  }
  Task<void> serve(ServerStream& stream) override {
    const Request& request = stream.request();
    Asked& one = asked.emplace_back();
    one.method = request.method;
    one.path = request.path;
    one.authorization = request.headers.get("authorization").value_or("");
    const std::size_t place = asked.size() - 1;
    if (request.body != nullptr) {
      const Result<std::string> body = co_await read_all(*request.body, 1 << 20);
      if (body) asked[place].body = *body;
    }
    while (answers_.empty()) co_await sleep_for(world_.loop(), 1s);
    const Said said = std::move(answers_.front());
    answers_.pop_front();
    Response response(stream.arena());
    response.status = said.status;
    response.headers.add("content-type", "application/json");
    if (said.stays) {
      response.body = std::make_unique<Events>(*this, said.body);
    } else {
      response.body = std::make_unique<TextBody>(Slice::copy(said.body));
    }
    co_await stream.respond(std::move(response));
  }

  SimWorld& world_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::deque<Said> answers_;
  std::string told_;
  bool ended_ = false;
  WaitSlot slot_;
  std::unique_ptr<Acceptor> acceptor_;
  std::vector<std::unique_ptr<ServerConnection>> connections_;
};

}  // namespace glia
