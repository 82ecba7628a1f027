// Observed: what the sidecars saw of one cluster in a time, summed up; and Observations, where the
// canary controller gets it from.
//
// The controller asks every few seconds for what came since it asked last, and sums up by itself, so
// Observations need not remember more than kKept. Belongs to the control plane's loop.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/sketch.h"
#include "proxy/base/time.h"

namespace glia {

// Sums of ClusterReport (api/glia/v1/report.proto says what each counts).
struct Observed {
  struct Shadow {
    uint64_t sent = 0, failed = 0, compared = 0, different = 0, skipped = 0;
    std::map<std::string, uint64_t, std::less<>> fields;
    Sketch latency_ms, answered_latency_ms;
  };

  uint64_t requests = 0, errors = 0, output_errors = 0;
  uint64_t input_tokens = 0, output_tokens = 0;
  std::map<std::string, uint64_t, std::less<>> finish_reasons;
  Sketch latency_ms, first_token_ms, inter_token_ms, tokens_per_second;
  Shadow shadow;

  // Sidecars that reported of the cluster at least once in the time, with or without requests.
  uint32_t sidecars = 0;
  // Those that are connected and were asked before the time began, and told nothing in it: what is
  // known is not all.
  uint32_t late = 0;
  // Parts of reports that were left out because they cannot be true (a bucket out of range, a sum
  // that is not finite, more errors than requests): what is known is not to be trusted.
  uint64_t refused = 0;

  // What a later time adds. `sidecars` and `late` are then those of the later one.
  void add(const Observed& later) {
    requests += later.requests;
    errors += later.errors;
    output_errors += later.output_errors;
    input_tokens += later.input_tokens;
    output_tokens += later.output_tokens;
    for (const auto& [reason, count] : later.finish_reasons) finish_reasons[reason] += count;
    latency_ms.add(later.latency_ms);
    first_token_ms.add(later.first_token_ms);
    inter_token_ms.add(later.inter_token_ms);
    tokens_per_second.add(later.tokens_per_second);
    shadow.sent += later.shadow.sent;
    shadow.failed += later.shadow.failed;
    shadow.compared += later.shadow.compared;
    shadow.different += later.shadow.different;
    shadow.skipped += later.shadow.skipped;
    for (const auto& [field, count] : later.shadow.fields) shadow.fields[field] += count;
    shadow.latency_ms.add(later.shadow.latency_ms);
    shadow.answered_latency_ms.add(later.shadow.answered_latency_ms);
    sidecars = later.sidecars;
    late = later.late;
    refused += later.refused;
  }
};

// Inheritance for the second one, of the simulation, whose truth is known.
class Observations {
 public:
  // So far back between() can look, at least.
  static constexpr Duration kKept = std::chrono::minutes(15);

  virtual ~Observations() = default;
  // The clusters (xDS names) to hear of from now on; takes the place of those before. Of a cluster
  // that is not among them any more, what is known may be forgotten.
  virtual void want(std::vector<std::string> clusters) = 0;
  // Of the reports that arrived after `from` and not after `to`, by the loop's monotonic clock. Asked
  // for times that follow on each other, it counts no request twice and leaves none out. Of an unknown
  // cluster: nothing, from no sidecar.
  virtual Observed between(std::string_view cluster, TimePoint from, TimePoint to) const = 0;
};

}  // namespace glia
