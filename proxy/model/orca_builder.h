// OrcaBuilder: puts a report together value by value, whichever form it comes in, and knows what may
// not stand in one: the rules are the same for all three.
#pragma once

#include <string_view>

#include "proxy/model/orca.h"

namespace glia {

class OrcaBuilder {
 public:
  enum class Map : uint8_t { kRequestCost, kUtilization, kNamedMetrics };

  // "cpu_utilization", "rps_fractional", ... by its name in the message.
  Result<void> scalar(std::string_view name, double value);
  Result<void> metric(Map map, std::string_view name, double value);
  // Field and map names of the message; nothing if there is no such map.
  static std::optional<Map> map_of(std::string_view name);
  OrcaReport take() { return std::move(report_); }

 private:
  OrcaReport report_;
  uint32_t said_ = 0;  // Scalars that were given, a bit each.
};

// A whole number of decimal notation that is finite; an error names `what`.
Result<double> orca_number(std::string_view what, std::string_view text);

}  // namespace glia
