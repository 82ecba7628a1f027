// What a request meets that a rule of an HTTPRoute or GRPCRoute matches: filters, backends, times, as
// parts of an Envoy route.
#pragma once

#include <string>

#include "control_plane/objects/object_set.h"
#include "envoy/config/route/v3/route_components.pb.h"

namespace glia {

// "/a" for "/a/"; the Gateway API's prefixes mean the same with and without it.
std::string without_final_slash(const std::string& path);
// The ReplacePrefixMatch of a rule's filters; null if it has none.
const PathChange* prefix_change(const HttpRoute::Rule& rule);

// `rule` is one of `route`; `message` has its name. `prefix` takes the place of what the match's path matched; "" leaves it.
void set_http_action(const ObjectSet& objects, const HttpRoute& route, const HttpRoute::Rule& rule,
                     const std::string& prefix, envoy::config::route::v3::Route& message);
void set_grpc_action(const ObjectSet& objects, const GrpcRoute& route, const GrpcRoute::Rule& rule,
                     envoy::config::route::v3::Route& message);

// What the policy of the Service that was called (null: none) says of requests, where the rule says
// nothing.
void set_traffic(const TrafficPolicy* policy, envoy::config::route::v3::Route& message);

// A route that answers by itself; `why` is the body.
void answer(envoy::config::route::v3::Route& route, int status, const std::string& why);

}  // namespace glia
