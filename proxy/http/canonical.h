// Canonical: the one spelling of a path and of a host. Routing, policies, logs and the upstream all
// see it, so that no two of them can be told different things (RFC 3986 section 6.2.2, RFC 9110
// section 4.2.3; checklist G1-G5).
//
// Always: escapes of letters, digits and "-._~" are decoded, once; other escapes are written in
// upper case; a broken escape and "%00" are refused, and so is a segment "." or "..", unless dots
// are resolved. What is canonical stays as it is.
#pragma once

#include <cstdint>
#include <string_view>

#include "proxy/base/arena.h"

namespace glia {

// What is done with "%2F" and "%5C" in a path: some applications read a separator there, some do
// not.
enum class EscapedSlashes : uint8_t { kKeep, kReject, kRedirect, kForward };

// Envoy's normalize_path, merge_slashes and path_with_escaped_slashes_action.
struct PathRules {
  bool resolve_dots = false;
  bool merge_slashes = false;
  EscapedSlashes escaped_slashes = EscapedSlashes::kKeep;
  friend bool operator==(const PathRules&, const PathRules&) = default;
};

struct CanonicalPath {
  std::string_view path;  // With the query, which is never changed; in the arena if it is new.
  std::string_view
      fault;  // Why the path is refused: a sentence that lives for ever; "" if it is not.
  bool redirect = false;  // The client is to ask for `path` by itself.
};

// `path` begins with '/' and may have a query.
CanonicalPath canonical_path(std::string_view path, const PathRules& rules, Arena& arena);

// Lower case, without final dots, without the port that `scheme` takes for granted.
std::string_view canonical_authority(std::string_view authority, std::string_view scheme,
                                     Arena& arena);

// ":443" for https, ":80" for http; "" for none, as CONNECT has: its port is always said.
std::string_view usual_port(std::string_view scheme);

}  // namespace glia
