// Which filter chain of a listener takes a connection (envoy.config.listener.v3.FilterChainMatch).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/mesh/snapshot.h"

namespace glia {

// What is known of a connection before any of its chains has touched it.
struct ConnectionFacts {
  uint16_t destination_port = 0;
  const Address* destination = nullptr;  // Null if no chain asks.
  bool tls = false;
  std::string_view server_name;                    // Lower case; "" if none was sent.
  std::vector<std::string> application_protocols;  // Offered by the client.
};

// Does the choice, or a policy, depend on what the client sends first?
bool needs_inspection(std::span<const FilterChain> chains);
// The same of the chains that are left once it is known where the connection goes.
bool needs_inspection(std::span<const FilterChain> chains, const ConnectionFacts& facts);

// Envoy's order: destination port, destination address (longest prefix), server name (exact, then the longest wildcard), transport, then
// application protocols; at each step the most specific chains stay, and there is no way back. Null
// if no chain takes the connection.
const FilterChain* choose_chain(std::span<const FilterChain> chains, const ConnectionFacts& facts);

}  // namespace glia
