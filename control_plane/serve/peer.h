// Who calls: the SPIFFE id that our front door wrote into x-forwarded-client-cert.
//
// The front door is a Glia listener that removes the header from outside and sets it from the
// client certificate it has verified (SANITIZE_SET), so exactly one element with exactly one URI is
// the only form that can be right; everything else is refused rather than interpreted.
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/result.h"
#include "proxy/net/spiffe.h"

namespace glia {

inline constexpr char kForwardedCertificateHeader[] = "x-forwarded-client-cert";

// The identity in a header value: `By=...;Hash=...;URI=spiffe://...` (Envoy,
// "x-forwarded-client-cert").
Result<SpiffeId> forwarded_identity(std::string_view header);

// A stranger's text for logs and sentences: control bytes escaped, at most 200 bytes of it.
std::string printable(std::string_view text);

}  // namespace glia
