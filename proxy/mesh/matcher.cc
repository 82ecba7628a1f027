#include "proxy/mesh/matcher.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <re2/re2.h>

#include <algorithm>
#include <cstring>

#include "proxy/base/text.h"
#include "proxy/http/message.h"

namespace glia {

namespace {

// For the automaton that RE2 builds while it matches; one a pattern, so the default of 8 MiB would
// let a few hundred routes hold gigabytes.
constexpr int64_t kRegexMemory = 1 << 20;  // bytes

bool equal(std::string_view a, std::string_view b, bool ignore_case) {
  return ignore_case ? equal_no_case(a, b) : a == b;
}

bool contains_no_case(std::string_view text, std::string_view lower) {
  const auto same = [](char a, char b) { return to_lower(a) == b; };
  return std::search(text.begin(), text.end(), lower.begin(), lower.end(), same) != text.end() ||
         lower.empty();
}

Result<std::shared_ptr<const RE2>> compile(const std::string& pattern) {
  RE2::Options options(RE2::Quiet);
  options.set_max_mem(kRegexMemory);
  auto regex = std::make_shared<const RE2>(pattern, options);
  if (regex->ok()) return std::shared_ptr<const RE2>(std::move(regex));
  const std::size_t at = pattern.find(regex->error_arg());
  return invalid(cat("regular expression \"", pattern, "\" is wrong at character ",
                     at == pattern.npos ? 1 : at + 1, ": ", regex->error()));
}

}  // namespace

Result<TextMatcher> TextMatcher::create(Kind kind, std::string pattern, bool ignore_case) {
  if (kind != Kind::kRegex) {
    return TextMatcher(kind, ignore_case ? to_lower(pattern) : std::move(pattern), ignore_case);
  }
  TRY(auto regex, compile(pattern));
  TextMatcher matcher(kind, std::move(pattern), false);
  matcher.regex_ = std::move(regex);
  return matcher;
}

Result<TextRewrite> TextRewrite::create(std::string pattern, std::string substitution) {
  TRY(auto regex, compile(pattern));
  std::string wrong;
  if (!regex->CheckRewriteString(substitution, &wrong)) {
    return invalid(cat("substitution \"", substitution, "\" does not fit: ", wrong));
  }
  TextRewrite rewrite(std::move(pattern), std::move(substitution));
  rewrite.regex_ = std::move(regex);
  return rewrite;
}

std::string TextRewrite::apply(std::string_view text) const {
  std::string out(text);
  RE2::GlobalReplace(&out, *regex_, substitution_);
  return out;
}

TextMatcher TextMatcher::exact(std::string text) {
  return TextMatcher(Kind::kExact, std::move(text), false);
}

bool TextMatcher::matches(std::string_view text) const {
  const std::size_t size = pattern_.size();
  switch (kind_) {
    case Kind::kExact: return equal(text, pattern_, ignore_case_);
    case Kind::kPrefix:
      return text.size() >= size && equal(text.substr(0, size), pattern_, ignore_case_);
    case Kind::kSuffix:
      return text.size() >= size && equal(text.substr(text.size() - size), pattern_, ignore_case_);
    case Kind::kContains:
      return ignore_case_ ? contains_no_case(text, pattern_) : text.find(pattern_) != text.npos;
    case Kind::kRegex: return RE2::FullMatch(text, *regex_);
  }
  return false;
}

namespace {

// The value of a field, all of that name joined with ","; `joined` holds it if there are several.
std::optional<std::string_view> field_value(const Request& request, std::string_view name,
                                            std::string& joined) {
  if (name.starts_with(':')) {
    if (name == ":method") return request.method;
    if (name == ":path") return request.path;
    if (name == ":authority") return request.authority;
    if (name == ":scheme") return request.scheme;
    return {};
  }
  if (name == "host") return request.authority;
  std::optional<std::string_view> value;
  for (const Field& field : request.headers.fields()) {
    if (field.name != name) continue;
    if (!value) {
      value = field.value;
      continue;
    }
    if (joined.empty()) joined = *value;
    joined += ',';
    joined += field.value;
    value = joined;
  }
  return value;
}

bool in_range(const HeaderMatcher::Range& range, std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= range.start &&
         number < range.end;
}

}  // namespace

bool matches(const HeaderMatcher& matcher, const Request& request) {
  std::string joined;
  std::optional<std::string_view> value = field_value(request, matcher.name, joined);
  if (!value && matcher.missing_is_empty) value = "";
  if (!matcher.value && !matcher.range)
    return (value.has_value() == matcher.present) != matcher.invert;
  // A missing field has no value to compare, so inverting does not make it match (as in Envoy).
  if (!value) return false;
  const bool holds =
      matcher.value ? matcher.value->matches(*value) : in_range(*matcher.range, *value);
  return holds != matcher.invert;
}

std::string_view path_of(const Request& request) {
  const std::string_view path = request.path;
  return {path.begin(), std::ranges::find_if(path, [](char c) { return c == '?' || c == '#'; })};
}

namespace {

// The address in network order: 4 bytes for IPv4 and for IPv4 inside IPv6, else 16; "" for others.
std::string_view ip_bytes(const Address& address) {
  if (address.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.raw());
    return {reinterpret_cast<const char*>(&v4->sin_addr), 4};
  }
  if (address.family() != AF_INET6) return {};
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.raw());
  const auto* bytes = reinterpret_cast<const char*>(&v6->sin6_addr);
  if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) return {bytes + 12, 4};
  return {bytes, 16};
}

// The bits of byte `index` that belong to a prefix of `bits` bits.
unsigned char mask_of(std::size_t index, uint32_t bits) {
  if (bits >= 8 * (index + 1)) return 0xFF;
  if (bits <= 8 * index) return 0;
  return static_cast<unsigned char>(0xFF << (8 - (bits - 8 * index)));
}

}  // namespace

Result<CidrRange> CidrRange::create(std::string_view prefix, uint32_t bits) {
  CidrRange range;
  const std::string text(prefix);
  char bytes[16];
  const bool v4 = inet_pton(AF_INET, text.c_str(), bytes) == 1;
  if (!v4 && inet_pton(AF_INET6, text.c_str(), bytes) != 1) {
    return invalid(cat("\"", prefix, "\" is no IP address"));
  }
  range.bytes_.assign(bytes, v4 ? 4 : 16);
  if (bits > 8 * range.bytes_.size()) {
    return invalid(
        cat("prefix length ", bits, " of ", prefix, " is above ", 8 * range.bytes_.size()));
  }
  range.bits_ = bits;
  for (std::size_t i = 0; i < range.bytes_.size(); ++i) {
    range.bytes_[i] = static_cast<char>(range.bytes_[i] & mask_of(i, bits));
  }
  return range;
}

bool CidrRange::contains(const Address& address) const {
  const std::string_view bytes = ip_bytes(address);
  if (bytes.size() != bytes_.size()) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (static_cast<char>(bytes[i] & mask_of(i, bits_)) != bytes_[i]) return false;
  }
  return true;
}

std::string CidrRange::text() const {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(bytes_.size() == 4 ? AF_INET : AF_INET6, bytes_.data(), text, sizeof text);
  return cat(std::string_view(text), "/", bits_);
}

}  // namespace glia
