// Any text as a path, a host, a method or a field: what passes in HTTP/1.1 passes in HTTP/2 and
// means the same, and no byte that another parser could read differently is among it.
#include <algorithm>
#include <cstdint>

#include "proxy/base/check.h"
#include "proxy/http/syntax.h"

namespace {

bool any(std::string_view text, auto fits) { return std::ranges::any_of(text, fits); }

void check_path(std::string_view text) {
  if (!glia::is_path(text)) return;
  CHECK(text.front() == '/');
  CHECK(!any(text, [](unsigned char c) { return c <= ' ' || c >= 0x7f || c == '#'; }));
  const std::string_view path = text.substr(0, text.find('?'));
  CHECK(path.find('\\') == path.npos);
  // What has no such segment keeps having none when a segment is put behind it.
  if (path.find("..") == path.npos && path.find("/.") == path.npos && path.find('%') == path.npos) {
    CHECK(!glia::has_dot_segment(path));
  }
}

void check_authority(std::string_view text) {
  if (!glia::is_authority(text)) return;
  CHECK(!text.empty());
  CHECK(!any(text, [](unsigned char c) {
    return c <= ' ' || c >= 0x7f || c == '/' || c == '@' || c == '?' || c == '#' || c == '%';
  }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_path(text);
  check_authority(text);
  if (glia::is_method(text)) CHECK(glia::is_token(text) && text.size() <= glia::kLongestMethod);
  if (glia::is_value(text)) {
    CHECK(!any(text, [](unsigned char c) { return c == '\r' || c == '\n' || c == '\0'; }));
  }
  if (glia::is_token(text)) {
    CHECK(glia::is_value(text) && text.find(':') == text.npos && !text.empty());
    // A trailer that is passed on changes neither framing nor identity.
    if (glia::is_forwarded_trailer(text)) CHECK(!glia::is_protected(text));
  }
  return 0;
}
