#include "proxy/xds/decode_rbac.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/xds/decode_common.h"

namespace glia {

namespace {

using Kind = RbacRule::Kind;

RbacRule with_text(Kind kind, std::optional<TextMatcher> text) {
  RbacRule rule;
  rule.kind = kind;
  rule.text = std::move(text);
  return rule;
}

RbacRule with_cidr(Kind kind, const Reader& range) {
  RbacRule rule;
  rule.kind = kind;
  rule.cidr = decode_cidr(range);
  return rule;
}

RbacRule with_header(const Reader& header) {
  RbacRule rule;
  rule.kind = Kind::kHeader;
  rule.header = decode_header_matcher(header);
  return rule;
}

RbacRule with_path(const Reader& url_path) {
  if (!url_path.has("path")) url_path.fail("needs path");
  return with_text(Kind::kPath, url_path.has("path") ? decode_text_matcher(url_path.message("path"))
                                                     : std::nullopt);
}

// A set (and_rules, or_ids, ...) under the repeated field `member`.
template <class Decode>
RbacRule with_children(Kind kind, const Reader& set, std::string_view member, Decode decode) {
  RbacRule rule;
  rule.kind = kind;
  set.each(member,
           [&](const Reader& child, std::size_t) { rule.children.push_back(decode(child)); });
  if (rule.children.empty()) set.fail(cat("needs at least one of ", member));
  return rule;
}

template <class Decode>
RbacRule negated(const Reader& child, Decode decode) {
  RbacRule rule;
  rule.kind = Kind::kNot;
  rule.children.push_back(decode(child));
  return rule;
}

// `any` set to false matches nothing sensible; Envoy refuses it too.
RbacRule anything(const Reader& owner) {
  if (!owner.flag("any")) owner.fail("any", "must be true");
  return {};
}

RbacRule never(const Reader& owner) {
  owner.accept_all();
  owner.fail("needs a rule that glia-proxy supports");
  return {};
}

RbacRule decode_permission(const Reader& p) {
  if (p.has("any")) return anything(p);
  if (p.has("and_rules"))
    return with_children(Kind::kAll, p.message("and_rules"), "rules", decode_permission);
  if (p.has("or_rules"))
    return with_children(Kind::kEither, p.message("or_rules"), "rules", decode_permission);
  if (p.has("not_rule")) return negated(p.message("not_rule"), decode_permission);
  if (p.has("header")) return with_header(p.message("header"));
  if (p.has("url_path")) return with_path(p.message("url_path"));
  if (p.has("destination_ip")) return with_cidr(Kind::kDestinationIp, p.message("destination_ip"));
  if (p.has("requested_server_name")) {
    return with_text(Kind::kServerName, decode_text_matcher(p.message("requested_server_name")));
  }
  if (p.has("destination_port")) {
    RbacRule rule;
    rule.kind = Kind::kDestinationPort;
    rule.port = static_cast<uint16_t>(p.number("destination_port", 0, 65535));
    return rule;
  }
  return never(p);
}

RbacRule decode_principal(const Reader& p) {
  if (p.has("any")) return anything(p);
  if (p.has("and_ids"))
    return with_children(Kind::kAll, p.message("and_ids"), "ids", decode_principal);
  if (p.has("or_ids"))
    return with_children(Kind::kEither, p.message("or_ids"), "ids", decode_principal);
  if (p.has("not_id")) return negated(p.message("not_id"), decode_principal);
  if (p.has("header")) return with_header(p.message("header"));
  if (p.has("url_path")) return with_path(p.message("url_path"));
  if (p.has("direct_remote_ip")) return with_cidr(Kind::kPeerIp, p.message("direct_remote_ip"));
  // Both are the client's address; no field of a request is trusted to change it here.
  for (const std::string_view field : {"remote_ip", "source_ip"}) {
    if (p.has(field)) return with_cidr(Kind::kSourceIp, p.message(field));
  }
  if (p.has("authenticated")) {
    const Reader authenticated = p.message("authenticated");
    if (!authenticated.has("principal_name")) return with_text(Kind::kAuthenticated, {});
    return with_text(Kind::kAuthenticated,
                     decode_text_matcher(authenticated.message("principal_name")));
  }
  return never(p);
}

std::optional<RbacRules> decode_rules(const Reader& rbac) {
  if (!rbac.present()) return {};
  RbacRules rules;
  const std::string action = rbac.choice("action");
  if (action == "DENY")
    rules.action = RbacRules::Action::kDeny;
  else if (action != "ALLOW")
    rbac.fail("action", cat(action, " is not supported by glia-proxy"));
  rbac.each_in_map("policies", [&](const std::string& name, const Reader& policy) {
    RbacPolicy decoded{.name = name};
    policy.each("permissions", [&](const Reader& permission, std::size_t) {
      decoded.permissions.push_back(decode_permission(permission));
    });
    policy.each("principals", [&](const Reader& principal, std::size_t) {
      decoded.principals.push_back(decode_principal(principal));
    });
    if (decoded.permissions.empty()) policy.fail("has no permissions, so it would never match");
    if (decoded.principals.empty()) policy.fail("has no principals, so it would never match");
    rules.policies.push_back(std::move(decoded));
  });
  std::ranges::sort(rules.policies, {}, &RbacPolicy::name);
  return rules;
}

}  // namespace

std::shared_ptr<const RbacConfig> decode_rbac(const Reader& filter) {
  auto config = std::make_shared<RbacConfig>();
  config->rules = decode_rules(filter.message("rules"));
  config->shadow = decode_rules(filter.message("shadow_rules"));
  return config;
}

namespace {

// A rule about a request can never hold for a connection: in a policy that keeps people out it
// would silently let everybody in.
void refuse_request_rules(const Reader& rbac, const RbacRule& rule, std::string_view policy) {
  if (rule.kind == Kind::kHeader || rule.kind == Kind::kPath) {
    rbac.fail(cat("policy ", policy, " asks for a header or path, which a TCP connection lacks"));
  }
  for (const RbacRule& child : rule.children) refuse_request_rules(rbac, child, policy);
}

}  // namespace

std::shared_ptr<const RbacConfig> decode_network_rbac(const Reader& filter) {
  filter.accept("stat_prefix");
  filter.only("enforcement_type", std::string_view("ONE_TIME_ON_FIRST_BYTE"));
  auto config = std::make_shared<RbacConfig>();
  for (const std::string_view field : {"rules", "shadow_rules"}) {
    const Reader rules = filter.message(field);
    std::optional<RbacRules> decoded = decode_rules(rules);
    if (!decoded) continue;
    for (const RbacPolicy& policy : decoded->policies) {
      for (const auto* list : {&policy.permissions, &policy.principals}) {
        for (const RbacRule& rule : *list) refuse_request_rules(rules, rule, policy.name);
      }
    }
    (field == "rules" ? config->rules : config->shadow) = std::move(decoded);
  }
  return config;
}

std::shared_ptr<const RbacConfig> decode_rbac_per_route(const Reader& per_route) {
  return decode_rbac(per_route.message("rbac"));
}

}  // namespace glia
