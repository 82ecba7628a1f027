// Conditions of routes in words, and which of them a request does not meet.
#pragma once

#include <string>

#include "proxy/mesh/route.h"

namespace glia {

// "path /v2 or below it, method POST"
std::string conditions_text(const RouteMatch& match);
// The first condition that fails: "path is not /v2 or below it"; "" if all hold.
std::string failed_condition(const RouteMatch& match, const Request& request);

}  // namespace glia
