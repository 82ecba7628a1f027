// Checks of routes against the Services that they name and against each other.
#pragma once

#include <vector>

#include "control_plane/objects/check.h"

namespace glia {

// Fills in Service::http_routes and grpc_routes and appends what is wrong.
void check_routes(ObjectSet& objects, const Unread& unread, References references,
                  std::vector<Problem>& problems);

}  // namespace glia
