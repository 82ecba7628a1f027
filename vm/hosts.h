// Names of the mesh's Services in a machine's hosts file: one block of ours in it, and the rest to the
// letter as it was.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "proxy/base/result.h"

namespace glia {

inline constexpr std::string_view kHostsFile = "/etc/hosts";

// The names by which each address is known.
using NamedAddresses = std::map<std::string, std::set<std::string>>;

// What a sidecar's /config_dump says: names of Services that have an address (clusterIP), of those that it
// may call. Errors: a page that is none.
Result<NamedAddresses> named_addresses(std::string_view config_dump);

// `hosts` with a block of these names, in the place of the one that it had; names that it gives to somebody
// itself are left to it. No addresses: without a block.
std::string with_names(std::string_view hosts, const NamedAddresses& names);
// As it was before with_names().
std::string without_names(std::string_view hosts);

// Does it to the file, whole or not at all; false: there was nothing to do.
Result<bool> write_names(const std::string& path, const NamedAddresses& names);

}  // namespace glia
