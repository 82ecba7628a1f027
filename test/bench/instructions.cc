// instructions SCENARIO COUNT: work for callgrind, which counts its instructions; instructions.py takes
// the difference of two counts, so that start-up cancels out.
//
// Everything is in memory and in virtual time, so that a run is the same every time. The kernel's work
// is not seen. What stands around the measured code (a client, an upstream, the pipes between them) is
// counted as well: the figures are for comparing one commit with the next.
#include <cstdio>

#include "proxy/base/text.h"
#include "proxy/http/h2_test_support.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

Task<void> answer(ServerStream& stream) {
  Response response(stream.arena());
  response.status = 200;
  response.headers.add_kept("content-type", "application/json");
  response.headers.add_kept("server", "uvicorn");
  response.headers.add_kept("date", "Sun, 22 Nov 2026 17:00:00 GMT");
  static const std::string text(1024, 'x');
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
  request.headers.add_kept("x-request-id",
                           request.headers.arena().copy(cat("id-", 1'000'000 + number)), true);
  const std::unique_ptr<Call> call = connection.start(request);
  const Result<Response> head = co_await head_of(*call);
  CHECK(head.ok() && head->status == 200);
  uint64_t bytes = 0;
  for (;;) {
    const Body::Piece piece = co_await next(*call);
    if (piece.state == Body::State::kEnd) break;
    CHECK(piece.state == Body::State::kData);
    bytes += piece.data.size();
  }
  CHECK(bytes == 1024);
}

// Keeps a connection until it is over.
class Holder final : public ClientConnection::Owner, public ServerConnection::Owner {
 public:
  void on_connected(ClientConnection&) override { connected = true; }
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error&) override { CHECK(!"the client's end broke"); }
  void on_finished(ServerConnection&) override { CHECK(!"the server's end broke"); }
  bool connected = false;
};

// Our client and our server, `at_once` requests a turn.
void run_codec(Codec codec, std::size_t at_once, uint64_t count) {
  EventLoop loop(std::make_unique<VirtualTime>());
  FunctionService service(answer);
  Holder holder;
  ServerOptions server_options;
  server_options.codec = codec;
  ClientOptions client_options;
  client_options.codec = codec;
  HttpServerStats server_stats;
  HttpClientStats client_stats;
  Pipe pipe(loop);
  auto server = serve_http(loop, pipe.end(1), server_options, service, holder, server_stats);
  auto client = connect_http(loop, pipe.end(0), client_options, holder, client_stats);
  while (!holder.connected || client->capacity() == 0) loop.turn(Duration::zero());
  std::vector<Task<void>> tasks(at_once);
  for (uint64_t number = 0; number < count;) {
    for (auto& task : tasks) {
      task = ask(*client, ++number);
      task.start();
    }
    while (!std::ranges::all_of(tasks, [](const auto& task) { return task.done(); })) {
      loop.turn(Duration::zero());
    }
  }
}

std::shared_ptr<const RbacConfig> one_policy() {
  RbacRule method;
  method.kind = RbacRule::Kind::kHeader;
  method.header = HeaderMatcher{.name = ":method", .value = TextMatcher::exact("GET")};
  RbacRules rules{RbacRules::Action::kAllow, {{"readers", {method}, {RbacRule()}}}};
  return std::make_shared<RbacConfig>(RbacConfig{.rules = std::move(rules)});
}

enum class Chain : uint8_t { kBare, kSidecar };

// The whole proxy between a client and an upstream.
void run_proxy(Codec codec, Chain chain, uint64_t count) {
  SimWorld world(1);
  MeshWorld mesh(world, codec, codec);
  mesh.upstream("10.0.1.1").replies(200, std::string(1024, 'x'));
  if (chain == Chain::kSidecar) {
    mesh.manager().filters = {{.name = "envoy.filters.http.rbac", .settings = one_policy()}};
    mesh.manager().access_logs = {{.path = "/dev/null"}};
  }
  mesh.start();
  for (uint64_t number = 0; number < count; ++number) {
    ClientRequest request;
    request.path = "/v2/models/classifier/infer";
    request.headers = {
        {"user-agent", "python-httpx/0.27.0"}, {"accept", "*/*"}, {"x-tenant", "search"}};
    const Answer got = mesh.send(std::move(request));
    CHECK(got.status == 200 && got.body.size() == 1024);
  }
}

bool run(std::string_view scenario, uint64_t count) {
  if (scenario == "http1-codec") {
    run_codec(Codec::kHttp1, 1, count);
  } else if (scenario == "http2-codec-1") {
    run_codec(Codec::kHttp2, 1, count);
  } else if (scenario == "http2-codec-8") {
    run_codec(Codec::kHttp2, 8, count);
  } else if (scenario == "http1-proxy") {
    run_proxy(Codec::kHttp1, Chain::kBare, count);
  } else if (scenario == "http2-proxy") {
    run_proxy(Codec::kHttp2, Chain::kBare, count);
  } else if (scenario == "http1-sidecar") {
    run_proxy(Codec::kHttp1, Chain::kSidecar, count);
  } else if (scenario == "http2-sidecar") {
    run_proxy(Codec::kHttp2, Chain::kSidecar, count);
  } else {
    return false;
  }
  return true;
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) {
  const auto count = argc == 3 ? glia::parse_decimal(argv[2]) : std::nullopt;
  if (count && glia::run(argv[1], *count)) return 0;
  std::fputs("usage: instructions SCENARIO COUNT\n", stderr);
  return 2;
}
