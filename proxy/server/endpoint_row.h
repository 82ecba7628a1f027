// EndpointRow: one row of /clusters and /endpoints: what one worker, or all of them, know of one endpoint.
#pragma once

#include <cstdint>
#include <string>

namespace glia {

struct EndpointRow {
  std::string cluster, address, health;  // health: "healthy", "unhealthy" or "draining".
  uint32_t weight = 0;
  uint64_t cx_active = 0, cx_total = 0, cx_connect_fail = 0;
  uint64_t rq_active = 0, rq_total = 0, rq_success = 0, rq_error = 0;
  // Where the cluster chooses by load reports: what is believed (/endpoints); else "" and nothing.
  std::string why;
  double load = 0;             // Requests there, of all callers.
  double score = 0;            // At the last pick: the lower the better.
  double confidence = 0;       // In the last report, 0 to 1.
  int64_t report_age_ms = -1;  // -1: it has never reported.
  uint64_t picked = 0;
};

}  // namespace glia
