// Any bytes as an HTTP/2 client: the frame gate, HPACK and the streams behind them. The connection
// must end when the client is gone, with no request left, and what reached the service must be what
// the grammar allows.
#include <cstdint>

#include "proxy/base/check.h"
#include "proxy/http/h2_test_support.h"
#include "proxy/http/syntax.h"
#include "test/fuzz/frames.h"

namespace {

using namespace glia;

void check_request(const Request& request) {
  CHECK(is_method(request.method));
  CHECK(request.method == "CONNECT" || is_path(request.path) || request.path == "*");
  CHECK(is_authority(request.authority));
  const HttpLimits limits;
  CHECK(request.headers.size() <= limits.header_fields);
  for (const Field& field : request.headers.fields()) {
    CHECK(is_token(field.name) && is_value(field.value));
    CHECK(!is_hop_by_hop(field.name) && field.name != "content-length" && field.name != "host");
  }
}

Task<void> answer(ServerStream& stream) {
  check_request(stream.request());
  if (stream.request().body != nullptr) (void)co_await read_all(*stream.request().body, 1 << 16);
  (void)co_await stream.respond(make_response(200, "ok"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size == 0 || size > kMostFuzzBytes) return 0;
  EventLoop loop(std::make_unique<VirtualTime>());
  FunctionService service([](ServerStream& stream) { return answer(stream); });
  TestServer server(loop, service);
  Pipe pipe(loop);
  server.accept(pipe.end(1));
  // Half of the inputs need not find the preface first.
  const bool begun = (data[0] & 1) != 0;
  play(loop, pipe.end(0), cat(begun ? kClientPreface : "", text_of(data + 1, size - 1)), data[0]);
  for (int i = 0; i < 400 && server.connection() != nullptr; ++i) loop.turn(1s);
  CHECK(server.connection() == nullptr);
  CHECK(server.stats.connections_active == 0);
  CHECK(server.stats.requests_active == 0);
  return 0;
}
