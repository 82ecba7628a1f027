// What a gRPC client without a sidecar ("proxyless") understands of a mesh: the same clusters,
// endpoints and routes as a sidecar has, in the words of gRPC's xDS (gRFC A27, A28, A29), and a
// listener for every name by which it may call (`xds:///reco.default:80`).
#pragma once

#include "control_plane/translate/translate.h"

namespace glia {

// The name that certificate_providers of a client's bootstrap must give to its own certificate and
// the mesh's authorities.
inline constexpr char kCertificateProvider[] = "default";

// `outbound`: what translate_outbound() made for the client's namespace.
Resources proxyless(Resources outbound);

}  // namespace glia
