// ModelPolicy: how model servers of a Service or an InferencePool are chosen among, and which requests are
// sent twice.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control_plane/objects/objects.h"

namespace glia {

// Weights by reports (gRFC A58). Nothing: as the sidecar has it.
struct ServerWeights {
  std::optional<Duration> blackout, expiry, update;
  std::optional<double> error_penalty;
  std::vector<std::string> metrics;
  Place at;
};

// How one of a Service's model servers is chosen. Nothing: as the sidecar has it (glia.v1.ModelBalancing).
struct ServerChoice {
  enum class Picker : uint8_t {
    kComposed,
    kLeastLoadedOfTwo,
    kHotCold,
    kPrefixAffinity,
    kAdapterAffinity,
    kSessionAffinity,
    kWeightedByReports
  };
  using Weights = ServerWeights;
  Picker picker = Picker::kComposed;
  std::optional<Weights> weights;
  std::optional<Duration> half_life, oob_interval;
  std::optional<uint32_t> hot_percent, probes, affinity, prefix_blocks;
  std::string session_header;  // "": the usual one.
  Place at;
};

// Which requests are sent twice. Nothing: as the sidecar has it (glia.v1.Hedging).
struct HedgeRule {
  enum class Requests : uint8_t { kModels, kAll };
  std::optional<Duration> after;
  std::optional<uint32_t> percentile, budget_percent, least, kept_bytes;
  Requests requests = Requests::kModels;
  Place at;
};

// glia.dev/v1. How model servers of a Service or an InferencePool are chosen among, and which requests are
// sent twice.
struct ModelPolicy {
  static constexpr const char* kKind = "ModelPolicy";
  using Balancing = ServerChoice;
  using Hedge = HedgeRule;
  struct Target {
    std::string group;
    std::string kind = "Service";  // Or InferencePool, of its group.
    std::string name;
    Place at;
  };
  struct Spec {
    Target target_ref;
    std::optional<Balancing> balancing;
    std::optional<Hedge> hedge;
    Place at;
  };
  Metadata metadata;
  Spec spec;
};

}  // namespace glia
