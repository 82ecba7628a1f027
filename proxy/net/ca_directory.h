// The authority of a mesh in two files, ca.pem and ca-key.pem of a directory: one that the sidecars of a
// mesh without a control plane share, or that is copied to each machine; or one that every replica of a
// control plane has.
//
// Whoever reads the key can be any workload of the mesh; that is the price of having no control
// plane. Who comes first makes the two files, the key with mode 0600.
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/result.h"
#include "proxy/net/x509.h"

namespace glia {

inline constexpr char kCaCertificateFile[] = "ca.pem";
inline constexpr char kCaKeyFile[] = "ca-key.pem";
inline constexpr Duration kCaLifetime = 10 * 365 * 24h;

// Makes directory (0700) and files if they are missing. Refuses an authority of another trust domain
// or one that has expired.
Result<CertificateAuthority> open_ca_directory(const std::string& directory,
                                               std::string_view trust_domain, WallTime now);

}  // namespace glia
