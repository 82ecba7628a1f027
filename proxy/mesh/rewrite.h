// What a route makes of the path, and of where a client is sent: pure, so that those who only want to
// know ask the same code.
#pragma once

#include <string>

#include "proxy/http/message.h"
#include "proxy/mesh/route.h"

namespace glia {

// The path and query that the upstream gets, if the action changes them. `match` took the request.
std::string rewritten_path(const ForwardAction& action, const PathMatch& match,
                           const Request& request);
// The whole location.
std::string redirect_location(const RedirectAction& action, const PathMatch& match,
                              const Request& request);

}  // namespace glia
