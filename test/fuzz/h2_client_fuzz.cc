// Any bytes as an HTTP/2 server: what it answers to two requests of ours. Both calls must end when
// the server is gone, and a response that is taken must be what the grammar allows.
#include <cstdint>

#include "proxy/base/check.h"
#include "proxy/http/h2_test_support.h"
#include "proxy/http/syntax.h"
#include "test/fuzz/frames.h"

namespace {

using namespace glia;

Task<void> call(ClientConnection& connection, Request& request) {
  const std::unique_ptr<Call> call = connection.start(request);
  const Result<Response> head = co_await head_of(*call);
  if (!head) co_return;
  CHECK(head->status >= 200 && head->status <= 999);
  for (const Field& field : head->headers.fields()) {
    CHECK(is_token(field.name) && is_value(field.value));
    CHECK(!is_hop_by_hop(field.name) && field.name != "content-length");
  }
  (void)co_await read_all(*call, 1 << 16);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size == 0 || size > kMostFuzzBytes) return 0;
  EventLoop loop(std::make_unique<VirtualTime>());
  TestClient client(loop);
  Pipe pipe(loop);
  client.connect(pipe.end(0));
  std::unique_ptr<Stream> server = pipe.end(1);
  for (int i = 0; i < 10 && !client.usable(); ++i) loop.turn(Duration::zero());
  if (!client.usable()) return 0;
  Request get = make_request(), post = make_request("POST");
  post.body = std::make_unique<TextBody>(Slice::copy("hello"));
  Task<void> first = call(*client.connection(), get), second;
  first.start();
  if (client.usable()) {
    second = call(*client.connection(), post);
    second.start();
  }
  const bool begun = (data[0] & 1) != 0;
  play(loop, std::move(server), cat(begun ? kEmptySettings : "", text_of(data + 1, size - 1)),
       data[0]);
  for (int i = 0; i < 400 && client.connection() != nullptr; ++i) loop.turn(1s);
  CHECK(client.connection() == nullptr);
  CHECK(first.done());
  CHECK(client.stats.requests_active == 0);
  return 0;
}
