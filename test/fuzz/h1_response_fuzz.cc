// HTTP/1.1 responses: whatever an upstream sends is refused or read to one end, and what passes can
// be sent on.
#include <cstdint>

#include "proxy/base/check.h"
#include "proxy/base/text.h"
#include "proxy/http/h1_body.h"
#include "proxy/http/h1_parser.h"
#include "proxy/http/h1_writer.h"
#include "proxy/http/syntax.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace glia;
  if (size == 0) return 0;
  const std::string_view method = (data[0] & 1) != 0 ? "GET" : "HEAD";
  const std::string all(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string_view bytes = all;
  HttpLimits limits;
  H1ResponseParser parser(limits);
  Response response(ArenaRef::create());
  parser.begin(response, method);
  if (parser.feed(bytes) != H1HeadParser::State::kDone) return 0;
  CHECK(response.status >= 100 && response.status <= 599 && response.status != 101);
  for (const Field& field : response.headers.fields()) {
    CHECK(is_token(field.name) && is_value(field.value));
    CHECK(!is_hop_by_hop(field.name) && field.name != "content-length");
  }
  H1BodyDecoder decoder(limits);
  const H1Framing framing = parser.framing();
  decoder.begin(framing, response.headers.arena_ref());
  Slice input = Slice::copy(bytes);
  GatherQueue body;
  const auto state = decoder.decode(input, body);
  CHECK(state == H1BodyDecoder::State::kError || decoder.ended() || input.empty());
  if (framing.kind == H1Framing::Kind::kLength) CHECK(body.size() <= framing.length);
  if (response.status < 200) return 0;
  // What is written for it is a response again.
  ByteQueue out;
  write_head(out, response, framing_of(response, method), method, AfterThis::kKeepAlive);
  std::string written;
  while (!out.empty()) written += out.pop_slice().view();
  H1ResponseParser again(limits);
  Response copy(ArenaRef::create());
  again.begin(copy, method);
  std::string_view view = written;
  const auto reread = again.feed(view);
  // The framing that we add may be what makes it too large.
  CHECK(reread == H1HeadParser::State::kDone || again.refusal().status == 431);
  if (reread != H1HeadParser::State::kDone) return 0;
  // The writer takes "host" out of everything: where a request goes is not a field.
  CHECK(copy.headers.size() == response.headers.size() - response.headers.count("host"));
  return 0;
}
