// EndpointRow: one row of /clusters: what one worker, or all of them, know of one endpoint.
#pragma once

#include <cstdint>
#include <string>

namespace glia {

struct EndpointRow {
  std::string cluster, address, health;  // health: "healthy", "unhealthy" or "draining".
  uint32_t weight = 0;
  uint64_t cx_active = 0, cx_total = 0, cx_connect_fail = 0;
  uint64_t rq_active = 0, rq_total = 0, rq_success = 0, rq_error = 0;
};

}  // namespace glia
