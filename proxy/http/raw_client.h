// The client side of a connection that is not HTTP: the one call on it is a CONNECT that ends here
// (RFC 9110 section 9.3.6). That the connection opened is its answer; then bytes go both ways.
#pragma once

#include <memory>

#include "proxy/http/client.h"

namespace glia {

// As connect_http(); there is nothing that `options` could say.
std::unique_ptr<ClientConnection> connect_raw(EventLoop& loop, std::unique_ptr<Stream> stream,
                                              const ClientOptions& options,
                                              ClientConnection::Owner& owner,
                                              HttpClientStats& stats);

}  // namespace glia
