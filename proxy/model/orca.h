// ORCA load reports: what a server says of its own load with each answer.
//
// The message is xds.data.orca.v3.OrcaLoadReport (cncf/xds). It travels in a field of the answer,
// `endpoint-load-metrics`, as "TEXT cpu_utilization=0.3,named_metrics.queue=4", "JSON {...}" or
// "BIN base64", and as plain protobuf in base64 in the trailer `endpoint-load-metrics-bin` (gRFC A51
// and A58, Envoy's orca_parser). Older servers write `k:v` in the text form, put JSON into
// `endpoint-load-metrics-json`, or leave out the word in front. A report with one value that cannot
// be true is not believed at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/time.h"
#include "proxy/http/headers.h"

namespace glia {

struct OrcaReport {
  struct Metric {
    std::string name;
    double value = 0;
    friend bool operator==(const Metric&, const Metric&) = default;
  };

  // 0 is "not said" for each of these, as in protobuf.
  double cpu_utilization = 0;  // May exceed 1.
  double mem_utilization = 0;  // 0 to 1.
  double application_utilization = 0;
  double rps = 0;  // Requests a second (rps_fractional).
  double eps = 0;  // Errors a second.
  std::vector<Metric> request_cost;
  std::vector<Metric> utilization;  // 0 to 1 each.
  std::vector<Metric> named_metrics;

  std::optional<double> named(std::string_view name) const;
  friend bool operator==(const OrcaReport&, const OrcaReport&) = default;
};

inline constexpr std::string_view kOrcaField = "endpoint-load-metrics";
inline constexpr std::string_view kOrcaBinaryField = "endpoint-load-metrics-bin";
inline constexpr std::string_view kOrcaJsonField = "endpoint-load-metrics-json";  // Older.
// By which a client asks a server for reports: "text" or "json" (Triton, vLLM).
inline constexpr std::string_view kOrcaFormatField = "endpoint-load-metrics-format";

inline constexpr std::size_t kOrcaLongest = 8 * 1024;  // bytes of one report, in any form
inline constexpr std::size_t kOrcaMostMetrics = 64;    // Of all three lists together.
inline constexpr std::size_t kOrcaLongestName = 256;   // bytes of the name of a metric

// Each reads one form, without the word in front. Errors: a sentence about the first thing wrong.
Result<OrcaReport> read_orca_text(std::string_view text);
Result<OrcaReport> read_orca_json(std::string_view text);
Result<OrcaReport> read_orca_binary(std::string_view bytes);
// A value of `endpoint-load-metrics`, in whichever form.
Result<OrcaReport> read_orca_field(std::string_view value);
// The report among the fields of an answer, or of its trailers. Nothing if there is none; an error if
// there are several.
std::optional<Result<OrcaReport>> orca_of(const Headers& fields);

// The highest of the values so named ("cpu_utilization", "named_metrics.x", "utilization.x"), if the
// report has one (gRFC A114).
std::optional<double> utilization_of(const OrcaReport& report,
                                     const std::vector<std::string>& names);

// Out of band, over gRPC: the path of the call, and the report_interval that its one message
// (xds.service.orca.v3.OrcaLoadReportRequest) asks for; 0 if it does not say.
inline constexpr std::string_view kOrcaStreamPath =
    "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";
Result<Duration> read_orca_request(std::string_view bytes);
std::string write_orca_request(Duration interval);

// Without the word in front. Names that a form cannot hold (a comma or '=' in text) are left out of it.
std::string write_orca_text(const OrcaReport& report);
std::string write_orca_json(const OrcaReport& report);
std::string write_orca_binary(const OrcaReport& report);
// The value for `endpoint-load-metrics-bin`: base64 without padding, as gRPC writes it.
std::string orca_binary_value(const OrcaReport& report);

}  // namespace glia
