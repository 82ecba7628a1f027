// ClusterTally: what is told to the control plane of the requests that went to one cluster, while it
// asks for that (api/glia/v1/report.proto says what each of these counts); there it is summed up again.
//
// Each worker counts in its own, which only it touches; the main thread takes and adds them up. Where
// no cluster is asked for there is none, and a request costs a look at a null pointer.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/sketch.h"

namespace glia {

struct ClusterTally {
  static constexpr std::size_t kMostReasons = 16;  // Finish reasons; further ones are left out.
  static constexpr std::size_t kMostFields = 32;   // Fields that differ; further ones are left out.
  using Counts = std::map<std::string, uint64_t, std::less<>>;

  struct Shadow {
    uint64_t sent = 0, failed = 0, compared = 0, different = 0, skipped = 0;
    Counts fields;
    Sketch latency_ms, answered_latency_ms;
  };

  uint64_t requests = 0, errors = 0, output_errors = 0;
  uint64_t input_tokens = 0, output_tokens = 0;
  Counts finish_reasons;
  Sketch latency_ms, first_token_ms, inter_token_ms, tokens_per_second;
  Shadow shadow;

  void add(const ClusterTally& other, std::size_t most_reasons = kMostReasons,
           std::size_t most_fields = kMostFields);
  // One more of `key`, if it is there or there are less than `most`.
  static void count(Counts& counts, std::string_view key, std::size_t most, uint64_t more = 1);
};

// Of the clusters that are asked for, and no others.
struct Tallies {
  std::map<std::string, ClusterTally, std::less<>> clusters;

  // Null: nobody asks for this cluster.
  ClusterTally* find(std::string_view cluster);
  // From now on these are asked for; of those that were before, the counts stay.
  void want(const std::vector<std::string>& names);
  // What was counted since the last time.
  Tallies take();
  void add(const Tallies& other);
};

}  // namespace glia
