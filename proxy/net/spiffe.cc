#include "proxy/net/spiffe.h"

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kScheme = "spiffe://";

bool domain_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}
bool path_character(char c) { return domain_character(c) || (c >= 'A' && c <= 'Z'); }

Error refused(std::string_view text, std::string_view why) {
  std::string shown;
  // An id may come from a peer's certificate: what is not printable is not repeated.
  append_json_escaped(shown, text.substr(0, 200));
  return invalid(cat("SPIFFE id \"", shown, "\": ", why));
}

// SPIFFE-ID 2.2: segments of letters, digits, '.', '-' and '_'; none empty, none "." or "..".
Result<void> check_path(std::string_view text, std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);  // The slash.
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment.empty()) return refused(text, "the path has an empty segment");
    if (segment == "." || segment == "..") return refused(text, "the path has a dot segment");
    if (!std::all_of(segment.begin(), segment.end(), path_character)) {
      return refused(text, "the path may hold letters, digits, '.', '-', '_' and '/' only");
    }
    path.remove_prefix(segment.size());
  }
  return {};
}

}  // namespace

Result<void> SpiffeId::check_trust_domain(std::string_view domain) {
  if (domain.empty() || domain.size() > kLongestTrustDomain) {
    return refused(domain, cat("a trust domain has 1 to ", kLongestTrustDomain, " bytes"));
  }
  if (!std::all_of(domain.begin(), domain.end(), domain_character)) {
    return refused(domain,
                   "a trust domain may hold lower-case letters, digits, '.', '-' and '_' only");
  }
  return {};
}

Result<SpiffeId> SpiffeId::parse(std::string_view text) {
  if (text.size() > kLongest) {
    return refused(text, cat("is longer than ", kLongest, " bytes"));
  }
  if (text.size() < kScheme.size() || !equal_no_case(text.substr(0, kScheme.size()), kScheme)) {
    return refused(text, "must begin with spiffe://");
  }
  const std::string_view rest = text.substr(kScheme.size());
  const std::string_view path = rest.substr(std::min(rest.find('/'), rest.size()));
  const std::string domain = to_lower(rest.substr(0, rest.size() - path.size()));
  if (Result<void> checked = check_trust_domain(domain); !checked.ok()) {
    return refused(text,
                   "the trust domain must be 1 to 255 letters, digits, '.', '-' and '_', "
                   "without user or port");
  }
  TRY_VOID(check_path(text, path));
  SpiffeId id;
  id.text_ = cat(kScheme, domain, path);
  id.path_at_ = kScheme.size() + domain.size();
  return id;
}

std::string_view SpiffeId::trust_domain() const {
  return std::string_view(text_).substr(kScheme.size(), path_at_ - kScheme.size());
}

std::string_view SpiffeId::path() const { return std::string_view(text_).substr(path_at_); }

}  // namespace glia
