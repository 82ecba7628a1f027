// Large HTTP/1.1 bodies between real sockets, which pass through a pipe of the kernel: a client and
// an origin that speak raw bytes, and a forwarding service between them.
#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/http/codecs.h"
#include "proxy/net/kernel_pipe.h"
#include "proxy/net/tcp.h"
#include "test/sim/counted_stream.h"
#include "test/sim/party.h"

namespace glia {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;
constexpr std::string_view kHost = "host: x\r\n";

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

std::string request(std::string_view path, const std::string& body) {
  return cat("POST ", path, " HTTP/1.1\r\n", kHost, "content-length: ", body.size(), "\r\n\r\n",
             body);
}

std::string answer(const std::string& body) {
  return cat("HTTP/1.1 200 OK\r\ncontent-length: ", body.size(), "\r\n\r\n", body);
}

// Of one message; empty as long as its head is not complete.
std::string_view body_of(std::string_view message) {
  const std::size_t head = message.find("\r\n\r\n");
  return head == message.npos ? std::string_view() : message.substr(head + 4);
}

class H1Pipe : public testing::Test,
               protected AcceptHandler,
               protected Service,
               protected ServerConnection::Owner,
               protected ClientConnection::Owner {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    const Address any = *Address::parse("127.0.0.1:0");
    acceptor_ = *network_.listen(any, {}, *this);
    origin_acceptor_ = *network_.listen(any, {}, origin_door_);
    connect_upstream();
    client_.emplace(network_.connect(acceptor_->address()));
    until([&] { return server_ != nullptr && client_->opened; });
  }
  void TearDown() override {
    loop_.reap(std::move(server_));
    loop_.turn(Duration(0));  // The tasks end before the upstream does.
    loop_.reap(std::move(upstream_));
    loop_.turn(Duration(0));
  }
  void connect_upstream() {
    auto stream = std::make_unique<CountedStream>(network_.connect(origin_acceptor_->address()),
                                                  from_origin_);
    upstream_ = connect_http1(loop_, std::move(stream), client_options_, *this, client_stats_);
    until([&] { return upstream_->capacity() > 0 && origin_ && origin_->opened > 0; });
  }
  template <class Condition>
  void until(Condition condition) {
    const TimePoint limit = loop_.clock().now() + 20s;
    while (!condition() && loop_.clock().now() < limit) loop_.turn(10ms);
    ASSERT_TRUE(condition()) << "not within 20 s";
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    server_ = serve_http1(loop_, std::make_unique<CountedStream>(std::move(stream), from_client_),
                          server_options_, *this, *this, server_stats_);
  }
  Task<void> serve(ServerStream& stream) override {
    Request& request = stream.request();
    const std::unique_ptr<Call> call = upstream_->start(request);
    Result<Response> head = co_await head_of(*call);
    if (!head) co_return co_await refuse_with(stream, 502);
    sent_ = co_await stream.respond(borrowing(std::move(*head), *call));
    request_bytes_ = stream.request_bytes();
  }
  Task<void> refuse_with(ServerStream& stream, int status) {
    Response response(stream.arena());
    response.status = status;
    sent_ = co_await stream.respond(std::move(response));
  }
  // A body that is another one's, as the proxy's own are.
  static Response borrowing(Response response, Call& call) {
    class Borrowed final : public Body {
     public:
      explicit Borrowed(Call& call) : call_(call) {}
      Piece poll() override { return call_.poll(); }
      std::optional<KernelPipe> poll_pipe() override { return call_.poll_pipe(); }
      void wait(Waiter& waiter) override { call_.wait(waiter); }
      std::optional<uint64_t> length() const override { return call_.length(); }
      Error error() const override { return call_.error(); }

     private:
      Call& call_;
    };
    response.body = std::make_unique<Borrowed>(call);
    return response;
  }
  void on_finished(ServerConnection&) override {
    server_over_ = true;
    loop_.reap(std::move(server_));
  }
  void on_connected(ClientConnection&) override {}
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error&) override {
    upstream_over_ = true;
    loop_.reap(std::move(upstream_));
  }

  struct Door final : AcceptHandler {
    void on_accept(std::unique_ptr<Stream> stream) override { guest.emplace(std::move(stream)); }
    std::optional<Party> guest;
  };

  EventLoop loop_{std::make_unique<LibeventBackend>()};
  SocketNetwork network_{loop_};
  Reads from_client_, from_origin_;
  ServerOptions server_options_;
  ClientOptions client_options_;
  HttpServerStats server_stats_;
  HttpClientStats client_stats_;
  Door origin_door_;
  std::unique_ptr<Acceptor> acceptor_, origin_acceptor_;
  std::unique_ptr<ClientCodec> upstream_;
  std::unique_ptr<ServerCodec> server_;
  std::optional<Party> client_;
  std::optional<Party>& origin_ = origin_door_.guest;
  Sent sent_;
  uint64_t request_bytes_ = 0;
  bool server_over_ = false, upstream_over_ = false;
};

TEST_F(H1Pipe, LargeBodiesPassUnchangedAndTheConnectionsServeOn) {
  for (const std::size_t size : {8 * kMiB, 8 * kMiB + 1, std::size_t{70'000}, std::size_t{3}}) {
    const std::string up = pattern(size), down = pattern(size + 5);
    client_->received.clear();
    origin_->received.clear();
    client_->send(request("/up", up));
    until([&] { return body_of(origin_->received).size() == size; });
    EXPECT_TRUE(body_of(origin_->received) == up);
    origin_->send(answer(down));
    until([&] { return body_of(client_->received).size() == down.size(); });
    EXPECT_TRUE(body_of(client_->received) == down);
    EXPECT_EQ(request_bytes_, size);
    EXPECT_EQ(sent_.bytes, down.size());
    EXPECT_TRUE(sent_.complete);
  }
  EXPECT_GT(from_client_.piped, 15 * kMiB);
  EXPECT_GT(from_origin_.piped, 15 * kMiB);
  EXPECT_EQ(server_stats_.bytes_received, from_client_.piped + from_client_.copied);
  EXPECT_EQ(client_stats_.bytes_received, from_origin_.piped + from_origin_.copied);
  EXPECT_EQ(server_stats_.requests, 4u);
  EXPECT_FALSE(server_over_ || upstream_over_);
}

TEST_F(H1Pipe, SmallBodiesAndChunkedOnesAreCopied) {
  const std::string body = pattern(40'000);
  client_->send(request("/", body));
  until([&] { return body_of(origin_->received).size() == body.size(); });
  std::string chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
  for (int i = 0; i < 10; ++i) chunks += cat("9c40\r\n", body, "\r\n");
  origin_->send(chunks + "0\r\n\r\n");
  until([&] { return client_->received.ends_with("\r\n0\r\n\r\n"); });
  EXPECT_EQ(from_client_.piped + from_origin_.piped, 0u);
}

TEST_F(H1Pipe, ASlowReaderStopsTheSenderWithoutALostByte) {
  const std::string up = pattern(24 * kMiB);
  origin_->stream->pause_reading(true);
  client_->send(request("/", up));
  std::size_t before;
  do {
    before = client_->sent;
    for (int i = 0; i < 20; ++i) loop_.turn(5ms);
  } while (client_->sent > before);
  EXPECT_LT(client_->sent, up.size());
  origin_->stream->pause_reading(false);
  until([&] { return body_of(origin_->received).size() == up.size(); });
  EXPECT_TRUE(body_of(origin_->received) == up);
  EXPECT_GT(from_client_.piped, 12 * kMiB);
}

TEST_F(H1Pipe, ABodyIsCopiedWhenNoPipeIsLeft) {
  std::vector<KernelPipe> taken;
  while (auto pipe = KernelPipe::borrow()) taken.push_back(std::move(*pipe));
  const std::string up = pattern(4 * kMiB);
  client_->send(request("/", up));
  until([&] { return body_of(origin_->received).size() == up.size(); });
  EXPECT_TRUE(body_of(origin_->received) == up);
  EXPECT_EQ(from_client_.piped, 0u);
}

TEST_F(H1Pipe, AClientThatBreaksOffInTheMiddleBreaksTheUpstream) {
  std::string all = request("/", pattern(16 * kMiB));
  client_->send(all.substr(0, all.size() - 1));
  until([&] { return from_client_.piped > 8 * kMiB; });
  client_->stream->abort();
  client_.reset();
  until([&] { return server_over_ && (origin_->broken || origin_->ended); });
  EXPECT_TRUE(upstream_over_);
}

TEST_F(H1Pipe, AnAnswerThatBreaksOffIsNotTakenForAWholeOne) {
  client_->send(cat("GET / HTTP/1.1\r\n", kHost, "\r\n"));
  until([&] { return origin_->received.ends_with("\r\n\r\n"); });
  const std::string all = answer(pattern(16 * kMiB));
  origin_->send(all.substr(0, all.size() - 1), /*then_finish=*/true);
  until([&] { return server_over_ || client_->ended || client_->broken; });
  EXPECT_GT(from_origin_.piped, 8 * kMiB);
  EXPECT_LT(client_->received.size(), all.size());
  EXPECT_FALSE(sent_.complete);
}

TEST_F(H1Pipe, ARefusalArrivesWhileTheRequestIsStillSent) {
  const std::string all = request("/", pattern(32 * kMiB));
  origin_->stream->pause_reading(true);
  client_->send(all);
  until([&] { return from_client_.piped > kMiB; });
  origin_->send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nno!");
  until([&] { return client_->received.ends_with("no!"); });
  EXPECT_NE(client_->received.find("413"), std::string::npos);
  EXPECT_LT(client_->sent, all.size());
  until([&] { return client_->ended || client_->broken; });
}

}  // namespace
}  // namespace glia
