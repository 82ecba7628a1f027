// RBAC: who may do what (envoy.config.rbac.v3), as a finished tree.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/mesh/matcher.h"

namespace glia {

// One node of a permission or principal tree. Which members count depends on `kind`.
struct RbacRule {
  enum class Kind : uint8_t {
    kAny,
    kAll,              // every child
    kEither,           // at least one child
    kNot,              // the only child
    kHeader,           // header
    kPath,             // text, on the path without query
    kDestinationPort,  // port
    kDestinationIp,    // cidr
    kServerName,       // text, on the requested SNI
    kAuthenticated,    // text, on a URI SAN of the verified peer (DNS SAN or subject without one);
                       // without text: any verified peer
    kSourceIp,         // cidr, on the client's address: of the connection, or from its PROXY header
    kPeerIp,           // cidr, on the address of the connection, whatever a PROXY header says
  };
  Kind kind = Kind::kAny;
  std::vector<RbacRule> children;
  std::optional<HeaderMatcher> header;
  std::optional<TextMatcher> text;
  std::optional<CidrRange> cidr;
  uint16_t port = 0;
};

struct RbacPolicy {
  std::string name;
  std::vector<RbacRule> permissions;  // One must hold,
  std::vector<RbacRule> principals;   // and one of these.
};

struct RbacRules {
  enum class Action : uint8_t { kAllow, kDeny };
  Action action = Action::kAllow;
  std::vector<RbacPolicy> policies;  // In order of name, as Envoy evaluates them.
};

// The rbac filter. Without `rules` nothing is enforced; `shadow` only counts and logs.
struct RbacConfig {
  std::optional<RbacRules> rules;
  std::optional<RbacRules> shadow;
};

}  // namespace glia
