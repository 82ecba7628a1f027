#include "proxy/mesh/filter_chain.h"

#include <algorithm>
#include <functional>

namespace glia {
namespace {

using Chains = std::vector<const FilterChain*>;

// The chains for which `specific` holds; without any, those for which `general` does.
Chains narrow(const Chains& chains, const std::function<bool(const FilterChain&)>& specific,
              const std::function<bool(const FilterChain&)>& general) {
  Chains kept;
  std::ranges::copy_if(chains, std::back_inserter(kept),
                       [&](const FilterChain* chain) { return specific(*chain); });
  if (!kept.empty()) return kept;
  std::ranges::copy_if(chains, std::back_inserter(kept),
                       [&](const FilterChain* chain) { return general(*chain); });
  return kept;
}

// How well "*.a.com" or "a.com" fits: 0 not at all, else the larger the more specific.
std::size_t fit(std::string_view pattern, std::string_view name) {
  if (pattern == name) return 1 + 2 * name.size();  // Above every wildcard.
  if (!pattern.starts_with("*.") || !name.ends_with(pattern.substr(1))) return 0;
  return pattern.size();
}

std::size_t best_fit(const FilterChain& chain, std::string_view name) {
  std::size_t best = 0;
  for (const std::string& pattern : chain.server_names) best = std::max(best, fit(pattern, name));
  return best;
}

}  // namespace

namespace {

bool asks_for_name(const RbacRule& rule) {
  return rule.kind == RbacRule::Kind::kServerName ||
         std::ranges::any_of(rule.children,
                             [](const RbacRule& child) { return asks_for_name(child); });
}

bool asks_for_name(const std::optional<RbacRules>& rules) {
  return rules && std::ranges::any_of(rules->policies, [](const RbacPolicy& policy) {
           return std::ranges::any_of(policy.permissions,
                                      [](const RbacRule& rule) { return asks_for_name(rule); });
         });
}

// Where TLS passes through, only a look at its beginning tells a policy which name was asked for.
bool judges_by_name(const FilterChain& chain) {
  if (!chain.tcp || chain.tls != nullptr || chain.tcp->rbac == nullptr) return false;
  return asks_for_name(chain.tcp->rbac->rules) || asks_for_name(chain.tcp->rbac->shadow);
}

bool asks_for_beginning(const FilterChain& chain) {
  return !chain.server_names.empty() || !chain.transport.empty() ||
         !chain.application_protocols.empty() || judges_by_name(chain);
}

// The bits of the longest prefix that holds the address; nothing if none does.
std::optional<uint32_t> best_prefix(const FilterChain& chain, const Address* destination) {
  std::optional<uint32_t> best;
  if (destination == nullptr) return best;
  for (const CidrRange& range : chain.destinations) {
    if (range.contains(*destination)) best = std::max(best.value_or(0), range.bits());
  }
  return best;
}

// What the destination leaves, port before address.
Chains by_destination(std::span<const FilterChain> chains, const ConnectionFacts& facts) {
  Chains left;
  for (const FilterChain& chain : chains) left.push_back(&chain);
  left = narrow(
      left,
      [&](const FilterChain& chain) { return chain.destination_port == facts.destination_port; },
      [](const FilterChain& chain) { return !chain.destination_port; });
  std::optional<uint32_t> best;
  for (const FilterChain* chain : left) {
    best = std::max(best, best_prefix(*chain, facts.destination));
  }
  return narrow(
      left,
      [&](const FilterChain& chain) {
        return best && best_prefix(chain, facts.destination) == best;
      },
      [](const FilterChain& chain) { return chain.destinations.empty(); });
}

}  // namespace

bool needs_inspection(std::span<const FilterChain> chains) {
  return std::ranges::any_of(chains, asks_for_beginning);
}

bool needs_inspection(std::span<const FilterChain> chains, const ConnectionFacts& facts) {
  return std::ranges::any_of(by_destination(chains, facts),
                             [](const FilterChain* chain) { return asks_for_beginning(*chain); });
}

const FilterChain* choose_chain(std::span<const FilterChain> chains, const ConnectionFacts& facts) {
  Chains left = by_destination(chains, facts);
  std::size_t best = 0;
  for (const FilterChain* chain : left) best = std::max(best, best_fit(*chain, facts.server_name));
  left = narrow(
      left,
      [&](const FilterChain& chain) {
        return best > 0 && best_fit(chain, facts.server_name) == best;
      },
      [](const FilterChain& chain) { return chain.server_names.empty(); });
  const std::string_view transport = facts.tls ? "tls" : "raw_buffer";
  left = narrow(
      left, [&](const FilterChain& chain) { return chain.transport == transport; },
      [](const FilterChain& chain) { return chain.transport.empty(); });
  left = narrow(
      left,
      [&](const FilterChain& chain) {
        return std::ranges::any_of(chain.application_protocols, [&](const std::string& protocol) {
          return std::ranges::find(facts.application_protocols, protocol) !=
                 facts.application_protocols.end();
        });
      },
      [](const FilterChain& chain) { return chain.application_protocols.empty(); });
  return left.empty() ? nullptr : left.front();
}

}  // namespace glia
