// What the HTTP/2 tests share: an in-memory pipe, a loop in virtual time, and both ends of a
// connection on it.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/http/codecs.h"
#include "test/sim/virtual_time.h"

namespace glia {

// Two streams that are each other's peer. Events arrive through the loop, a turn later.
class Pipe {
 public:
  static constexpr std::size_t kRoom = 96 * 1024;  // bytes on the way, each direction

  explicit Pipe(EventLoop& loop) : state_(std::make_shared<State>(State{loop})) {}
  std::unique_ptr<Stream> end(int side) { return std::make_unique<End>(state_, side); }
  // Both ends see a reset.
  void kill() {
    state_->broken = true;
    for (int side : {0, 1}) post(state_, side);
  }
  // What `side` writes is kept back until released.
  void hold(int side, bool held) {
    state_->held[side] = held;
    if (!held) post(state_, 1 - side);
  }
  uint64_t bytes_from(int side) const { return state_->moved[side]; }
  // What the pipe itself holds in memory.
  std::size_t memory() const { return state_->bytes[0].capacity() + state_->bytes[1].capacity(); }

 private:
  class End;
  struct State {
    EventLoop& loop;
    End* ends[2] = {};
    std::string bytes[2];  // Written by end i.
    uint64_t moved[2] = {};
    bool finished[2] = {};
    bool held[2] = {};
    bool broken = false;
    bool posted[2] = {};
  };

  static void post(const std::shared_ptr<State>& state, int side) {
    if (state->ends[side] == nullptr || std::exchange(state->posted[side], true)) return;
    state->loop.post([state, side] {
      state->posted[side] = false;
      if (state->ends[side] != nullptr) state->ends[side]->tell();
    });
  }

  class End final : public Stream {
   public:
    End(std::shared_ptr<State> state, int side) : state_(std::move(state)), side_(side) {
      state_->ends[side_] = this;
    }
    ~End() override {
      state_->ends[side_] = nullptr;
      state_->finished[side_] = true;
      post(state_, 1 - side_);
    }
    void watch(Watcher& watcher) override {
      watcher_ = &watcher;
      post(state_, side_);
    }
    IoResult read(std::span<char> into) override {
      if (state_->broken) return {IoResult::State::kError};
      std::string& from = state_->bytes[1 - side_];
      if (from.empty() || state_->held[1 - side_]) {
        const bool end = from.empty() && state_->finished[1 - side_];
        return {end ? IoResult::State::kEnd : IoResult::State::kWait};
      }
      const std::size_t count = from.copy(into.data(), into.size());
      from.erase(0, count);
      post(state_, 1 - side_);
      return {IoResult::State::kDone, count};
    }
    IoResult write(std::span<const std::string_view> pieces) override {
      if (state_->broken || state_->ends[1 - side_] == nullptr) return {IoResult::State::kError};
      std::string& to = state_->bytes[side_];
      std::size_t count = 0;
      for (std::string_view piece : pieces) {
        const std::size_t part = std::min(piece.size(), kRoom - std::min(kRoom, to.size()));
        to += piece.substr(0, part);
        count += part;
        blocked_ = part < piece.size();
        if (blocked_) break;
      }
      state_->moved[side_] += count;
      post(state_, 1 - side_);
      return {count > 0 ? IoResult::State::kDone : IoResult::State::kWait, count};
    }
    void finish_writing() override {
      state_->finished[side_] = true;
      post(state_, 1 - side_);
    }
    void pause_reading(bool paused) override {
      paused_ = paused;
      if (!paused) post(state_, side_);
    }
    const ConnectionInfo& info() const override { return info_; }
    Error error() const override {
      return Error(ErrorKind::kReset, side_ == 0 ? Fault::kUpstream : Fault::kDownstream,
                   "the pipe was cut");
    }

    void tell() {
      if (watcher_ == nullptr) return;
      if (!std::exchange(open_, true)) watcher_->on_open();
      const bool something =
          state_->broken || (state_->bytes[1 - side_].empty() ? state_->finished[1 - side_]
                                                              : !state_->held[1 - side_]);
      if (something && !paused_) {
        watcher_->on_readable();
        if (!paused_) post(state_, side_);  // Level-triggered; an empty look costs a turn.
      } else if (state_->broken && paused_) {
        watcher_->on_broken();
      }
      if (blocked_ && state_->bytes[side_].size() < kRoom) {
        blocked_ = false;
        watcher_->on_writable();
      }
    }

   private:
    std::shared_ptr<State> state_;
    int side_;
    Watcher* watcher_ = nullptr;
    ConnectionInfo info_;
    bool open_ = false;
    bool paused_ = false;
    bool blocked_ = false;
  };

  std::shared_ptr<State> state_;
};

// A body whose bytes a test hands over when it likes.
class FedBody final : public Body {
 public:
  explicit FedBody(EventLoop& loop) : loop_(loop) {}
  void feed(std::string_view text) {
    queue_.append_copy(text);
    slot_.wake(loop_.ready());
  }
  void end() {
    ended_ = true;
    slot_.wake(loop_.ready());
  }
  void end(Headers trailers) {
    trailers_.emplace(std::move(trailers));
    end();
  }
  void fail() {
    failed_ = true;
    slot_.wake(loop_.ready());
  }
  std::size_t waiting() const { return queue_.size(); }

  Piece poll() override {
    if (!queue_.empty()) return {State::kData, queue_.pop_slice()};
    if (failed_) return {State::kError, {}};
    return {ended_ ? State::kEnd : State::kPending, {}};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }
  const Headers* trailers() const override { return trailers_ ? &*trailers_ : nullptr; }
  Error error() const override {
    return Error(ErrorKind::kReset, Fault::kDownstream, "the body was cut");
  }

 private:
  EventLoop& loop_;
  ByteQueue queue_;
  std::optional<Headers> trailers_;
  WaitSlot slot_;
  bool ended_ = false;
  bool failed_ = false;
};

// A service made of a function that is called for each request.
class FunctionService final : public Service {
 public:
  using Function = std::function<Task<void>(ServerStream&)>;
  explicit FunctionService(Function function) : function_(std::move(function)) {}
  Task<void> serve(ServerStream& stream) override { return function_(stream); }

 private:
  Function function_;
};

class TestServer final : public ServerConnection::Owner {
 public:
  TestServer(EventLoop& loop, Service& service) : loop_(loop), service_(service) {}
  void accept(std::unique_ptr<Stream> stream) {
    connections_.push_back(serve_http2(loop_, std::move(stream), options, service_, *this, stats));
  }
  void on_finished(ServerConnection& connection) override {
    const auto at =
        std::ranges::find(connections_, &connection, [](const auto& held) { return held.get(); });
    CHECK(at != connections_.end());
    loop_.reap(std::move(*at));
    connections_.erase(at);
  }
  ServerConnection* connection() { return connections_.empty() ? nullptr : connections_[0].get(); }

  ServerOptions options;
  HttpServerStats stats;

 private:
  EventLoop& loop_;
  Service& service_;
  std::vector<std::unique_ptr<ServerConnection>> connections_;
};

class TestClient final : public ClientConnection::Owner {
 public:
  explicit TestClient(EventLoop& loop) : loop_(loop) {}
  void connect(std::unique_ptr<Stream> stream) {
    connection_ = connect_http2(loop_, std::move(stream), options, *this, stats);
  }
  void on_connected(ClientConnection&) override { ++connected; }
  void on_capacity(ClientConnection&) override { ++capacity_calls; }
  void on_finished(ClientConnection& connection, const Error& why) override {
    CHECK(&connection == connection_.get());
    error = why;
    loop_.reap(std::move(connection_));
  }
  ClientConnection* connection() { return connection_.get(); }
  bool usable() const { return connection_ != nullptr && connection_->capacity() > 0; }

  ClientOptions options;
  HttpClientStats stats;
  std::optional<Error> error;
  int connected = 0;
  int capacity_calls = 0;

 private:
  EventLoop& loop_;
  std::unique_ptr<ClientConnection> connection_;
};

inline Request make_request(std::string_view method = "GET", std::string_view path = "/") {
  Request request(ArenaRef::create());
  request.method = method;
  request.scheme = "http";
  request.authority = "example.com";
  request.path = request.headers.arena().copy(path);
  return request;
}

inline Response make_response(int status, std::string_view text = {}) {
  Response response(ArenaRef::create());
  response.status = status;
  if (!text.empty()) response.body = std::make_unique<TextBody>(Slice::copy(text));
  return response;
}

}  // namespace glia
