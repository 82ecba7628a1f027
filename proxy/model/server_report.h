// ServerReport: what callers learn of a model server's load, and how it stands in an ORCA report.
//
// The sidecar of a server says all of it; an engine without one says some of it itself (vLLM, Triton).
// Names are vLLM's where it has one; those that begin with "glia." are ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/model/orca.h"

namespace glia {

struct ServerReport {
  enum class Adapter : uint8_t { kAbsent, kWaiting, kLoaded };

  // Absent: not said.
  std::optional<float> waiting, running, kv_use;
  std::optional<float> in_flight;  // Requests that its sidecar has let in, of all callers.
  // Tokens of prompts among those, which it has still to read before they get their first token.
  std::optional<float> reading;
  // From a request's arrival to the head of its answer, typical for as many in flight as now.
  std::optional<Duration> latency;
  // That run at once while others wait; beyond it a request waits.
  std::optional<float> slots;
  Duration age{};  // Of what the engine said, when this was sent.
  uint32_t block_size = 0, block_count = 0, most_adapters = 0;  // 0: unknown.
  std::vector<std::string> loaded_adapters, waiting_adapters;
  // For weights by use (gRFC A58).
  double utilization = 0;  // application_utilization, else cpu_utilization.
  double rps = 0, eps = 0;

  Adapter adapter(std::string_view name) const;
  friend bool operator==(const ServerReport&, const ServerReport&) = default;
};

ServerReport server_report_of(const OrcaReport& orca);
OrcaReport orca_of(const ServerReport& report);

}  // namespace glia
