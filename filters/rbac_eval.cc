#include "filters/rbac_eval.h"

#include <algorithm>
#include <charconv>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::size_t kLongestShownPath = 200;  // bytes, in a refusal
constexpr std::size_t kMostShownPolicies = 8;

// A field that comes several times can be read as the joined list or as any one of its values, a path
// with escapes or dot segments in several ways, and nobody knows which the application takes. So a rule
// that lets a request through must hold for every reading, and a rule that keeps one out for any
// (checklist G1, G2, G6; CVE-2021-29492, CVE-2026-26308). A "not" turns one into the other.
enum class Reading : uint8_t { kEvery, kAny };

Reading opposite(Reading reading) {
  return reading == Reading::kEvery ? Reading::kAny : Reading::kEvery;
}

bool value_matches(const HeaderMatcher& matcher, std::string_view value) {
  bool holds = matcher.present;
  if (matcher.value) {
    holds = matcher.value->matches(value);
  } else if (matcher.range) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    holds = error == std::errc() && end == value.data() + value.size() &&
            number >= matcher.range->start && number < matcher.range->end;
  }
  return holds != matcher.invert;
}

bool path_matches(const TextMatcher& matcher, const RbacInput& input, Reading reading) {
  const bool as_sent = matcher.matches(input.path);
  if (reading == Reading::kEvery) return as_sent && matcher.matches(input.plain_path);
  std::string_view without_slash = input.plain_path;
  if (without_slash.size() > 1 && without_slash.ends_with('/')) without_slash.remove_suffix(1);
  return as_sent || matcher.matches(input.plain_path) || matcher.matches(without_slash);
}

bool header_matches(const HeaderMatcher& matcher, const RbacInput& input, Reading reading) {
  const Request& request = input.request;
  const bool joined = matches(matcher, request);
  const bool decided = joined == (reading == Reading::kAny);
  if (decided) return joined;
  if (matcher.name == ":path" && input.plain_path != input.path) {
    return value_matches(matcher, cat(input.plain_path, request.path.substr(input.path.size())));
  }
  if (request.headers.count(matcher.name) < 2) return joined;
  const auto holds = [&](const Field& field) {
    return field.name == matcher.name && value_matches(matcher, field.value);
  };
  const auto fails = [&](const Field& field) {
    return field.name == matcher.name && !value_matches(matcher, field.value);
  };
  return reading == Reading::kAny ? std::ranges::any_of(request.headers.fields(), holds)
                                  : std::ranges::none_of(request.headers.fields(), fails);
}

// URI SANs if the certificate has any, else its DNS SANs, else its subject.
bool authenticated(const RbacRule& rule, const TlsInfo* tls) {
  if (tls == nullptr || !tls->peer_certificate) return false;
  if (!rule.text) return true;
  const auto matches = [&](const std::string& name) { return rule.text->matches(name); };
  if (!tls->peer_uri_sans.empty()) return std::ranges::any_of(tls->peer_uri_sans, matches);
  if (!tls->peer_dns_sans.empty()) return std::ranges::any_of(tls->peer_dns_sans, matches);
  return matches(tls->peer_subject);
}

bool holds(const RbacRule& rule, const RbacInput& input, Reading reading) {
  const auto child_holds = [&](const RbacRule& child) { return holds(child, input, reading); };
  switch (rule.kind) {
    case RbacRule::Kind::kAny: return true;
    case RbacRule::Kind::kAll: return std::ranges::all_of(rule.children, child_holds);
    case RbacRule::Kind::kEither: return std::ranges::any_of(rule.children, child_holds);
    case RbacRule::Kind::kNot: return !holds(rule.children.front(), input, opposite(reading));
    case RbacRule::Kind::kHeader: return header_matches(*rule.header, input, reading);
    case RbacRule::Kind::kPath: return path_matches(*rule.text, input, reading);
    case RbacRule::Kind::kDestinationPort: return input.connection.local.port() == rule.port;
    case RbacRule::Kind::kDestinationIp: return rule.cidr->contains(input.connection.local);
    case RbacRule::Kind::kServerName: return rule.text->matches(requested_name(input.connection));
    case RbacRule::Kind::kAuthenticated: return authenticated(rule, input.connection.tls);
    case RbacRule::Kind::kSourceIp: return rule.cidr->contains(input.connection.remote);
    case RbacRule::Kind::kPeerIp: {
      const Preamble* preamble = input.connection.preamble;
      const bool named = preamble != nullptr && preamble->peer;
      return rule.cidr->contains(named ? *preamble->peer : input.connection.remote);
    }
  }
  CHECK(!"unknown kind of rule");
}

std::string_view caller(const ConnectionInfo& connection) {
  const TlsInfo* tls = connection.tls;
  if (tls == nullptr || !tls->peer_certificate) return "a caller without a certificate";
  if (!tls->peer_uri_sans.empty()) return tls->peer_uri_sans.front();
  if (!tls->peer_dns_sans.empty()) return tls->peer_dns_sans.front();
  return tls->peer_subject;
}

// Decodes once. An escaped '?', '#' or NUL ends the path for those who decode first and split later.
std::string decoded(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const auto byte = escaped_byte(path);
    if (!byte) {
      out += path.front();
      path.remove_prefix(1);
      continue;
    }
    path.remove_prefix(3);
    if (*byte == '?' || *byte == '#' || *byte == 0) break;
    // The overlong UTF-8 form of an ASCII byte: "%c0%ae" is '.' to some.
    const auto second = escaped_byte(path);
    const bool overlong = (*byte == 0xC0 || *byte == 0xC1) && second && (*second & 0xC0) == 0x80;
    out += static_cast<char>(overlong ? (*byte & 1) << 6 | (*second & 0x3F) : *byte);
    if (overlong) path.remove_prefix(3);
  }
  return out;
}

// False for nearly every path: nothing is escaped, no segment is empty or begins with a dot.
bool may_have_other_readings(std::string_view path) {
  char before = 0;
  for (const char c : path) {
    if (c == '%' || c == '\\' || c == ';') return true;
    if (before == '/' && (c == '/' || c == '.')) return true;
    before = c;
  }
  return false;
}

}  // namespace

std::optional<std::string> plain_path(std::string_view path) {
  if (!may_have_other_readings(path)) return {};
  std::string text = decoded(path);
  std::ranges::replace(text, '\\', '/');
  std::string plain;
  bool final_slash = true;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('/', at), text.size());
    std::string_view segment = std::string_view(text).substr(at, end - at);
    segment = segment.substr(0, segment.find(';'));
    at = end + 1;
    final_slash = segment.empty() || segment == "." || segment == "..";
    if (segment == "..") plain.resize(std::min(plain.rfind('/'), plain.size()));
    if (!final_slash) plain += cat('/', segment);
  }
  if (final_slash) plain += '/';
  if (plain == path) return {};
  return plain;
}

RbacVerdict evaluate(const RbacRules& rules, const RbacInput& input) {
  const bool allow = rules.action == RbacRules::Action::kAllow;
  const Reading reading = allow ? Reading::kEvery : Reading::kAny;
  const auto rule_holds = [&](const RbacRule& rule) { return holds(rule, input, reading); };
  for (const RbacPolicy& policy : rules.policies) {
    if (std::ranges::any_of(policy.permissions, rule_holds) &&
        std::ranges::any_of(policy.principals, rule_holds)) {
      return {allow, &policy};
    }
  }
  return {!allow, nullptr};
}

RbacOutcome judge(const RbacConfig& config, const RbacInput& input, RbacCounts& counts) {
  RbacOutcome outcome;
  if (config.shadow) {
    const RbacVerdict shadow = evaluate(*config.shadow, input);
    ++(shadow.allowed ? counts.shadow_allowed : counts.shadow_denied);
    if (!shadow.allowed) outcome.policy = cat("shadow: ", refusing_policy(*config.shadow, shadow));
  }
  if (!config.rules) return outcome;
  outcome.verdict = evaluate(*config.rules, input);
  ++(outcome.verdict.allowed ? counts.allowed : counts.denied);
  if (!outcome.verdict.allowed) outcome.policy = refusing_policy(*config.rules, outcome.verdict);
  return outcome;
}

void RbacCounts::collect(MetricsPage& page, std::string_view prefix, const Labels& labels) const {
  page.counter(cat(prefix, "allowed"), labels, allowed);
  page.counter(cat(prefix, "denied"), labels, denied);
  page.counter(cat(prefix, "shadow_allowed"), labels, shadow_allowed);
  page.counter(cat(prefix, "shadow_denied"), labels, shadow_denied);
}

std::string refusing_policy(const RbacRules& rules, const RbacVerdict& verdict) {
  if (verdict.policy != nullptr) return verdict.policy->name;
  if (rules.policies.empty()) return "none";
  std::string names;
  for (std::size_t i = 0; i < rules.policies.size(); ++i) {
    if (i == kMostShownPolicies) return cat(names, " and ", rules.policies.size() - i, " more");
    if (i > 0) names += ", ";
    names += rules.policies[i].name;
  }
  return names;
}

namespace {

std::string refusal(const RbacRules& rules, const RbacVerdict& verdict, const std::string& what) {
  const std::string policy = refusing_policy(rules, verdict);
  if (verdict.policy != nullptr) return cat("policy ", policy, " does not allow ", what);
  return cat("no policy allows ", what, " (looked at: ", policy, ')');
}

}  // namespace

std::string refusal_sentence(const RbacRules& rules, const RbacVerdict& verdict,
                             const RbacInput& input) {
  const std::string what = cat(caller(input.connection), " to ", input.request.method, ' ',
                               input.path.substr(0, kLongestShownPath),
                               input.path.size() > kLongestShownPath ? "..." : "");
  return refusal(rules, verdict, what);
}

std::string refusal_sentence(const RbacRules& rules, const RbacVerdict& verdict,
                             const ConnectionInfo& connection) {
  return refusal(rules, verdict,
                 cat(caller(connection), " from ", connection.remote.text(), " to connect to ",
                     connection.local.text()));
}

}  // namespace glia
