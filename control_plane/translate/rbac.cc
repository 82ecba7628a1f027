#include "control_plane/translate/rbac.h"

#include <algorithm>

#include "control_plane/translate/pack.h"
#include "envoy/config/rbac/v3/rbac.pb.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb.h"
#include "envoy/extensions/filters/network/rbac/v3/rbac.pb.h"

namespace glia {

namespace {

namespace config = envoy::config::rbac::v3;
using Policy = AuthorizationPolicy;

// The rule tree is built of principals alone: they can look at method and path too, so that "any of
// these rules" needs one policy, whose name a refusal shows. Ports are settled here, by listener.
config::Principal never() {
  config::Principal none;
  none.mutable_not_id()->set_any(true);
  return none;
}

config::Principal caller(const ObjectSet& objects, const std::string& identity,
                         const std::string& ns) {
  config::Principal principal;
  auto* authenticated = principal.mutable_authenticated();
  if (identity == "*") {
    // Certificates of this mesh only: a trust bundle may hold other domains one day.
    authenticated->mutable_principal_name()->set_prefix("spiffe://" +
                                                        objects.mesh.spec.trust_domain + "/");
  } else {
    authenticated->mutable_principal_name()->set_exact(objects.spiffe_id(identity, ns));
  }
  return principal;
}

config::Principal method(const std::string& name) {
  config::Principal principal;
  principal.mutable_header()->set_name(":method");
  principal.mutable_header()->mutable_string_match()->set_exact(name);
  return principal;
}

config::Principal path(const std::string& pattern) {
  config::Principal principal;
  if (pattern == "*") {
    principal.set_any(true);
    return principal;
  }
  auto* match = principal.mutable_url_path()->mutable_path();
  if (pattern.ends_with('*'))
    match->set_prefix(pattern.substr(0, pattern.size() - 1));
  else
    match->set_exact(pattern);
  return principal;
}

// At least one of `some`; they are not empty.
config::Principal either(std::vector<config::Principal> some) {
  if (some.size() == 1) return std::move(some[0]);
  config::Principal principal;
  for (config::Principal& one : some) {
    *principal.mutable_or_ids()->add_ids() = std::move(one);
  }
  return principal;
}

// All of `all`; without any, everything.
config::Principal every(std::vector<config::Principal> all) {
  config::Principal principal;
  if (all.size() == 1) return std::move(all[0]);
  if (all.empty()) principal.set_any(true);
  for (config::Principal& one : all) {
    *principal.mutable_and_ids()->add_ids() = std::move(one);
  }
  return principal;
}

// What one item of `to` asks for, without its ports.
config::Principal request(const Policy::To& to) {
  std::vector<config::Principal> methods, paths, all;
  for (const std::string& name : to.methods) methods.push_back(method(name));
  for (const std::string& pattern : to.paths) paths.push_back(path(pattern));
  if (!methods.empty()) all.push_back(either(std::move(methods)));
  if (!paths.empty()) all.push_back(either(std::move(paths)));
  return every(std::move(all));
}

config::Principal rule_principal(const ObjectSet& objects, const Policy& policy,
                                 const Policy::Rule& rule, const Workload::Port& port) {
  std::vector<config::Principal> callers, requests, all;
  for (const Policy::From& from : rule.from) {
    for (const std::string& identity : from.identities) {
      callers.push_back(caller(objects, identity, policy.metadata.ns));
    }
  }
  for (const Policy::To& to : rule.to) {
    const bool here = to.ports.empty() ||
                      std::find(to.ports.begin(), to.ports.end(), port.name) != to.ports.end();
    if (here) requests.push_back(request(to));
  }
  if (!rule.to.empty() && requests.empty()) return never();  // All for other ports.
  if (!callers.empty()) all.push_back(either(std::move(callers)));
  if (!requests.empty()) all.push_back(either(std::move(requests)));
  return every(std::move(all));
}

config::Policy policy_message(const ObjectSet& objects, const Policy& policy,
                              const Workload::Port& port) {
  config::Policy message;
  message.add_permissions()->set_any(true);
  for (const Policy::Rule& rule : policy.spec.rules) {
    *message.add_principals() = rule_principal(objects, policy, rule, port);
  }
  if (policy.spec.rules.empty()) *message.add_principals() = never();
  return message;
}

HttpFilterMessage filter(const config::RBAC& rules, std::string name) {
  envoy::extensions::filters::http::rbac::v3::RBAC rbac;
  *rbac.mutable_rules() = rules;
  HttpFilterMessage message;
  message.set_name(std::move(name));
  pack(rbac, *message.mutable_typed_config());
  return message;
}

}  // namespace

std::vector<HttpFilterMessage> rbac_filters(const ObjectSet& objects, const Workload& workload,
                                            const Workload::Port& port) {
  config::RBAC deny, allow;
  deny.set_action(config::RBAC::DENY);
  allow.set_action(config::RBAC::ALLOW);
  for (const std::size_t place : workload.policies) {
    const Policy& policy = objects.policies[place];
    config::RBAC& rules = policy.spec.action == Policy::Action::kDeny ? deny : allow;
    (*rules.mutable_policies())[policy.metadata.key()] = policy_message(objects, policy, port);
  }
  std::vector<HttpFilterMessage> filters;
  const bool refuse_by_default = objects.mesh.spec.default_authorization == Mesh::Default::kDeny;
  if (deny.policies_size() > 0) filters.push_back(filter(deny, "envoy.filters.http.rbac.deny"));
  if (allow.policies_size() > 0 || refuse_by_default) {
    filters.push_back(filter(allow, "envoy.filters.http.rbac"));
  }
  return filters;
}

namespace {

// Who a rule is about, on a port of which nothing else is known.
config::Principal connection_principal(const ObjectSet& objects, const Policy& policy,
                                       const Policy::Rule& rule, const Workload::Port& port) {
  Policy::Rule known = rule;
  std::erase_if(known.to, [&](const Policy::To& to) {
    return policy.spec.action == Policy::Action::kAllow &&
           (!to.methods.empty() || !to.paths.empty());
  });
  if (!rule.to.empty() && known.to.empty()) return never();
  for (Policy::To& to : known.to) {
    to.methods.clear();
    to.paths.clear();
  }
  return rule_principal(objects, policy, known, port);
}

config::Principal anybody() {
  config::Principal any;
  any.set_any(true);
  return any;
}

config::Principal but_not(const std::vector<config::Principal>& denied, config::Principal allowed) {
  if (denied.empty()) return allowed;
  config::Principal others;
  *others.mutable_not_id() = either(denied);
  return every({std::move(others), std::move(allowed)});
}

}  // namespace

std::optional<envoy::config::listener::v3::Filter> network_rbac(const ObjectSet& objects,
                                                                const Workload& workload,
                                                                const Workload::Port& port) {
  std::vector<config::Principal> denied;
  std::vector<const Policy*> allowing;
  for (const std::size_t place : workload.policies) {
    const Policy& policy = objects.policies[place];
    if (policy.spec.action != Policy::Action::kDeny) {
      allowing.push_back(&policy);
      continue;
    }
    for (const Policy::Rule& rule : policy.spec.rules) {
      denied.push_back(connection_principal(objects, policy, rule, port));
    }
  }
  const bool refuse_by_default = objects.mesh.spec.default_authorization == Mesh::Default::kDeny;
  const bool all = allowing.empty() && !refuse_by_default;
  if (all && denied.empty()) return {};
  // One filter may stand before a TcpProxy, so what is denied is left out of what is allowed.
  envoy::extensions::filters::network::rbac::v3::RBAC rbac;
  rbac.set_stat_prefix("inbound_");
  config::RBAC& rules = *rbac.mutable_rules();
  rules.set_action(config::RBAC::ALLOW);
  const auto allow = [&](const std::string& name, config::Principal who) {
    config::Policy& policy = (*rules.mutable_policies())[name];
    if (policy.permissions().empty()) policy.add_permissions()->set_any(true);
    *policy.add_principals() = but_not(denied, std::move(who));
  };
  for (const Policy* policy : allowing) {
    for (const Policy::Rule& rule : policy->spec.rules) {
      allow(policy->metadata.key(), connection_principal(objects, *policy, rule, port));
    }
  }
  if (all) allow("all-others", anybody());
  envoy::config::listener::v3::Filter filter;
  filter.set_name("envoy.filters.network.rbac");
  pack(rbac, *filter.mutable_typed_config());
  return filter;
}

}  // namespace glia
