#include "proxy/http/syntax.h"

#include <algorithm>

#include "proxy/base/text.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace glia {
namespace {

using namespace syntax_detail;

constexpr std::size_t kLongestHost = 255;  // bytes, RFC 1035 section 2.3.4

bool all_in(std::string_view text, uint8_t byte_class) {
  return std::ranges::all_of(text, [byte_class](char c) {
    return (kByteClasses[static_cast<uint8_t>(c)] & byte_class) != 0;
  });
}

bool is_port(std::string_view text) {
  const auto port = text.size() <= 5 ? parse_decimal(text) : std::nullopt;
  return port && *port >= 1 && *port <= 65535;
}

bool is_ipv6_byte(char c) { return is_digit(c) || one_of(c, "abcdefABCDEF:."); }

constexpr std::string_view kHopByHop[] = {
    "connection", "http2-settings",    "keep-alive", "proxy-connection",
    "te",         "transfer-encoding", "upgrade"};

constexpr std::string_view kProtected[] = {
    "authorization",       "client-cert",    "client-cert-chain",
    "content-encoding",    "content-length", "content-range",
    "content-type",        "cookie",         "expect",
    "forwarded",           "host",           "max-forwards",
    "proxy-authorization", "set-cookie",     "trailer",
    "transfer-encoding",   "x-real-ip",      "x-request-id"};
constexpr std::string_view kProtectedPrefixes[] = {"x-envoy-", "x-forwarded-", "x-glia-"};

}  // namespace

const char* find_control(const char* at, const char* end) {
#if defined(__SSE2__)
  const __m128i last_control = _mm_set1_epi8(0x1f);
  const __m128i tab = _mm_set1_epi8('\t');
  const __m128i del = _mm_set1_epi8(0x7f);
  for (; end - at >= 16; at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
    const __m128i bad =
        _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low), _mm_cmpeq_epi8(bytes, del));
    const int mask = _mm_movemask_epi8(bad);
    if (mask != 0) return at + __builtin_ctz(static_cast<unsigned>(mask));
  }
#endif
  for (; at != end; ++at) {
    const auto byte = static_cast<uint8_t>(*at);
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return at;
  }
  return end;
}

std::string escaped_value(std::string_view text) {
  std::string escaped;
  for (const char& c : text) {
    const bool fits = find_control(&c, &c + 1) != &c;
    fits ? escaped.push_back(c) : append_escaped(escaped, c);
  }
  return escaped;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return name_byte(c) != 0; });
}

bool is_method(std::string_view text) {
  return !text.empty() && text.size() <= kLongestMethod && all_in(text, kInMethod);
}

bool is_idempotent_method(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" ||
         method == "PUT" || method == "DELETE";
}

bool is_path(std::string_view text) {
  if (text.empty() || text[0] != '/') return false;
  const std::size_t query = std::min(text.find('?'), text.size());
  return all_in(text.substr(0, query), kInPath) && all_in(text.substr(query), kInQuery);
}

namespace {

// The byte at the front of `path`, an escape decoded once, a backslash as '/'; takes it off.
char next_path_byte(std::string_view& path) {
  char c = path.front();
  std::size_t size = 1;
  if (c == '%' && path.size() >= 3) {
    const std::string digits = to_lower(path.substr(1, 2));
    size = 3;
    if (digits == "2e")
      c = '.';
    else if (digits == "2f" || digits == "5c")
      c = '/';
    else if (digits == "3b")
      c = ';';
    else
      size = 1;
  }
  path.remove_prefix(size);
  return c == '\\' ? '/' : c;
}

}  // namespace

bool has_dot_segment(std::string_view path) {
  if (path.find("/.") == path.npos && path.find('%') == path.npos) return false;
  std::size_t dots = 0;  // Of a segment that is nothing but dots so far.
  bool only_dots = false;
  while (!path.empty()) {
    const char c = next_path_byte(path);
    const bool ends = c == '/' || c == ';';
    if (ends && only_dots && (dots == 1 || dots == 2)) return true;
    if (c == '/') dots = 0;
    only_dots = c == '/' || (only_dots && c == '.');
    dots += c == '.';
  }
  return only_dots && (dots == 1 || dots == 2);
}

bool is_authority(std::string_view text) {
  std::size_t host_size;
  if (text.starts_with('[')) {
    host_size = text.find(']');
    if (host_size == std::string_view::npos || host_size < 3) return false;
    if (!std::ranges::all_of(text.substr(1, host_size - 1), is_ipv6_byte)) return false;
    if (text.substr(1, host_size - 1).find(':') == std::string_view::npos) return false;
    ++host_size;
  } else {
    host_size = std::min(text.find(':'), text.size());
    if (host_size == 0 || host_size > kLongestHost) return false;
    if (!all_in(text.substr(0, host_size), kInHost)) return false;
  }
  if (host_size == text.size()) return true;
  return text[host_size] == ':' && is_port(text.substr(host_size + 1));
}

std::string_view host_of(std::string_view authority) {
  const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  return authority.substr(0, authority.find(':', bracket));
}

bool is_hop_by_hop(std::string_view lower_name) {
  return std::ranges::find(kHopByHop, lower_name) != std::end(kHopByHop);
}

bool is_protected(std::string_view lower_name) {
  return std::ranges::find(kProtected, lower_name) != std::end(kProtected) ||
         std::ranges::any_of(kProtectedPrefixes, [lower_name](std::string_view prefix) {
           return lower_name.starts_with(prefix);
         });
}

bool is_forwarded_trailer(std::string_view lower_name) {
  if (is_protected(lower_name)) return false;
  return lower_name.starts_with("grpc-") || lower_name.starts_with("x-") ||
         lower_name == "content-digest" || lower_name == "repr-digest" ||
         lower_name == "server-timing";
}

bool imitates_protected(std::string_view lower_name) {
  std::string dashed(lower_name);
  std::ranges::replace(dashed, '_', '-');
  return is_protected(dashed) || is_hop_by_hop(dashed);
}

}  // namespace glia
