// HTTP/1.1 requests: however the bytes are cut into reads, the same requests must come out of them,
// and what passes must be what the grammar allows.
#include <cstdint>
#include <cstdlib>

#include "proxy/base/check.h"
#include "proxy/http/h1_reader_test_support.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

std::vector<std::string> cut(std::string_view bytes, uint8_t how) {
  std::vector<std::string> pieces;
  uint32_t state = how + 1u;
  while (!bytes.empty()) {
    state = state * 1664525 + 1013904223;
    const std::size_t size =
        std::min<std::size_t>(bytes.size(), 1 + (state >> 24) % (how % 32 + 1));
    pieces.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return pieces;
}

void check_first_request(std::string_view bytes) {
  HttpLimits limits;
  H1RequestParser parser(limits);
  Request request(ArenaRef::create());
  request.scheme = "http";
  parser.begin(request);
  if (parser.feed(bytes) != H1HeadParser::State::kDone) return;
  CHECK(is_method(request.method));
  CHECK(is_authority(request.authority));
  CHECK(is_path(request.path) || request.path == "*");
  CHECK(request.headers.size() <= limits.header_fields);
  for (const Field& field : request.headers.fields()) {
    CHECK(is_token(field.name) && is_value(field.value));
    CHECK(field.name == to_lower(field.name));
    CHECK(!is_hop_by_hop(field.name) && field.name != "content-length" && field.name != "host");
  }
}

}  // namespace
}  // namespace glia

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace glia;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  check_first_request(bytes);
  H1Reader whole_reader;
  H1Reader cut_reader;
  const H1Outcome& whole = whole_reader.read({std::string(bytes)});
  const H1Outcome& pieces = cut_reader.read(cut(bytes, data[0]));
  CHECK(whole.served == pieces.served);
  CHECK(whole.heads == pieces.heads);
  CHECK(whole.bodies == pieces.bodies);
  CHECK(whole.trailers == pieces.trailers);
  // A cut line is only judged when it is complete.
  if (pieces.status != 0) CHECK(whole.status == pieces.status);
  return 0;
}
