// One HTTP/2 connection, our client at one end and our server at the other.
#include <gtest/gtest.h>

#include "proxy/http/h2_test_support.h"

namespace glia {
namespace {

// What a call came to, as its user saw it.
struct Outcome {
  bool done = false;
  int status = 0;
  std::string body;
  std::string grpc_status;
  std::optional<Error> error;
};

Task<void> exchange(ClientConnection& connection, Request& request, Outcome& outcome) {
  std::unique_ptr<Call> call = connection.start(request);
  Result<Response> head = co_await head_of(*call);
  if (!head) {
    outcome.error = head.error();
    outcome.done = true;
    co_return;
  }
  outcome.status = head->status;
  while (true) {
    Body::Piece piece = co_await next(*call);
    outcome.body += piece.data.view();
    if (piece.state == Body::State::kError) outcome.error = call->error();
    if (piece.state == Body::State::kError || piece.state == Body::State::kEnd) break;
  }
  if (const Headers* trailers = call->trailers()) {
    outcome.grpc_status = trailers->get("grpc-status").value_or("");
  }
  outcome.done = true;
}

Task<void> echo(ServerStream& stream) {
  Response response = make_response(200);
  response.body = std::move(stream.request().body);
  const Sent sent = co_await stream.respond(std::move(response));
  (void)sent;
}

class Http2 : public ::testing::Test {
 protected:
  void serve(FunctionService::Function function) {
    service_.emplace(std::move(function));
    server.emplace(loop, *service_);
  }
  void connect() {
    pipe.emplace(loop);
    server->accept(pipe->end(1));
    client.connect(pipe->end(0));
    turn_until([&] { return client.connected > 0; });
  }
  template <class Condition>
  bool turn_until(Condition condition, Duration step = Duration::zero()) {
    for (int i = 0; i < 10000 && !condition(); ++i) loop.turn(step);
    return condition();
  }
  void settle() {
    for (int i = 0; i < 50; ++i) loop.turn(Duration::zero());
  }
  // One call from start to end.
  Outcome call(Request& request) {
    Outcome outcome;
    Task<void> task = exchange(*client.connection(), request, outcome);
    task.start();
    EXPECT_TRUE(turn_until([&] { return outcome.done; }));
    return outcome;
  }

  EventLoop loop{std::make_unique<VirtualTime>()};
  std::optional<FunctionService> service_;
  std::optional<TestServer> server;
  TestClient client{loop};
  std::optional<Pipe> pipe;
};

TEST_F(Http2, CarriesARequestAndItsResponse) {
  std::string seen;
  serve([&seen](ServerStream& stream) -> Task<void> {
    const Request& request = stream.request();
    seen = cat(request.method, ' ', request.scheme, ' ', request.authority, ' ', request.path, ' ',
               request.headers.get("x-a").value_or("?"), ' ', request.trailers_accepted, ' ',
               request.body == nullptr);
    return [](ServerStream& s) -> Task<void> {
      (void)co_await s.respond(make_response(201, "hello"));
    }(stream);
  });
  connect();
  Request request = make_request("GET", "/a?b");
  request.headers.add("x-a", "1");
  request.trailers_accepted = true;
  const Outcome outcome = call(request);
  EXPECT_EQ(seen, "GET http example.com /a?b 1 true true");
  EXPECT_EQ(outcome.status, 201);
  EXPECT_EQ(outcome.body, "hello");
  EXPECT_FALSE(outcome.error);
  settle();
  EXPECT_EQ(server->stats.requests, 1u);
  EXPECT_EQ(server->stats.requests_active, 0u);
  EXPECT_EQ(client.stats.requests_active, 0u);
  EXPECT_EQ(server->stats.resets_sent + client.stats.resets_sent, 0u);
}

TEST_F(Http2, CarriesALargeBodyBothWays) {
  serve(echo);
  connect();
  std::string text;
  for (int i = 0; text.size() < 3'000'000; ++i) text += cat(i, ',');
  Request request = make_request("POST");
  request.body = std::make_unique<TextBody>(Slice::copy(text));
  const Outcome outcome = call(request);
  EXPECT_EQ(outcome.status, 200);
  EXPECT_TRUE(outcome.body == text);
}

TEST_F(Http2, EndsAResponseWithTrailersWithAndWithoutABody) {
  int calls = 0;
  serve([&](ServerStream& stream) -> Task<void> {
    auto body = std::make_unique<FedBody>(loop);
    if (calls++ > 0) body->feed("data");
    Headers trailers(stream.arena());
    trailers.add("grpc-status", "7");
    body->end(std::move(trailers));
    return [](ServerStream& s, std::unique_ptr<Body> b) -> Task<void> {
      Response response = make_response(200);
      response.body = std::move(b);
      (void)co_await s.respond(std::move(response));
    }(stream, std::move(body));
  });
  connect();
  for (const std::string_view body : {"", "data"}) {
    Request request = make_request("POST");
    const Outcome outcome = call(request);
    EXPECT_EQ(outcome.body, body);
    EXPECT_EQ(outcome.grpc_status, "7");
    EXPECT_FALSE(outcome.error);
  }
}

TEST_F(Http2, StopsAtTheWindowOfASlowReaderAndLetsItsNeighboursRun) {
  serve(echo);
  server->options.limits.stream_window = 64 * 1024;
  client.options.limits.stream_window = 64 * 1024;
  connect();
  // Nobody reads this response.
  Request slow = make_request("POST");
  auto owned = std::make_unique<FedBody>(loop);
  FedBody& slow_body = *owned;
  slow.body = std::move(owned);
  std::unique_ptr<Call> held = client.connection()->start(slow);
  slow_body.feed(std::string(4'000'000, 's'));
  settle();
  // The client's window is full; the server took as much as its own queue and window hold.
  EXPECT_LE(pipe->bytes_from(1), 70'000u);
  EXPECT_LE(pipe->bytes_from(0), 260'000u);
  for (int i = 0; i < 20; ++i) {
    Request request = make_request("POST");
    request.body = std::make_unique<TextBody>(Slice::copy(std::string(200'000, 'n')));
    EXPECT_EQ(call(request).body.size(), 200'000u);
  }
  // The reader wakes up: everything arrives.
  slow_body.end();
  uint64_t got = 0;
  Task<void> reader = [](Call& c, uint64_t& count) -> Task<void> {
    (void)co_await head_of(c);
    while (true) {
      const Body::Piece piece = co_await next(c);
      count += piece.data.size();
      if (piece.state == Body::State::kEnd || piece.state == Body::State::kError) co_return;
    }
  }(*held, got);
  reader.start();
  EXPECT_TRUE(turn_until([&] { return reader.done(); }));
  EXPECT_EQ(got, 4'000'000u);
}

TEST_F(Http2, GivesTheConnectionWindowBackWhenCallsAreDropped) {
  serve(echo);
  client.options.limits.stream_window = 60'000;
  client.options.limits.connection_window = 70'000;
  connect();
  for (int i = 0; i < 30; ++i) {
    Request request = make_request("POST");
    request.body = std::make_unique<TextBody>(Slice::copy(std::string(50'000, 'x')));
    std::unique_ptr<Call> dropped = client.connection()->start(request);
    settle();
    dropped.reset();
    settle();
  }
  Request request = make_request("POST");
  request.body = std::make_unique<TextBody>(Slice::copy(std::string(500'000, 'y')));
  EXPECT_EQ(call(request).body.size(), 500'000u);
}

TEST_F(Http2, DestroysTheServersTaskWhenTheCallIsDropped) {
  bool destroyed = false;
  serve([&](ServerStream& stream) -> Task<void> {
    return [](ServerStream&, std::shared_ptr<int> alive,
              EventLoop& l) -> Task<void> {
      (void)alive;
      co_await sleep_for(l, 100s);
    }(stream,
                            std::shared_ptr<int>(new int,
                                                 [&](int* p) {
                                                   destroyed = true;
                                                   delete p;
                                                 }),
                            loop);
  });
  connect();
  Request request = make_request();
  std::unique_ptr<Call> dropped = client.connection()->start(request);
  settle();
  EXPECT_EQ(server->stats.requests_active, 1u);
  dropped.reset();
  settle();
  EXPECT_TRUE(destroyed);
  EXPECT_EQ(server->stats.requests_active, 0u);
  EXPECT_EQ(server->stats.resets_received, 1u);
}

TEST_F(Http2, ResetsAStreamWhoseResponseBreaksOff) {
  serve([&](ServerStream& stream) -> Task<void> {
    return [](ServerStream& s, EventLoop& l) -> Task<void> {
      auto body = std::make_unique<FedBody>(l);
      body->feed("half");
      body->fail();
      Response response = make_response(200);
      response.body = std::move(body);
      const Sent sent = co_await s.respond(std::move(response));
      EXPECT_FALSE(sent.complete);
      EXPECT_TRUE(sent.error);
    }(stream, loop);
  });
  connect();
  Request request = make_request();
  const Outcome outcome = call(request);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->kind(), ErrorKind::kReset);
  EXPECT_EQ(outcome.error->fault(), Fault::kUpstream);
  EXPECT_EQ(outcome.error->retry(), Retry::kNo);
}

TEST_F(Http2, TellsTheCallerWhenItsOwnRequestBodyBreaksOff) {
  serve(echo);
  connect();
  Request request = make_request("POST");
  auto body = std::make_unique<FedBody>(loop);
  FedBody& fed = *body;
  request.body = std::move(body);
  Outcome outcome;
  Task<void> task = exchange(*client.connection(), request, outcome);
  task.start();
  fed.feed("some");
  settle();
  fed.fail();
  EXPECT_TRUE(turn_until([&] { return outcome.done; }));
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->fault(), Fault::kDownstream);
  settle();
  EXPECT_EQ(server->stats.requests_active, 0u);
}

TEST_F(Http2, StopsTheRequestWhenTheResponseIsComplete) {
  serve([](ServerStream& stream) -> Task<void> {
    (void)co_await stream.respond(make_response(413, "too much"));
  });
  connect();
  Request request = make_request("POST");
  auto body = std::make_unique<FedBody>(loop);
  body->feed("begin");
  request.body = std::move(body);
  const Outcome outcome = call(request);
  EXPECT_EQ(outcome.status, 413);
  EXPECT_EQ(outcome.body, "too much");
  EXPECT_FALSE(outcome.error);
  settle();
  EXPECT_EQ(client.connection()->active_calls(), 0u);
}

TEST_F(Http2, LetsStreamsFinishWhileItDrains) {
  FedBody* open_body = nullptr;
  serve([&](ServerStream& stream) -> Task<void> {
    auto body = std::make_unique<FedBody>(loop);
    open_body = body.get();
    return [](ServerStream& s, std::unique_ptr<Body> b) -> Task<void> {
      Response response = make_response(200);
      response.body = std::move(b);
      (void)co_await s.respond(std::move(response));
    }(stream, std::move(body));
  });
  connect();
  Request request = make_request();
  Outcome outcome;
  Task<void> task = exchange(*client.connection(), request, outcome);
  task.start();
  ASSERT_TRUE(turn_until([&] { return open_body != nullptr; }));
  server->connection()->drain();
  settle();
  EXPECT_EQ(client.connection()->capacity(), 0u);
  ASSERT_NE(server->connection(), nullptr);
  open_body->feed("last words");
  open_body->end();
  EXPECT_TRUE(turn_until([&] { return outcome.done; }));
  EXPECT_EQ(outcome.body, "last words");
  settle();
  EXPECT_EQ(server->connection(), nullptr);
  EXPECT_EQ(client.connection(), nullptr);
}

TEST_F(Http2, EndsADrainThatTheClientDoesNotAnswer) {
  serve(echo);
  connect();
  pipe->hold(0, true);  // Nothing of the client arrives any more.
  server->connection()->drain();
  EXPECT_TRUE(turn_until([&] { return server->connection() == nullptr; }, 500ms));
}

TEST_F(Http2, DrainsAfterTheLastRequestOfAConnection) {
  serve(echo);
  server->options.limits.requests_per_connection = 2;
  connect();
  for (int i = 0; i < 2; ++i) {
    Request request = make_request();
    EXPECT_EQ(call(request).status, 200);
  }
  settle();
  EXPECT_EQ(client.connection(), nullptr);
}

TEST_F(Http2, ClosesAConnectionThatIsIdle) {
  serve(echo);
  server->options.limits.idle_time = 60s;
  connect();
  Request request = make_request();
  EXPECT_EQ(call(request).status, 200);
  const TimePoint idle_from = loop.now();
  EXPECT_TRUE(turn_until([&] { return client.connection() == nullptr; }, 1s));
  EXPECT_GE(loop.now() - idle_from, Duration(59s));
  EXPECT_LE(loop.now() - idle_from, Duration(75s));
}

TEST_F(Http2, GivesUpAServerThatDoesNotAnswerAPing) {
  serve(echo);
  client.options.limits.keepalive_interval = 30s;
  client.options.limits.keepalive_timeout = 10s;
  connect();
  Request request = make_request("POST");
  request.body = std::make_unique<FedBody>(loop);  // A call that nobody ends.
  Outcome outcome;
  Task<void> task = exchange(*client.connection(), request, outcome);
  task.start();
  settle();
  const TimePoint quiet_from = loop.now();
  while (loop.now() < quiet_from + 3600s) loop.turn(1s);
  ASSERT_FALSE(outcome.done) << outcome.error->message();
  const uint64_t sent = pipe->bytes_from(0);
  // 17 bytes a PING, 9 of head and 8 of data; not more often than asked for.
  EXPECT_LE(sent, 3600 / 30 * 17 + 1000u);
  pipe->hold(1, true);
  const TimePoint silent_from = loop.now();
  EXPECT_TRUE(turn_until([&] { return outcome.done; }, 1s));
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->message(), "the upstream did not answer a PING in time");
  EXPECT_LE(loop.now() - silent_from, Duration(41s));
  EXPECT_EQ(outcome.error->fault(), Fault::kUpstream);
}

TEST_F(Http2, SendsNoPingUnlessAsked) {
  serve(echo);
  connect();
  Request request = make_request("POST");
  request.body = std::make_unique<FedBody>(loop);
  Outcome outcome;
  Task<void> task = exchange(*client.connection(), request, outcome);
  task.start();
  settle();
  const uint64_t sent = pipe->bytes_from(0);
  const TimePoint from = loop.now();
  while (loop.now() < from + 3600s) loop.turn(1s);
  EXPECT_EQ(pipe->bytes_from(0), sent);
}

TEST_F(Http2, AServerThatIsAskedToKeepAliveStillDrains) {
  serve(echo);
  server->options.limits.keepalive_interval = 1s;
  server->options.limits.keepalive_timeout = 1s;
  connect();
  const TimePoint from = loop.now();
  while (loop.now() < from + 60s) loop.turn(100ms);
  ASSERT_TRUE(client.usable());
  server->connection()->drain();
  EXPECT_TRUE(turn_until([&] { return client.connection() == nullptr; }, 1s));
}

TEST_F(Http2, AClientThatDrainsFinishesItsCallsFirst) {
  serve(echo);
  connect();
  Request request = make_request("POST");
  auto body = std::make_unique<FedBody>(loop);
  FedBody& fed = *body;
  request.body = std::move(body);
  Outcome outcome;
  Task<void> task = exchange(*client.connection(), request, outcome);
  task.start();
  settle();
  client.connection()->drain();
  EXPECT_EQ(client.connection()->capacity(), 0u);
  settle();
  fed.feed("abc");
  fed.end();
  EXPECT_TRUE(turn_until([&] { return outcome.done; }));
  EXPECT_EQ(outcome.body, "abc");
  settle();
  EXPECT_EQ(client.connection(), nullptr);
}

TEST_F(Http2, SaysThatACallWasNeverSent) {
  serve(echo);
  connect();
  Request request = make_request();
  Outcome outcome;
  Task<void> task = exchange(*client.connection(), request, outcome);
  task.start();
  pipe->kill();  // Before the turn in which it would have left.
  EXPECT_TRUE(turn_until([&] { return outcome.done; }));
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->retry(), Retry::kSafe);
}

}  // namespace
}  // namespace glia
