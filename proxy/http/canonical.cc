#include "proxy/http/canonical.h"

#include <algorithm>
#include <optional>
#include <string>

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr std::string_view kDotSegment =
    "the path has a segment \".\" or \"..\", which applications read in different ways; send the "
    "path that is meant";
constexpr std::string_view kBrokenEscape =
    "the path holds a '%' without two hexadecimal digits behind it; write \"%25\" for a percent "
    "sign";
constexpr std::string_view kNul = "the path holds \"%00\", where applications may end it";
constexpr std::string_view kEscapedSlash =
    "the path holds an escaped slash, which applications read in different ways "
    "(path_with_escaped_slashes_action)";

bool is_unreserved(char c) {
  using namespace syntax_detail;
  return is_digit(c) || is_upper(c) || is_lower(c) || one_of(c, "-._~");
}

struct Decoded {
  std::string path;
  std::string_view fault;
  bool slashes = false;  // Escaped ones were found.
};

// One pass over the escapes; '%' itself is never decoded, so nothing is decoded twice.
Decoded decode_escapes(std::string_view path, EscapedSlashes action) {
  Decoded decoded;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      decoded.path += path[i];
      continue;
    }
    const auto escaped = escaped_byte(path.substr(i));
    if (!escaped) return {.fault = kBrokenEscape};
    const char byte = static_cast<char>(*escaped);
    if (byte == 0) return {.fault = kNul};
    const bool slash = byte == '/' || byte == '\\';
    decoded.slashes = decoded.slashes || slash;
    if (slash && action == EscapedSlashes::kReject) return {.fault = kEscapedSlash};
    if (is_unreserved(byte)) {
      decoded.path += byte;
    } else if (slash && action != EscapedSlashes::kKeep) {
      decoded.path += '/';
    } else {
      append_escaped(decoded.path, byte);
    }
    i += 2;
  }
  return decoded;
}

// RFC 3986 section 5.2.4; above the root is the root.
std::string without_dots(std::string_view path) {
  std::string out;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view segment = path.substr(at, end - at);
    const bool last = end == path.size();
    at = end + 1;
    if (segment == "..") out.resize(std::min(out.rfind('/'), out.size()));
    if (segment != "." && segment != "..") {
      out += cat('/', segment);
    } else if (last) {
      out += '/';
    }
  }
  return out;
}

std::string with_single_slashes(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || !out.ends_with('/')) out += c;
  }
  return out;
}

}  // namespace

CanonicalPath canonical_path(std::string_view target, const PathRules& rules, Arena& arena) {
  const std::string_view path = target.substr(0, target.find('?'));
  const bool escapes = path.find('%') != path.npos;
  const bool dots = path.find("/.") != path.npos;
  const bool slashes = rules.merge_slashes && path.find("//") != path.npos;
  if (!escapes && !dots && !slashes) return {.path = target};
  Decoded decoded = decode_escapes(path, rules.escaped_slashes);
  if (!decoded.fault.empty()) return {.path = target, .fault = decoded.fault};
  if (rules.resolve_dots) decoded.path = without_dots(decoded.path);
  if (rules.merge_slashes) decoded.path = with_single_slashes(decoded.path);
  // Also those that only some applications would see: "..;a=b", "..%2F".
  if (has_dot_segment(decoded.path)) return {.path = target, .fault = kDotSegment};
  if (decoded.path == path) return {.path = target};
  return {.path = arena.copy(cat(decoded.path, target.substr(path.size()))),
          .redirect = decoded.slashes && rules.escaped_slashes == EscapedSlashes::kRedirect};
}

std::string_view usual_port(std::string_view scheme) {
  if (scheme.empty()) return "";
  return scheme == "https" ? ":443" : ":80";
}

std::string_view canonical_authority(std::string_view authority, std::string_view scheme,
                                     Arena& arena) {
  std::string_view host = host_of(authority);
  const std::string_view port = authority.substr(host.size());  // With its colon.
  while (host.size() > 1 && host.ends_with('.')) host.remove_suffix(1);
  std::string_view number = port.substr(std::min<std::size_t>(1, port.size()));
  while (number.size() > 1 && number.front() == '0') number.remove_prefix(1);
  const bool named = !port.empty() && (scheme.empty() || number != usual_port(scheme).substr(1));
  const bool lower = std::ranges::none_of(host, syntax_detail::is_upper);
  const std::size_t size = host.size() + (named ? 1 + number.size() : 0);
  if (lower && size == authority.size()) return authority;
  return arena.copy(named ? cat(to_lower(host), ':', number) : to_lower(host));
}

}  // namespace glia
