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

}  // namespace
}  // namespace glia
