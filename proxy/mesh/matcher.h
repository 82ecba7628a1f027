// Matchers: small finished predicates over text, headers, addresses and numbers, shared by routes and
// policies. Built once when a snapshot is frozen; asking them allocates nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/http/headers.h"
#include "proxy/net/address.h"

namespace re2 {
class RE2;
}

namespace glia {

// envoy.type.matcher.v3.StringMatcher.
class TextMatcher {
 public:
  enum class Kind : uint8_t { kExact, kPrefix, kSuffix, kContains, kRegex };
  // kRegex: RE2 syntax, the whole text must match; an error names the position.
  static Result<TextMatcher> create(Kind kind, std::string pattern, bool ignore_case = false);
  static TextMatcher exact(std::string text);

  bool matches(std::string_view text) const;
  Kind kind() const { return kind_; }
  const std::string& pattern() const { return pattern_; }
  bool ignore_case() const { return ignore_case_; }

 private:
  TextMatcher(Kind kind, std::string pattern, bool ignore_case)
      : pattern_(std::move(pattern)), kind_(kind), ignore_case_(ignore_case) {}
  std::string pattern_;  // Lower case if ignore_case_.
  std::shared_ptr<const re2::RE2> regex_;
  Kind kind_;
  bool ignore_case_;
};

// envoy.type.matcher.v3.RegexMatchAndSubstitute: every match of a pattern gives way to a text, in
// which \1 to \9 stand for what the groups matched and \0 for all of it.
class TextRewrite {
 public:
  static Result<TextRewrite> create(std::string pattern, std::string substitution);

  std::string apply(std::string_view text) const;
  const std::string& pattern() const { return pattern_; }
  const std::string& substitution() const { return substitution_; }

 private:
  TextRewrite(std::string pattern, std::string substitution)
      : pattern_(std::move(pattern)), substitution_(std::move(substitution)) {}
  std::string pattern_, substitution_;
  std::shared_ptr<const re2::RE2> regex_;
};

// envoy.config.route.v3.HeaderMatcher. Several fields of one name are joined with ",". The
// pseudo-fields :method, :path, :authority and :scheme can be named too.
struct HeaderMatcher {
  std::string name;                  // Lower case.
  std::optional<TextMatcher> value;  // Nothing: only presence counts.
  struct Range {
    int64_t start, end;  // [start, end)
  };
  std::optional<Range> range;
  bool present = true;  // With neither value nor range: must (not) be there.
  bool invert = false;
  bool missing_is_empty = false;  // A missing field is matched as "".
};

// envoy.config.core.v3.CidrRange.
class CidrRange {
 public:
  static Result<CidrRange> create(std::string_view prefix, uint32_t bits);
  bool contains(const Address& address) const;
  std::string text() const;  // "10.0.0.0/8"
  uint32_t bits() const { return bits_; }
  friend bool operator==(const CidrRange&, const CidrRange&) = default;

 private:
  std::string bytes_;  // 4 or 16, network order, host bits zero.
  uint32_t bits_ = 0;
};

struct Request;
bool matches(const HeaderMatcher& matcher, const Request& request);
// The path without its query and fragment.
std::string_view path_of(const Request& request);

}  // namespace glia
