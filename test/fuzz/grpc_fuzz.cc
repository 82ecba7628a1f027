// Any bytes as gRPC: frames, however they are cut, the deadline and the message text.
#include <cstdint>
#include <vector>

#include "proxy/base/check.h"
#include "proxy/http/grpc.h"
#include "proxy/http/syntax.h"

namespace {

using namespace glia;

constexpr std::size_t kMost = 1000;  // bytes of one message

struct Cut {
  std::vector<std::string> messages;
  bool failed = false;
  friend bool operator==(const Cut&, const Cut&) = default;
};

Cut cut(std::string_view bytes, std::size_t step) {
  GrpcDecoder decoder(kMost);
  Cut cut;
  while (!bytes.empty() && !cut.failed) {
    decoder.add(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    for (;;) {
      Result<std::optional<std::string>> message = decoder.next();
      if (!message) cut.failed = true;
      if (!message || !*message) break;
      CHECK((*message)->size() <= kMost);
      cut.messages.push_back(std::move(**message));
    }
  }
  return cut;
}

void check_text(std::string_view text) {
  const std::string encoded = encode_grpc_message(text);
  CHECK(is_value(encoded));
  CHECK(decode_grpc_message(encoded) == text);
  if (const auto timeout = parse_grpc_timeout(text)) {
    CHECK(*timeout >= Duration::zero());
    const auto again = parse_grpc_timeout(format_grpc_timeout(*timeout));
    CHECK(again && *again <= *timeout);  // What is passed on is never longer.
  }
  (void)parse_grpc_status(text);
  (void)decode_grpc_message(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  CHECK(cut(bytes, std::max<std::size_t>(1, bytes.size())) == cut(bytes, 1 + data[0] % 8));
  check_text(bytes);
  return 0;
}
