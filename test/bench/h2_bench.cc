// A request and its response over HTTP/2 in memory: our client, our server, nghttp2 twice, no
// kernel. The argument is how many requests share a turn. Target: below 20,000 instructions for
// both sides.
#include <benchmark/benchmark.h>

#include "proxy/http/h2_test_support.h"

namespace glia {
namespace {

Task<void> answer(ServerStream& stream) {
  Response response(stream.arena());
  response.status = 200;
  response.headers.add_kept("content-type", "application/json");
  response.headers.add_kept("server", "glia");
  response.headers.add_kept("date", "Sun, 22 Nov 2026 17:00:00 GMT");
  static const std::string text(128, 'x');
  response.body = std::make_unique<TextBody>(Slice::literal(text));
  (void)co_await stream.respond(std::move(response));
}

Task<void> ask(ClientConnection& connection, uint64_t number) {
  Request request(ArenaRef::create());
  request.method = "GET";
  request.scheme = "http";
  request.authority = "classify.default.svc.cluster.local";
  request.path = "/v2/models/classifier/infer";
  request.headers.add_kept("user-agent", "python-httpx/0.27.0");
  request.headers.add_kept("accept", "*/*");
  request.headers.add_kept("accept-encoding", "gzip, deflate");
  request.headers.add_kept("x-tenant", "search");
  request.headers.add_kept("x-request-id", request.headers.arena().copy(cat("id-", number)), true);
  const std::unique_ptr<Call> call = connection.start(request);
  const Result<Response> head = co_await head_of(*call);
  CHECK(head.ok() && head->status == 200);
  while (true) {
    const Body::Piece piece = co_await next(*call);
    if (piece.state == Body::State::kEnd) co_return;
    CHECK(piece.state == Body::State::kData);
  }
}

void RoundTrip(benchmark::State& state) {
  EventLoop loop(std::make_unique<VirtualTime>());
  FunctionService service(answer);
  TestServer server(loop, service);
  TestClient client(loop);
  Pipe pipe(loop);
  server.accept(pipe.end(1));
  client.connect(pipe.end(0));
  while (!client.usable()) loop.turn(Duration::zero());
  const auto at_once = static_cast<std::size_t>(state.range(0));
  std::vector<Task<void>> tasks(at_once);
  uint64_t number = 0;
  for (auto step : state) {
    for (auto& task : tasks) {
      task = ask(*client.connection(), ++number);
      task.start();
    }
    while (!std::ranges::all_of(tasks, [](const auto& task) { return task.done(); })) {
      loop.turn(Duration::zero());
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(number));
}
BENCHMARK(RoundTrip)->Arg(1)->Arg(8)->Arg(32);

void Body1MiB(benchmark::State& state) {
  EventLoop loop(std::make_unique<VirtualTime>());
  static const std::string text(1 << 20, 'x');
  FunctionService service([](ServerStream& stream) -> Task<void> {
    Response response(stream.arena());
    response.status = 200;
    response.body = std::make_unique<TextBody>(Slice::literal(text));
    (void)co_await stream.respond(std::move(response));
  });
  TestServer server(loop, service);
  TestClient client(loop);
  Pipe pipe(loop);
  server.accept(pipe.end(1));
  client.connect(pipe.end(0));
  while (!client.usable()) loop.turn(Duration::zero());
  uint64_t number = 0;
  for (auto step : state) {
    Task<void> task = ask(*client.connection(), ++number);
    task.start();
    while (!task.done()) loop.turn(Duration::zero());
  }
  state.SetBytesProcessed(static_cast<int64_t>(number << 20));
}
BENCHMARK(Body1MiB);

}  // namespace
}  // namespace glia
