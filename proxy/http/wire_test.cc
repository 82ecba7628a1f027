// Connections whose writing fails, over real sockets: what the peer had said before is not lost.
#include "proxy/http/wire.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "proxy/http/client.h"
#include "proxy/net/tcp.h"

namespace glia {
namespace {

// A request's body that says one more thing when it is told to, and never ends.
class OpenBody final : public Body {
 public:
  explicit OpenBody(EventLoop& loop) : loop_(loop) {}
  void say(std::string_view more) {
    queue_.append_copy(more);
    slot_.wake(loop_.ready());
  }
  Piece poll() override {
    if (queue_.empty()) return {State::kPending, {}};
    return {State::kData, queue_.pop_slice()};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }

 private:
  EventLoop& loop_;
  ByteQueue queue_;
  WaitSlot slot_;
};

// An upstream that is no program but a socket in the hands of the test, and our client at it.
class WireTest : public testing::Test, private ClientConnection::Owner {
 protected:
  WireTest() {
    const Address any = *Address::parse("127.0.0.1:0");
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(listening_, any.raw(), any.raw_size()), 0);
    EXPECT_EQ(::listen(listening_, 1), 0);
    sockaddr_storage at;
    socklen_t size = sizeof at;
    EXPECT_EQ(::getsockname(listening_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    const Address address = Address::from(reinterpret_cast<sockaddr*>(&at), size);
    client_ = connect_http(loop_, network_.connect(address), options_, *this, stats_);
    until([&] { return connected_; });
    peer_ = ::accept(listening_, nullptr, nullptr);
    EXPECT_GE(peer_, 0);
    request_.method = "POST";
    request_.scheme = "http";
    request_.authority = "a.test";
    request_.path = "/";
  }
  ~WireTest() override {
    reader_.cancel();
    call_.reset();
    client_.reset();
    ::close(listening_);
  }

  template <class Condition>
  void until(Condition condition) {
    const TimePoint limit = loop_.clock().now() + 20s;
    while (!condition() && loop_.clock().now() < limit) loop_.turn(100ms);
    ASSERT_TRUE(condition()) << "not within 20 s";
  }
  OpenBody& start() {
    auto body = std::make_unique<OpenBody>(loop_);
    OpenBody& open = *body;
    request_.body = std::move(body);
    call_ = client_->start(request_);
    reader_ = read();
    reader_.start();
    return open;
  }
  // The answer leaves, and the socket is closed with the request unread: the system sends a reset.
  void answer_and_close(std::string_view answer) {
    EXPECT_EQ(::send(peer_, answer.data(), answer.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(answer.size()));
    ::close(peer_);
  }
  Task<void> read() {
    Result<Response> head = co_await head_of(*call_);
    if (head) {
      status_ = head->status;
      Result<std::string> all = co_await read_all(*call_, 1 << 20);
      if (all) body_ = *all;
      if (!all) error_ = all.error().message();
    } else {
      error_ = head.error().message();
    }
    done_ = true;
  }

  EventLoop loop_{std::make_unique<LibeventBackend>()};
  SocketNetwork network_{loop_};
  ClientOptions options_;
  HttpClientStats stats_;
  Request request_{ArenaRef::create()};
  std::unique_ptr<ClientConnection> client_;
  std::unique_ptr<Call> call_;
  Task<void> reader_;
  int listening_ = -1, peer_ = -1;
  bool connected_ = false, done_ = false;
  int status_ = 0;
  std::string body_, error_;

 private:
  void on_connected(ClientConnection&) override { connected_ = true; }
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error&) override { loop_.reap(std::move(client_)); }
};

TEST_F(WireTest, AnAnswerThatArrivedBeforeTheResetIsNotLost) {
  OpenBody& body = start();
  loop_.turn(0s);  // The request's head leaves.
  // Posted work runs after the sockets were read and before they are written.
  loop_.post([&] {
    answer_and_close("HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\ntoo large");
    body.say("more");
  });
  until([&] { return done_; });
  EXPECT_EQ(status_, 413);
  EXPECT_EQ(body_, "too large");
  EXPECT_EQ(error_, "");
}

TEST_F(WireTest, AnAnswerThatWasCutByTheResetIsAnError) {
  OpenBody& body = start();
  loop_.turn(0s);
  loop_.post([&] {
    answer_and_close("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    body.say("more");
  });
  until([&] { return done_; });
  EXPECT_EQ(status_, 200);
  EXPECT_NE(error_.find("write to 127.0.0.1:"), std::string::npos) << error_;
}

TEST_F(WireTest, AnAnswerThatEndsWithTheConnectionDoesNotEndWithAReset) {
  OpenBody& body = start();
  loop_.turn(0s);
  loop_.post([&] {
    answer_and_close("HTTP/1.1 200 OK\r\n\r\nperhaps half");
    body.say("more");
  });
  until([&] { return done_; });
  EXPECT_EQ(status_, 200);
  EXPECT_NE(error_, "") << "the rest may be missing";
}

}  // namespace
}  // namespace glia
