#include "proxy/xds/decode_endpoint.h"

#include "proxy/base/text.h"
#include "proxy/xds/decode_common.h"

namespace glia {

namespace {

std::string locality_text(const Reader& locality) {
  if (!locality.present()) return "";
  return cat(locality.text("region"), "/", locality.text("zone"), "/", locality.text("sub_zone"));
}

Health decode_health(const Reader& endpoint) {
  const std::string status = endpoint.choice("health_status");
  if (status == "UNHEALTHY" || status == "TIMEOUT") return Health::kUnhealthy;
  if (status == "DRAINING") return Health::kDraining;
  return Health::kHealthy;  // UNKNOWN, HEALTHY; DEGRADED serves too.
}

EndpointConfig decode_endpoint(const Reader& lb_endpoint, bool names_allowed) {
  EndpointConfig decoded;
  lb_endpoint.accept("metadata");
  decoded.health = decode_health(lb_endpoint);
  decoded.weight =
      static_cast<uint32_t>(lb_endpoint.number("load_balancing_weight", 1, 1'000'000, 1));
  const Reader endpoint = lb_endpoint.message("endpoint");
  endpoint.accept("hostname");  // For health checks and host rewriting, which read it themselves.
  if (!endpoint.has("address"))
    lb_endpoint.fail("has no endpoint.address");
  else
    decode_target(endpoint.message("address"), names_allowed, decoded);
  return decoded;
}

}  // namespace

std::shared_ptr<const EndpointSet> decode_endpoints(const Reader& assignment, std::string version,
                                                    bool names_allowed) {
  auto set = std::make_shared<EndpointSet>();
  set->name = assignment.text("cluster_name");
  set->version = std::move(version);
  assignment.each("endpoints", [&](const Reader& group, std::size_t) {
    const std::string locality = locality_text(group.message("locality"));
    // As in Envoy, the weight of a locality counts only under locality-weighted balancing.
    group.accept("load_balancing_weight");
    (void)group.number("priority", 0, 0);
    group.each("lb_endpoints", [&](const Reader& endpoint, std::size_t) {
      set->endpoints.push_back(decode_endpoint(endpoint, names_allowed));
      set->endpoints.back().locality = locality;
    });
  });
  return set;
}

}  // namespace glia
