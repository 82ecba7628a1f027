// Fields that tell the next hop who asked: x-forwarded-client-cert, -for, -proto and x-request-id.
// Source: Envoy, configuration/http/http_conn_man/headers.
#pragma once

#include "proxy/flow/exchange.h"
#include "proxy/http/server.h"

namespace glia {

// Writes them into the request as the connection manager asks. Returns the request's id.
std::string_view write_forwarded_fields(Exchange& exchange);

// Appends what the connection manager is called to `via` (RFC 9110 section 7.6.3). A request that went
// through it kMostPasses times already is refused: it goes in circles.
Refusal write_via(Exchange& exchange);
void append_via(const HttpManager& manager, Response& response);
inline constexpr int kMostPasses = 2;

// Counts down Max-Forwards of OPTIONS (RFC 9110 section 7.6.2); false: it was 0, and the request goes no
// further.
bool forwards_left(Request& request);

// One element of x-forwarded-client-cert: "By=<our URI SAN>;Hash=<sha256>;URI=<their URI SAN>". Kept
// in `tls`, until others of the details are asked for.
const std::string& client_cert_element(const TlsInfo& tls, const ClientCertDetails& details);

// The addresses of a connection, and its part of a line of the log; kept in `connection`.
const ConnectionTexts& texts_of(const ConnectionInfo& connection);
// The address that a captured connection was for, which lives as long as it; "" if it was not captured.
std::string_view meant_for(const ConnectionInfo& connection);

// What the certificates of a connection say, and the name that it asked for, into a line of the log,
// which looks at `connection`.
void put_identities(const ConnectionInfo& connection, AccessRecord& record);

// Who really connected to us, where a PROXY header named another client; else "".
std::string direct_peer_text(const ConnectionInfo& connection);

}  // namespace glia
