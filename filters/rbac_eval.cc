#include "filters/rbac_eval.h"

#include <algorithm>
#include <charconv>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::size_t kLongestShownPath = 200;  // bytes, in a refusal
constexpr std::size_t kMostShownPolicies = 8;

// A field that comes several times can be read as the joined list or as any one of its values, and
// nobody knows which the application takes. So a rule that lets a request through must hold for every
// reading, and a rule that keeps one out for any (checklist G6, CVE-2026-26308). A "not" turns one
// into the other.
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

bool header_matches(const HeaderMatcher& matcher, const Request& request, Reading reading) {
  const bool joined = matches(matcher, request);
  const bool decided = joined == (reading == Reading::kAny);
  if (decided || request.headers.count(matcher.name) < 2) return joined;
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
    case RbacRule::Kind::kAny:
      return true;
    case RbacRule::Kind::kAll:
      return std::ranges::all_of(rule.children, child_holds);
    case RbacRule::Kind::kEither:
      return std::ranges::any_of(rule.children, child_holds);
    case RbacRule::Kind::kNot:
      return !holds(rule.children.front(), input, opposite(reading));
    case RbacRule::Kind::kHeader:
      return header_matches(*rule.header, input.request, reading);
    case RbacRule::Kind::kPath:
      return rule.text->matches(input.path);
    case RbacRule::Kind::kDestinationPort:
      return input.connection.local.port() == rule.port;
    case RbacRule::Kind::kDestinationIp:
      return rule.cidr->contains(input.connection.local);
    case RbacRule::Kind::kServerName:
      return rule.text->matches(input.connection.tls != nullptr
                                    ? std::string_view(input.connection.tls->server_name)
                                    : std::string_view());
    case RbacRule::Kind::kAuthenticated:
      return authenticated(rule, input.connection.tls);
    case RbacRule::Kind::kSourceIp:
      return rule.cidr->contains(input.connection.remote);
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

}  // namespace

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

std::string refusal_sentence(const RbacRules& rules, const RbacVerdict& verdict,
                             const RbacInput& input) {
  const std::string what = cat(caller(input.connection), " to ", input.request.method, ' ',
                               input.path.substr(0, kLongestShownPath),
                               input.path.size() > kLongestShownPath ? "..." : "");
  const std::string policy = refusing_policy(rules, verdict);
  if (verdict.policy != nullptr) return cat("policy ", policy, " does not allow ", what);
  return cat("no policy allows ", what, " (looked at: ", policy, ')');
}

}  // namespace glia
