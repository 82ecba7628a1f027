// Any bytes as a PROXY header: the verdict is the same however they are cut, nothing beyond the limit
// is waited for, and what was understood can be written and is then read as the same.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "proxy/base/check.h"
#include "proxy/net/proxy_protocol.h"

namespace {

using glia::ProxyHeader;
using State = glia::ProxyHeader::State;

bool same(const ProxyHeader& a, const ProxyHeader& b) {
  return a.state == b.state && a.size == b.size && a.source == b.source &&
         a.destination == b.destination;
}

void check_written(const ProxyHeader& header) {
  CHECK(header.source.has_value() == header.destination.has_value());
  if (!header.source) return;
  for (const auto version : {glia::ProxyVersion::kV1, glia::ProxyVersion::kV2}) {
    const std::string written =
        glia::write_proxy_header(version, *header.source, *header.destination);
    const ProxyHeader again = glia::read_proxy_header(written);
    CHECK(again.state == State::kComplete && again.size == written.size());
    // Of two families nothing can be said in one header.
    if (header.source->family() != header.destination->family()) continue;
    CHECK(again.source == header.source && again.destination == header.destination);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const ProxyHeader whole = glia::read_proxy_header(bytes);
  if (whole.state == State::kNeedMore) CHECK(bytes.size() < glia::kLongestProxyHeader);
  if (whole.state == State::kComplete) {
    CHECK(whole.size <= bytes.size() && whole.size <= glia::kLongestProxyHeader);
    CHECK(same(glia::read_proxy_header(bytes.substr(0, whole.size)), whole));
    check_written(whole);
  }
  State before = State::kNeedMore;
  for (std::size_t i = 0; i < std::min<std::size_t>(size, 300); ++i) {
    const State now = glia::read_proxy_header(bytes.substr(0, i)).state;
    if (before != State::kNeedMore) CHECK(now == before);
    before = now;
  }
  if (before != State::kNeedMore) CHECK(whole.state == before);
  return 0;
}
