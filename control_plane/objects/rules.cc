#include "control_plane/objects/rules.h"

#include <arpa/inet.h>
#include <re2/re2.h>

#include <algorithm>
#include <cctype>

#include "proxy/base/text.h"

namespace glia {

namespace {

constexpr std::size_t kMaxLabel = 63, kMaxSubdomain = 253, kMaxPortName = 15;
constexpr std::size_t kMaxTrustDomain = 255, kMaxSpiffeId = 2048;
constexpr std::size_t kMaxHeaderName = 256, kMaxHeaderValue = 4096;
constexpr std::size_t kMaxPath = 1024, kMaxRegex = 1024;
constexpr int64_t kRegexMemory = 1 << 20;  // Bytes that RE2 may use for one program.

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool lower_or_digit(char c) { return lower(c) || digit(c); }
bool letter_or_digit(char c) { return lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLabel && lower_or_digit(text.front()) &&
         lower_or_digit(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
           return lower_or_digit(c) || c == '-';
         });
}

bool is_subdomain(std::string_view text) {
  if (text.empty() || text.size() > kMaxSubdomain) return false;
  while (true) {
    const std::size_t dot = text.find('.');
    if (!is_label(text.substr(0, dot))) return false;
    if (dot == text.npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// Kubernetes' "qualified name" part: letters, digits, '-', '_', '.', the ends alphanumeric.
bool is_qualified(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLabel && letter_or_digit(text.front()) &&
         letter_or_digit(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
           return letter_or_digit(c) || c == '-' || c == '_' || c == '.';
         });
}

bool is_trust_domain(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTrustDomain &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return lower_or_digit(c) || c == '.' || c == '-' || c == '_'; });
}

bool is_spiffe_id(std::string_view text) {
  if (!text.starts_with("spiffe://") || text.size() > kMaxSpiffeId) return false;
  text.remove_prefix(9);
  std::size_t slash = text.find('/');
  if (slash == text.npos || !is_trust_domain(text.substr(0, slash))) return false;
  while (slash != text.npos) {
    text.remove_prefix(slash + 1);
    slash = text.find('/');
    const std::string_view segment = text.substr(0, slash);
    const bool good = !segment.empty() && segment != "." && segment != ".." &&
                      std::all_of(segment.begin(), segment.end(), [](char c) {
                        return letter_or_digit(c) || c == '.' || c == '-' || c == '_';
                      });
    if (!good) return false;
  }
  return true;
}

Wrong unless(bool good, std::string_view sentence) {
  if (good) return {};
  return std::string(sentence);
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  constexpr std::size_t kMaxParts = 4, kMaxDigits = 5;
  Duration sum{0};
  std::size_t parts = 0;
  while (!text.empty()) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto number = parse_decimal(text.substr(0, digits));
    if (!number || digits > kMaxDigits || ++parts > kMaxParts) return {};
    text.remove_prefix(digits);
    const std::size_t letters = std::min(text.find_first_of("0123456789"), text.size());
    const std::string_view unit = text.substr(0, letters);
    text.remove_prefix(letters);
    const auto count = static_cast<int64_t>(*number);
    if (unit == "h")
      sum += std::chrono::hours(count);
    else if (unit == "m")
      sum += std::chrono::minutes(count);
    else if (unit == "s")
      sum += std::chrono::seconds(count);
    else if (unit == "ms")
      sum += std::chrono::milliseconds(count);
    else
      return {};
  }
  if (parts == 0) return {};
  return sum;
}

Wrong check_label_name(std::string_view text) {
  return unless(is_label(text),
                "must be 1 to 63 lower-case letters, digits and '-', with a letter "
                "or digit at both ends");
}

Wrong check_service_name(std::string_view text) {
  return unless(is_label(text) && lower(text.front()),
                "must be 1 to 63 lower-case letters, digits and '-', beginning with a letter and "
                "ending with a letter or digit");
}

Wrong check_subdomain_name(std::string_view text) {
  return unless(is_subdomain(text),
                "must be lower-case letters, digits, '-' and '.', with a letter "
                "or digit at both ends of each part");
}

Wrong check_port_name(std::string_view text) {
  const bool good = is_label(text) && text.size() <= kMaxPortName && text.find("--") == text.npos &&
                    std::any_of(text.begin(), text.end(), lower);
  return unless(good,
                "must be 1 to 15 lower-case letters, digits and single '-', with at least one "
                "letter");
}

Wrong check_label_key(std::string_view text) {
  const std::size_t slash = text.find('/');
  const bool good = slash == text.npos ? is_qualified(text)
                                       : is_subdomain(text.substr(0, slash)) &&
                                             is_qualified(text.substr(slash + 1));
  return unless(good,
                "must be 1 to 63 letters, digits, '-', '_' and '.', with an optional domain "
                "and '/' before it");
}

Wrong check_label_value(std::string_view text) {
  return unless(text.empty() || is_qualified(text),
                "must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at "
                "both ends");
}

Wrong check_variable_name(std::string_view text) {
  const bool good =
      !text.empty() && !digit(text.front()) &&
      std::all_of(text.begin(), text.end(), [](char c) { return letter_or_digit(c) || c == '_'; });
  return unless(good, "must be letters, digits and '_', not beginning with a digit");
}

Wrong check_trust_domain(std::string_view text) {
  return unless(is_trust_domain(text),
                "must be 1 to 255 lower-case letters, digits, '.', '-' and '_', without spiffe://");
}

Wrong check_identity(std::string_view text) {
  const std::size_t slash = text.find('/');
  const bool scoped =
      slash != text.npos && is_label(text.substr(0, slash)) && is_label(text.substr(slash + 1));
  return unless(text == "*" || is_label(text) || scoped || is_spiffe_id(text),
                "must be an identity: name, namespace/name, a whole spiffe:// id, or \"*\" for any "
                "caller that has a certificate of this mesh");
}

Wrong check_ip(std::string_view text) {
  unsigned char bytes[16];
  const std::string whole(text);
  return unless(inet_pton(AF_INET, whole.c_str(), bytes) == 1 ||
                    inet_pton(AF_INET6, whole.c_str(), bytes) == 1,
                "must be an IP address such as 127.0.1.3 or fd00::3 (names are not resolved here)");
}

Wrong check_reachable_ip(std::string_view text) {
  if (auto wrong = check_ip(text)) return wrong;
  return unless(text != "0.0.0.0" && text != "::",
                "must be the address at which other sidecars reach this one");
}

Wrong check_hostname(std::string_view text) {
  return unless(is_subdomain(text) && check_ip(text),
                "must be a host name in lower case, without "
                "port or '*'");
}

Wrong check_header_name(std::string_view text) {
  constexpr std::string_view kPunctuation = "!#$%&'*+-.^_`|~";
  const bool good = !text.empty() && text.size() <= kMaxHeaderName &&
                    std::all_of(text.begin(), text.end(), [&](char c) {
                      return letter_or_digit(c) || kPunctuation.find(c) != kPunctuation.npos;
                    });
  return unless(good, "must be a header name: 1 to 256 letters, digits and \"!#$%&'*+-.^_`|~\"");
}

Wrong check_changed_header(std::string_view text) {
  if (auto wrong = check_header_name(text)) return wrong;
  if (equal_no_case(text, "host")) return "may not be changed here; use URLRewrite with hostname";
  for (const std::string_view name : {"connection", "content-length", "transfer-encoding", "te",
                                      "upgrade", "keep-alive", "proxy-connection"}) {
    if (equal_no_case(text, name)) return "must be a header that is not part of the HTTP framing";
  }
  return {};
}

Wrong check_header_value(std::string_view text) {
  const bool good =
      text.size() <= kMaxHeaderValue && std::none_of(text.begin(), text.end(), [](unsigned char c) {
        return (c < 0x20 && c != '\t') || c == 0x7F;
      });
  return unless(good, "must be at most 4096 characters without control characters");
}

Wrong check_path(std::string_view text) {
  if (!text.starts_with('/')) return "must begin with /";
  if (text.size() > kMaxPath) return "must be at most 1024 characters";
  for (const std::string_view bad : {"//", "/./", "/../", "%2f", "%2F", "#", "?", " "}) {
    if (text.find(bad) != text.npos) return cat("must be a path without \"", bad, "\"");
  }
  if (text.ends_with("/.") || text.ends_with("/..")) return "must not end with /. or /..";
  return {};
}

Wrong check_path_pattern(std::string_view text) {
  if (text == "*") return {};
  const std::string_view path = text.ends_with('*') ? text.substr(0, text.size() - 1) : text;
  if (path.find('*') != path.npos) return "must be a path, or a prefix with one * at its end";
  return check_path(path);
}

Wrong check_regex(std::string_view text) {
  if (text.empty() || text.size() > kMaxRegex) return "must be 1 to 1024 characters";
  RE2::Options options(RE2::Quiet);
  options.set_max_mem(kRegexMemory);
  const RE2 regex(re2::StringPiece(text.data(), text.size()), options);
  if (regex.ok()) return {};
  return cat("must be a regular expression in RE2 syntax (", regex.error(), ")");
}

}  // namespace glia
