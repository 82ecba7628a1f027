// Any bytes as a load report in each form: what is taken is within the limits, and comes back the same
// from each form that it is written in.
#include <cmath>
#include <cstdint>
#include <string_view>

#include "proxy/base/check.h"
#include "proxy/model/orca.h"
#include "proxy/model/server_report.h"

namespace {

using glia::OrcaReport;
using glia::Result;

void check(const Result<OrcaReport>& result) {
  if (!result) return;
  const OrcaReport& report = *result;
  CHECK(report.request_cost.size() + report.utilization.size() + report.named_metrics.size() <=
        glia::kOrcaMostMetrics);
  for (const auto& metric : report.named_metrics) CHECK(std::isfinite(metric.value));
  const Result<OrcaReport> binary = glia::read_orca_binary(glia::write_orca_binary(report));
  // Lengths in front of each entry may make it longer than what it was read from.
  if (binary) CHECK(*binary == report);
  (void)glia::write_orca_text(report);
  (void)glia::write_orca_json(report);
  (void)glia::orca_of(glia::server_report_of(report));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check(glia::read_orca_field(bytes));
  check(glia::read_orca_text(bytes));
  check(glia::read_orca_json(bytes));
  check(glia::read_orca_binary(bytes));
  const auto interval = glia::read_orca_request(bytes);
  if (interval) CHECK(*interval >= glia::Duration::zero() && *interval <= std::chrono::hours(25));
  return 0;
}
