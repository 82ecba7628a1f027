// The secrets that a sidecar holds itself, under the names that control_plane/translate gives them.
#pragma once

#include <vector>

#include "proxy/xds/identity.h"
#include "proxy/xds/resources.h"

namespace glia {

inline constexpr char kHeldCertificate[] = "default";
inline constexpr char kHeldTrustBundle[] = "ROOTCA";

inline std::vector<SecretResource> secrets_of(const HeldIdentity& identity) {
  return {{.name = kHeldTrustBundle, .trusted_ca = identity.trust_bundle},
          {.name = kHeldCertificate,
           .certificate_chain = identity.certificate_chain,
           .private_key = identity.private_key}};
}

}  // namespace glia
