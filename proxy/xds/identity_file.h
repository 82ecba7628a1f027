// The file in which a sidecar keeps its identity over a restart: identity.pem, mode 0600.
//
// One file, replaced by rename, so that key and certificate always fit together.
#pragma once

#include <optional>
#include <string>

#include "proxy/xds/identity.h"

namespace glia {

inline constexpr char kIdentityFile[] = "identity.pem";

// Makes the directory (0700) if it is missing.
Result<void> write_identity_file(const std::string& directory, const HeldIdentity& identity);
// Nothing if there is no such file.
Result<std::optional<HeldIdentity>> read_identity_file(const std::string& directory);

}  // namespace glia
