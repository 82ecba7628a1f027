// The alphabet of HTTP: which bytes may stand in a name, a value, a path or a host, and which
// fields belong to a hop, to framing or to identity.
//
// Both codecs ask here, so a message means the same on HTTP/1.1 and HTTP/2. Where an RFC leaves a
// choice, the strict side is taken.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/base/text.h"

namespace glia {

namespace syntax_detail {

constexpr bool one_of(char c, std::string_view set) {
  return set.find(c) != std::string_view::npos;
}
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }

// Per byte: its lower-case form if it may stand in a field name (RFC 9110 section 5.6.2), else 0.
constexpr std::array<char, 256> kNameBytes = [] {
  std::array<char, 256> table{};
  for (int i = 0; i < 128; ++i) {
    const char c = static_cast<char>(i);
    if (is_digit(c) || is_lower(c) || one_of(c, "!#$%&'*+-.^_`|~")) table[i] = c;
    if (is_upper(c)) table[i] = static_cast<char>(c + 32);
  }
  return table;
}();

enum ByteClass : uint8_t { kInPath = 1, kInQuery = 2, kInHost = 4, kInMethod = 8 };

// A path takes what RFC 3986 allows and the '|', '^', '[' and ']' that browsers send as they are; a
// query also takes '\', '`', '{' and '}' (WHATWG URL, query percent-encode set). '#', '"', '<',
// '>', space, control bytes and bytes above 0x7e never pass (checklist B15).
constexpr std::array<uint8_t, 256> kByteClasses = [] {
  std::array<uint8_t, 256> table{};
  for (int i = 0x21; i < 0x7f; ++i) {
    const char c = static_cast<char>(i);
    uint8_t classes = 0;
    if (!one_of(c, "\"<>\\`{}#")) classes |= kInPath;
    if (!one_of(c, "\"<>#")) classes |= kInQuery;
    if (is_digit(c) || is_upper(c) || is_lower(c) || one_of(c, "-._~")) classes |= kInHost;
    if (is_upper(c) || c == '-') classes |= kInMethod;
    table[i] = classes;
  }
  return table;
}();

}  // namespace syntax_detail

// The lower-case form of a byte of a field name, or 0 if it may not stand there.
inline char name_byte(char c) { return syntax_detail::kNameBytes[static_cast<uint8_t>(c)]; }

// The first byte in [at, end) that may not stand in a field value: a control byte other than tab
// (RFC 9110 section 5.5).
const char* find_control(const char* at, const char* end);

inline bool is_value(std::string_view text) {
  return find_control(text.data(), text.data() + text.size()) == text.data() + text.size();
}
bool is_token(std::string_view text);
// `text` with each byte that may not stand in a value as "%0A": names from configuration and from
// certificates may hold any byte, and none of them may add a field of its own.
std::string escaped_value(std::string_view text);
// Calls `visit` with each member of a comma-separated list, until it returns false.
template <class Visit>
void for_each_member(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (!visit(trim(list.substr(0, comma)))) return;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

// Methods are upper-case letters and '-', at most kLongestMethod bytes: "get" is not GET, and no
// policy would match it.
inline constexpr std::size_t kLongestMethod = 32;  // bytes
bool is_method(std::string_view text);
// Sent twice, such a request has the effect of one (RFC 9110 section 9.2.2).
bool is_idempotent_method(std::string_view method);

// Begins with '/', and each byte may stand in a path or, after '?', in a query.
bool is_path(std::string_view text);
// Whether `path` (without query) has a segment "." or "..", also spelled with escapes, with an
// escaped or backward slash beside it, or with ";parameters" behind it. Some origins resolve such a
// path and some do not, so no route and no policy could know what it will mean.
bool has_dot_segment(std::string_view path);
// A DNS name, an IPv4 address or a bracketed IPv6 address, with an optional port from 1 to 65535.
// No user information, no empty host, no percent-encoding.
bool is_authority(std::string_view text);
// The part of an authority before its port.
std::string_view host_of(std::string_view authority);

// Fields about one connection: connection, keep-alive, proxy-connection, te, transfer-encoding,
// upgrade, http2-settings (RFC 9110 section 7.6.1).
bool is_hop_by_hop(std::string_view lower_name);
// Fields that say who sends, to whom, or where the message ends. They cannot be made hop-by-hop
// with Connection, spelled with '_' for '-', or sent as trailers (checklist A20, A35, B18).
bool is_protected(std::string_view lower_name);
// A trailer that is passed on: grpc-*, x-* and digests, unless protected.
bool is_forwarded_trailer(std::string_view lower_name);
// Whether `lower_name` with '-' for each '_' would be a protected or hop-by-hop name, as CGI-like
// origins read it. Needs a name with at least one '_'.
bool imitates_protected(std::string_view lower_name);

}  // namespace glia
