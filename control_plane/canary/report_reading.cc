#include "control_plane/canary/report_reading.h"

#include <cmath>

#include "control_plane/canary/observations.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr int kMostBuckets = 2048;  // As report.proto says; so do the next two.
constexpr int kMostReasons = 16;
constexpr int kMostFields = 32;

// Adds a histogram of at most `most` values. An error names what is wrong.
Result<void> read(std::string_view name, const v1::Histogram& histogram, uint64_t most,
                  Sketch& sketch) {
  if (histogram.counts_size() > kMostBuckets) return invalid(cat(name, " has too many buckets"));
  uint64_t values = histogram.zeros();
  double least = 0, highest = 0;  // Of the sum.
  for (int k = 0; k < histogram.counts_size(); ++k) {
    const uint64_t count = histogram.counts(k);
    if (count > most || values > most) return invalid(cat(name, " has more values than requests"));
    values += count;
    // An index beyond the buckets is refused below.
    const int index = std::clamp(histogram.first(), Sketch::kLeast, Sketch::kMost) + k;
    least += static_cast<double>(count) * Sketch::upper_bound(index - 1);
    highest += static_cast<double>(count) * Sketch::upper_bound(index);
  }
  if (values > most) return invalid(cat(name, " has more values than requests"));
  constexpr double kSlack = 0.001;  // Sums are rounded.
  const double sum = histogram.sum();
  const bool agrees = std::isfinite(sum) && sum >= least * (1 - kSlack) &&
                      sum <= highest * (1 + kSlack) + static_cast<double>(histogram.zeros());
  if (!agrees) return invalid(cat(name, " has a sum that its values do not make"));
  const std::span<const uint64_t> counts(histogram.counts().data(),
                                         static_cast<std::size_t>(histogram.counts_size()));
  if (sketch.add(histogram.zeros(), histogram.first(), counts, sum)) return {};
  return invalid(cat(name, " has buckets that there are none of"));
}

Result<void> read_shadow(const v1::ShadowReport& report, uint64_t most,
                         ClusterTally::Shadow& shadow) {
  for (const uint64_t count :
       {report.sent(), report.failed(), report.compared(), report.different(), report.skipped()}) {
    if (count > most) return invalid("shadow counts more than can be");
  }
  if (report.different() > report.compared()) return invalid("shadow.different is above compared");
  if (report.fields_size() > kMostFields) return invalid("shadow.fields are too many");
  for (const auto& [field, count] : report.fields()) {
    if (count > report.different()) return invalid("shadow.fields count more than there were");
    shadow.fields[field] = count;
  }
  shadow.sent = report.sent();
  shadow.failed = report.failed();
  shadow.compared = report.compared();
  shadow.different = report.different();
  shadow.skipped = report.skipped();
  TRY_VOID(read("shadow.latency_ms", report.latency_ms(), most, shadow.latency_ms));
  return read("shadow.answered_latency_ms", report.answered_latency_ms(), most,
              shadow.answered_latency_ms);
}

}  // namespace

Result<ClusterTally> read_report(const v1::ClusterReport& report, uint64_t most) {
  ClusterTally seen;
  const uint64_t requests = report.requests();
  if (requests > most) return invalid(cat("requests are more than ", most));
  if (report.errors() > requests) return invalid("errors are more than requests");
  if (report.output_errors() > requests) return invalid("output_errors are more than requests");
  const uint64_t tokens = requests * ReportedObservations::kMostTokens;
  if (report.input_tokens() > tokens || report.output_tokens() > tokens) {
    return invalid("tokens are more than requests can have");
  }
  if (report.finish_reasons_size() > kMostReasons) return invalid("finish_reasons are too many");
  for (const auto& [reason, count] : report.finish_reasons()) {
    if (count > requests) return invalid("finish_reasons count more than requests");
    seen.finish_reasons[reason] = count;
  }
  seen.requests = requests;
  seen.errors = report.errors();
  seen.output_errors = report.output_errors();
  seen.input_tokens = report.input_tokens();
  seen.output_tokens = report.output_tokens();
  TRY_VOID(read("latency_ms", report.latency_ms(), requests, seen.latency_ms));
  TRY_VOID(read("first_token_ms", report.first_token_ms(), requests, seen.first_token_ms));
  TRY_VOID(read("inter_token_ms", report.inter_token_ms(), requests, seen.inter_token_ms));
  TRY_VOID(read("tokens_per_second", report.tokens_per_second(), requests, seen.tokens_per_second));
  if (report.has_shadow()) TRY_VOID(read_shadow(report.shadow(), most, seen.shadow));
  return seen;
}

}  // namespace glia
