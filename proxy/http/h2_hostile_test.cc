// HTTP/2 peers that break rules: what our server answers to bad clients, and what our client makes
// of bad servers. The rows are those of the checklist of attacks and of RFC 9113.
#include <gtest/gtest.h>

#include "proxy/http/h2_peer_test_support.h"

namespace glia {
namespace {

const FieldList kGet = {
    {":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};

FieldList with(FieldList list, std::string name, std::string value) {
  list.emplace_back(std::move(name), std::move(value));
  return list;
}

class Hostile : public ::testing::Test {
 protected:
  template <class Condition>
  bool turn_until(Condition condition, Duration step = Duration::zero()) {
    for (int i = 0; i < 2000 && !condition(); ++i) loop.turn(step);
    return condition();
  }
  void settle() {
    for (int i = 0; i < 30; ++i) loop.turn(Duration::zero());
  }
  EventLoop loop{std::make_unique<VirtualTime>()};
  int served = 0;
  FunctionService service{[this](ServerStream& stream) {
    ++served;
    return answer(stream);
  }};
  TestServer server{loop, service};

 private:
  static Task<void> answer(ServerStream& stream) {
    if (!stream.request().upgrade.empty()) {  // What follows is said back.
      Response echo = make_response(stream.request().is_connect() ? 200 : 101);
      echo.body = std::move(stream.request().body);
      (void)co_await stream.respond(std::move(echo));
      co_return;
    }
    if (stream.request().body != nullptr) (void)co_await read_all(*stream.request().body, 1 << 20);
    (void)co_await stream.respond(make_response(200, "ok"));
  }
};

class BadClient : public Hostile {
 protected:
  void connect() {
    pipe.emplace(loop);
    server.accept(pipe->end(1));
    peer.emplace(RawPeer::Side::kClient, pipe->end(0));
    settle();
  }
  // The server still serves whoever comes next.
  void expect_next_connection_works() {
    peer.reset();
    settle();
    connect();
    const int before = served;
    const int32_t id = peer->head(-1, kGet);
    settle();
    EXPECT_TRUE(peer->saw(cat("HEADERS ", id, " :status=200 content-length=2")));
    EXPECT_EQ(served, before + 1);
  }
  std::optional<Pipe> pipe;
  std::optional<RawPeer> peer;
};

TEST_F(BadClient, IsNotServedWhenItsHeadIsMalformed) {
  const FieldList heads[] = {
      with(kGet, "x", " leading"),
      with(kGet, "x", "trailing "),
      with(kGet, "x", "a\r\nb"),
      with(kGet, "x", std::string("a\0b", 3)),
      with(kGet, "X-Upper", "1"),
      with(kGet, "a b", "1"),
      with(kGet, "transfer-encoding", "chunked"),
      with(kGet, "connection", "close"),
      with(kGet, "keep-alive", "1"),
      with(kGet, "proxy-connection", "1"),
      with(kGet, "upgrade", "h2c"),
      with(kGet, "te", "gzip"),
      with(kGet, "host", "b"),
      with(kGet, "content-length", "5"),  // And no body.
      with(kGet, "content-length", "-1"),
      with(kGet, ":path", "/twice"),
      with(kGet, ":unknown", "1"),
      with(kGet, ":status", "200"),
      with(with(kGet, "x", "1"), ":path", "/late"),
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}},
      {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}},
      {{":method", "GET"}, {":authority", "a"}, {":path", "/"}},
      {{":scheme", "http"}, {":authority", "a"}, {":path", "/"}},
      {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "foo"}},
      {{":method", "GET"}, {":scheme", "http"}, {":authority", "u@a"}, {":path", "/"}},
      {{":method", "GET"}, {":scheme", "ftp"}, {":authority", "a"}, {":path", "/"}},
      {{":method", "CONNECT"}, {":authority", "a"}, {":path", "/"}},
      {{":method", "CONNECT"},
       {":protocol", "websocket"},
       {":scheme", "http"},
       {":authority", "a"},
       {":path", "/"}},
  };
  int row = 0;
  for (const FieldList& head : heads) {
    SCOPED_TRACE(row++);
    connect();
    const uint64_t errors = server.stats.protocol_errors;
    const int32_t id = peer->head(-1, head);
    settle();
    EXPECT_EQ(served, 0);
    EXPECT_TRUE(peer->saw(cat("RST ", id, " PROTOCOL_ERROR")) || peer->ended() ||
                peer->saw("GOAWAY 0 PROTOCOL_ERROR") ||
                peer->saw(cat("GOAWAY ", id, " PROTOCOL_ERROR")));
    EXPECT_GE(server.stats.protocol_errors + 1, errors);
    peer.reset();
    settle();
    EXPECT_EQ(server.connection(), nullptr);
  }
  expect_next_connection_works();
}

TEST_F(BadClient, IsResetWhenItsBodyIsNotAsLongAsItSaid) {
  for (const char* length : {"4", "6"}) {
    connect();
    const int32_t id = peer->head(-1, with(kGet, "content-length", length), true);
    peer->data(id, "12345", true);
    settle();
    // nghttp2 1.68 takes the connection down for a malformed message, not only the stream.
    EXPECT_TRUE(peer->saw(cat("GOAWAY ", id, " PROTOCOL_ERROR"))) << length;
    EXPECT_EQ(server.stats.requests_active, 0u);
    peer.reset();
    settle();
  }
  expect_next_connection_works();
}

TEST_F(BadClient, Gets405ForConnectAnd431ForTooManyFields) {
  connect();
  // With a body that says why.
  const auto answered = [&](int32_t id, int status) {
    const std::string head = cat("HEADERS ", id, " :status=", status, " ");
    return std::ranges::any_of(peer->frames(), [&](const std::string& frame) {
      return frame.starts_with(head) && frame.find("x-glia-reason") != frame.npos;
    });
  };
  int32_t id = peer->head(
      -1, {{":method", "TRACE"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}});
  settle();
  EXPECT_TRUE(answered(id, 405));
  id = peer->head(-1, {{":method", "CONNECT"}, {":authority", "a:1"}}, true);
  settle();
  EXPECT_TRUE(answered(id, 405));
  EXPECT_TRUE(peer->saw(cat("RST ", id, " NO_ERROR")));
  FieldList many = kGet;
  while (many.size() <= server.options.limits.header_fields) many.emplace_back("cookie", "a=b");
  id = peer->head(-1, many);
  settle();
  EXPECT_TRUE(answered(id, 431));
  id = peer->head(-1, with(kGet, "x", std::string(server.options.limits.header_bytes, 'x')));
  settle();
  EXPECT_TRUE(answered(id, 431));
  EXPECT_EQ(served, 0);
}

class Tunneller : public BadClient {
 protected:
  Tunneller() {
    server.options.http1.connect = true;
    server.options.http1.upgrades = {"websocket"};
    server.options.limits.allow_connect = true;
    connect();
    settle();
  }
  const FieldList kConnect = {{":method", "CONNECT"}, {":authority", "a:443"}};
  const FieldList kChat = {{":method", "CONNECT"},
                           {":protocol", "websocket"},
                           {":scheme", "http"},
                           {":authority", "a"},
                           {":path", "/chat"}};
};

TEST_F(Tunneller, GetsBothWaysUntilEachEnds) {
  EXPECT_EQ(nghttp2_session_get_remote_settings(peer->session(),
                                                NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL),
            1u);
  for (const FieldList& ask : {kConnect, kChat}) {
    const int32_t id = peer->head(-1, ask, true);
    settle();
    EXPECT_TRUE(peer->saw(cat("HEADERS ", id, " :status=200")));
    peer->data(id, "hello", false);
    settle();
    EXPECT_TRUE(peer->saw(cat("DATA ", id, " 5")));
    EXPECT_EQ(server.stats.requests_active, 1u);
    peer->data(id, "bye", true);
    settle();
    EXPECT_TRUE(peer->saw(cat("DATA ", id, " 3 END")) || peer->saw(cat("DATA ", id, " 0 END")));
    EXPECT_EQ(server.stats.requests_active, 0u);
    EXPECT_FALSE(peer->saw(cat("RST ", id, " NO_ERROR")));
  }
}

TEST_F(Tunneller, IsResetForTrailersAndRefusedAnotherProtocol) {
  for (const FieldList& ask : {kConnect, kChat}) {
    const int32_t id = peer->head(-1, ask, true);
    settle();
    peer->head(id, {{"x", "y"}});
    settle();
    EXPECT_TRUE(peer->saw(cat("RST ", id, " PROTOCOL_ERROR")));
    EXPECT_EQ(server.stats.requests_active, 0u);
  }
  FieldList other = kChat;
  other[1].second = "connect-udp";
  const int32_t id = peer->head(-1, other, true);
  settle();
  EXPECT_TRUE(std::ranges::any_of(peer->frames(), [&](const std::string& frame) {
    return frame.starts_with(cat("HEADERS ", id, " :status=501"));
  }));
}

TEST_F(Tunneller, IsNotServedWhenItsHeadIsMalformed) {
  FieldList no_path = kChat, twice = with(kChat, ":protocol", "websocket"), get = kChat;
  no_path.pop_back();
  get[0].second = "GET";
  const FieldList heads[] = {
      {{":method", "CONNECT"}, {":authority", "a"}},
      {{":method", "CONNECT"}},
      {{":method", "CONNECT"}, {":authority", "a:443"}, {":path", "/"}},
      {{":method", "CONNECT"}, {":authority", "a:443"}, {":scheme", "http"}},
      with(kConnect, "content-length", "5"),
      with(kConnect, "transfer-encoding", "chunked"),
      with(kConnect, "host", "b:443"),
      with(kChat, "content-length", "5"),
      no_path,
      twice,
      get,
  };
  int row = 0;
  for (const FieldList& head : heads) {
    SCOPED_TRACE(row++);
    peer.reset();
    settle();
    connect();
    const int32_t id = peer->head(-1, head, true);
    settle();
    EXPECT_EQ(served, 0);
    EXPECT_TRUE(peer->saw(cat("RST ", id, " PROTOCOL_ERROR")) || peer->ended() ||
                peer->saw(cat("GOAWAY ", id, " PROTOCOL_ERROR")) ||
                peer->saw("GOAWAY 0 PROTOCOL_ERROR"));
  }
}

TEST_F(BadClient, IsRefusedStreamsAboveTheLimit) {
  server.options.limits.streams = 3;
  pipe.emplace(loop);
  server.accept(pipe->end(1));
  peer.emplace(RawPeer::Side::kClient, pipe->end(0));
  std::vector<int32_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(peer->head(-1, kGet, true));
  settle();
  EXPECT_TRUE(peer->saw(cat("RST ", ids[3], " REFUSED_STREAM")));
  EXPECT_TRUE(peer->saw(cat("RST ", ids[4], " REFUSED_STREAM")));
  EXPECT_EQ(server.stats.requests_active, 3u);
}

TEST_F(BadClient, IsCutOffWhenItsHeadNeverEnds) {
  server.options.limits.header_time = 10s;
  connect();
  const TimePoint from = loop.now();
  // HEADERS of stream 1, 10 bytes announced, none sent.
  peer->write(std::string_view("\0\0\x0a\x01\x04\0\0\0\x01", 9));
  EXPECT_TRUE(turn_until([&] { return server.connection() == nullptr; }, 1s));
  EXPECT_GE(loop.now() - from, Duration(9s));
  EXPECT_LE(loop.now() - from, Duration(15s));
}

TEST_F(BadClient, IsCutOffWhenItSpeaksHttp1OrNothing) {
  for (const char* first : {"GET / HTTP/1.1\r\nhost: a\r\n\r\n", ""}) {
    Pipe raw(loop);
    server.accept(raw.end(1));
    std::unique_ptr<Stream> stream = raw.end(0);
    const std::string_view piece[] = {first};
    if (!piece[0].empty()) stream->write(piece);
    EXPECT_TRUE(turn_until([&] { return server.connection() == nullptr; }, 1s)) << first;
  }
  EXPECT_EQ(served, 0);
}

TEST_F(BadClient, HoldsNoMoreThanItsWindowWhenItReadsNothing) {
  FunctionService large([](ServerStream& stream) -> Task<void> {
    Response response = make_response(200);
    response.body = std::make_unique<TextBody>(Slice::copy(std::string(5'000'000, 'x')));
    (void)co_await stream.respond(std::move(response));
  });
  TestServer big(loop, large);
  pipe.emplace(loop);
  big.accept(pipe->end(1));
  peer.emplace(RawPeer::Side::kClient, pipe->end(0));
  for (int i = 0; i < 20; ++i) peer->head(-1, kGet);
  settle();
  EXPECT_LE(pipe->bytes_from(1), 70'000u);  // 65,535 and frames.
  EXPECT_EQ(big.stats.requests_active, 20u);
  pipe->kill();
  settle();
  EXPECT_EQ(big.stats.requests_active, 0u);
}

class BadServer : public Hostile {
 protected:
  void connect() {
    client.emplace(loop);
    pipe.emplace(loop);
    peer.emplace(RawPeer::Side::kServer, pipe->end(1));
    client->connect(pipe->end(0));
    turn_until([&] { return client->connected > 0; });
  }
  // A call that the peer has seen.
  void start() {
    call = client->connection()->start(request);
    settle();
  }
  std::optional<Error> head_error() {
    if (!call->head_ready()) return {};
    Result<Response> head = call->take_head();
    if (head) return {};
    return head.error();
  }
  Request request = make_request();
  std::optional<Pipe> pipe;
  std::optional<RawPeer> peer;
  std::optional<TestClient> client;
  std::unique_ptr<Call> call;
};

TEST_F(BadServer, IsAnErrorOfTheUpstreamWhenItsHeadIsMalformed) {
  const FieldList heads[] = {
      {},
      {{"x", "1"}},
      {{":status", "1000"}},
      {{":status", "099"}},
      {{":status", "600"}},
      {{":status", "2x0"}},
      {{":status", "101"}},
      {{":status", "200"}, {":status", "200"}},
      {{"x", "1"}, {":status", "200"}},
      {{":status", "200"}, {"connection", "close"}},
      {{":status", "200"}, {"transfer-encoding", "chunked"}},
      {{":status", "200"}, {"x", "a\nb"}},
      {{":status", "200"}, {"content-length", "5"}},
      {{":status", "200"}, {":method", "GET"}},
  };
  int row = 0;
  for (const FieldList& head : heads) {
    SCOPED_TRACE(row++);
    connect();
    start();
    peer->head(1, head);
    EXPECT_TRUE(turn_until([&] { return call->head_ready(); }));
    settle();
    auto error = head_error();
    if (!error) {  // The head alone was good.
      ASSERT_EQ(call->poll().state, Body::State::kError);
      error = call->error();
    }
    EXPECT_EQ(error->fault(), Fault::kUpstream);
    EXPECT_EQ(error->kind(), ErrorKind::kProtocol) << error->message();
    EXPECT_EQ(error->retry(), Retry::kNo);
    call.reset();
  }
}

TEST_F(BadServer, MayTryAgainWhatItRefused) {
  connect();
  start();
  peer->reset(1, NGHTTP2_REFUSED_STREAM);
  settle();
  EXPECT_EQ(head_error()->retry(), Retry::kSafe);
}

TEST_F(BadServer, MayTryAgainWhatIsAboveTheLastStreamOfItsGoaway) {
  connect();
  start();
  Request second = make_request();
  std::unique_ptr<Call> late = client->connection()->start(second);
  settle();
  nghttp2_submit_goaway(peer->session(), NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, nullptr, 0);
  peer->send();
  settle();
  ASSERT_TRUE(late->head_ready());
  EXPECT_EQ(late->take_head().error().retry(), Retry::kSafe);
  EXPECT_FALSE(call->head_ready());
  EXPECT_EQ(client->connection()->capacity(), 0u);
  peer->head(1, {{":status", "204"}});
  settle();
  ASSERT_TRUE(call->head_ready());
  EXPECT_EQ(call->take_head()->status, 204);
  EXPECT_TRUE(turn_until([&] { return client->connection() == nullptr; }, 100ms));
}

TEST_F(BadServer, SkipsAFewInterimResponsesAndNoMore) {
  connect();
  start();
  for (int i = 0; i < 8; ++i) peer->head(1, {{":status", "103"}, {"x", "y"}}, true);
  peer->head(1, {{":status", "200"}});
  settle();
  ASSERT_TRUE(call->head_ready());
  Result<Response> head = call->take_head();
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->status, 200);
  EXPECT_TRUE(head->headers.empty());
  call.reset();
  connect();
  start();
  for (int i = 0; i < 9; ++i) peer->head(1, {{":status", "103"}}, true);
  settle();
  EXPECT_EQ(head_error()->kind(), ErrorKind::kProtocol);
}

TEST_F(BadServer, CannotSendTrailersLargerThanAHead) {
  connect();
  start();
  peer->head(1, {{":status", "200"}}, true);
  FieldList trailers;
  for (int i = 0; i < 200; ++i) trailers.emplace_back("x", "y");
  peer->head(1, trailers);
  settle();
  ASSERT_TRUE(call->head_ready());
  ASSERT_TRUE(call->take_head().ok());
}

TEST_F(BadServer, IsAskedForNoMoreThanItAllows) {
  connect();
  settle();
  EXPECT_EQ(client->connection()->capacity(), 1000u);  // It allows any number; we do not.
  const nghttp2_settings_entry two[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}};
  nghttp2_submit_settings(peer->session(), NGHTTP2_FLAG_NONE, two, 1);
  peer->send();
  settle();
  EXPECT_EQ(client->connection()->capacity(), 2u);
  start();
  EXPECT_EQ(client->connection()->capacity(), 1u);
  const int before = client->capacity_calls;
  peer->head(1, {{":status", "200"}});
  settle();
  EXPECT_EQ(client->connection()->capacity(), 2u);
  EXPECT_GT(client->capacity_calls, before);
}

}  // namespace
}  // namespace glia
