// Checks of routes against the Services that they name and against each other.
#pragma once

#include <set>
#include <vector>

#include "control_plane/objects/check.h"

namespace glia {

// Fills in Service::http_routes and grpc_routes and appends what is wrong.
void check_routes(ObjectSet& objects, const Unread& unread, References references,
                  std::vector<Problem>& problems);

// Places of some routes: all that share a Service with one that changed.
struct RouteSubset {
  std::set<std::size_t> http_routes, grpc_routes;

  void add(std::size_t place, const HttpRoute&) { http_routes.insert(place); }
  void add(std::size_t place, const GrpcRoute&) { grpc_routes.insert(place); }
};
// The same for these routes, all of them known.
void check_routes(ObjectSet& objects, const RouteSubset& routes, std::vector<Problem>& problems);

}  // namespace glia
