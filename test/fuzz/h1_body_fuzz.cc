// Bodies of HTTP/1.1: lengths, chunks and trailers, however they are cut into reads. The data that
// comes out is the same, and a body that was taken can be written and taken again.
#include <cstdint>

#include "proxy/base/check.h"
#include "proxy/http/h1_body.h"
#include "proxy/http/syntax.h"

namespace {

using namespace glia;

struct Taken {
  H1BodyDecoder::State state = H1BodyDecoder::State::kMore;
  std::string data;
  std::string rest;  // Behind the body.
  std::string trailers;
  friend bool operator==(const Taken&, const Taken&) = default;
};

Taken take(const H1Framing& framing, std::string_view bytes, std::size_t step) {
  const HttpLimits limits;
  H1BodyDecoder decoder(limits);
  decoder.begin(framing, ArenaRef::create());
  Taken taken;
  if (decoder.ended()) taken.state = H1BodyDecoder::State::kEnd;
  while (!bytes.empty() && taken.state == H1BodyDecoder::State::kMore) {
    Slice piece = Slice::copy(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    GatherQueue out;
    taken.state = decoder.decode(piece, out);
    while (!out.empty()) taken.data += out.pop().view();
    taken.rest = piece.view();
  }
  taken.rest += bytes;
  if (taken.state == H1BodyDecoder::State::kMore) taken.state = decoder.end_of_input();
  if (taken.state == H1BodyDecoder::State::kError) taken.rest.clear();  // Nobody may use it.
  if (taken.state != H1BodyDecoder::State::kEnd) return taken;
  if (const auto trailers = decoder.take_trailers()) {
    for (const Field& field : trailers->fields()) {
      CHECK(is_token(field.name) && is_value(field.value));
      CHECK(is_forwarded_trailer(field.name));
      taken.trailers += field.name;
    }
  }
  return taken;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  H1Framing framing;
  framing.kind = data[0] % 2 == 0 ? H1Framing::Kind::kChunked : H1Framing::Kind::kLength;
  framing.length = data[0] % 2 == 0 ? 0 : data[1] * 7u;
  const Taken whole = take(framing, bytes, std::max<std::size_t>(1, bytes.size()));
  const Taken pieces = take(framing, bytes, 1 + data[1] % 16);
  CHECK(whole.data == pieces.data);
  CHECK(whole.state == pieces.state);
  if (whole.state != H1BodyDecoder::State::kEnd) return 0;
  CHECK(whole == pieces);
  if (framing.kind == H1Framing::Kind::kLength) CHECK(whole.data.size() == framing.length);
  return 0;
}
