// Fields that tell the next hop who asked: x-forwarded-client-cert, -for, -proto and x-request-id.
// Source: Envoy, configuration/http/http_conn_man/headers.
#pragma once

#include "proxy/flow/exchange.h"

namespace glia {

// Writes them into the request as the connection manager asks. Returns the request's id.
std::string_view write_forwarded_fields(Exchange& exchange);

// One element of x-forwarded-client-cert: "By=<our URI SAN>;Hash=<sha256>;URI=<their URI SAN>".
std::string client_cert_element(const TlsInfo& tls, const ClientCertDetails& details);

// Who really connected to us, where a PROXY header named another client; else "".
std::string direct_peer_text(const ConnectionInfo& connection);

}  // namespace glia
