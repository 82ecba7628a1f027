// Any bytes as the beginning of a connection: the verdict does not change when more arrive, and nothing
// beyond the limit is waited for.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "proxy/base/check.h"
#include "proxy/server/sniff.h"

namespace {

using glia::sniff;
using glia::Sniffed;

void check_same(const Sniffed& a, const Sniffed& b) {
  CHECK(a.kind == b.kind);
  if (a.kind != Sniffed::Kind::kTls) return;
  CHECK(a.hello.server_name == b.hello.server_name);
  CHECK(a.hello.application_protocols == b.hello.application_protocols);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Sniffed whole = sniff(bytes, /*tls=*/true, /*http=*/true);
  if (whole.kind == Sniffed::Kind::kNeedMore) CHECK(size < glia::kLargestHelloRecords);
  // At most 64 cuts, so that long inputs stay fast.
  const std::size_t step = std::max<std::size_t>(1, size / 64);
  for (std::size_t i = 0; i < size; i += step) {
    const Sniffed cut = sniff(bytes.substr(0, i), true, true);
    if (cut.kind != Sniffed::Kind::kNeedMore) return check_same(cut, whole), 0;
  }
  return 0;
}
