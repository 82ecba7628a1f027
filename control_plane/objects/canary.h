// Canary (glia.dev/v1): a new version of a Service gets a growing part of its requests, and is
// promoted or taken back by what it does.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/objects/objects.h"

namespace glia {

// Copies of requests for the candidate before it gets any.
struct CanaryShadow {
  uint32_t percent = 10;
  // How answers are compared, see glia.v1.CompareAnswers.
  std::vector<std::string> ignore;  // Fields; empty: those that are new in every answer.
  double absolute_tolerance = 0, relative_tolerance = 0;
  Place at;

  // Would the same answers be the same by both?
  bool compares_as(const CanaryShadow& other) const;
};

// Who is asked before every step and before the promotion.
struct CanaryConfirm {
  std::string url;  // As written; the rest is read from it.
  std::string host;
  uint16_t port = 80;
  std::string path = "/";
  Duration timeout = std::chrono::seconds(10);
  Place at;
};

// Where a metric comes from instead of from sidecars.
struct CanaryPrometheus {
  std::string url;  // As written; the rest is read from it.
  std::string host;
  uint16_t port = 80;
  std::string path = "/";
  std::string title;              // "": the metric's name.
  std::string candidate, stable;  // Queries; the second is "" if it is held to a bound only.
  Duration timeout = std::chrono::seconds(10);
  Place at;
};

struct Canary {
  static constexpr const char* kKind = "Canary";
  struct Target {
    std::string group;  // Only "".
    std::string kind = "Service";
    std::string name;
    Place at;
  };
  // One of the two is given; of `stable` perhaps none (see members()).
  struct Version {
    std::string service;  // A Service of the same namespace.
    TextMap labels;       // Of the target's workloads.
    Place at;
  };
  struct Header {
    std::string name, value;
    Place at;
  };
  // Who has the same value of it gets the same version, as long as the weight does not rise past him.
  struct Session {
    std::string header, cookie;  // One of the two is given.
    Place at;
  };
  struct Step {
    uint32_t weight = 0;  // Percent, 1 to 99.
    std::optional<Duration> pause;
    bool until_resumed = false;
    Place at;
  };
  enum class Measure : uint8_t {
    kErrors,
    kOutputErrors,
    kLatency,
    kFirstToken,
    kInterToken,
    kTokensPerSecond,
    kShadowDifferences,
    kValue,  // Whatever a query says; only of Prometheus.
  };
  static constexpr std::array kMeasures = {Measure::kErrors,     Measure::kOutputErrors,
                                           Measure::kLatency,    Measure::kFirstToken,
                                           Measure::kInterToken, Measure::kTokensPerSecond,
                                           Measure::kValue,      Measure::kShadowDifferences};
  static constexpr std::size_t kMostQueried = 8;  // Metrics from Prometheus.
  using Prometheus = CanaryPrometheus;
  struct Metric {
    Measure name = Measure::kErrors;
    std::optional<uint32_t> percentile;  // Of times and speeds.
    // How much worse the candidate may be: points of percent of shares, percent of the rest.
    std::optional<double> tolerance;
    // Of the candidate alone: percent of shares, milliseconds, tokens a second.
    std::optional<double> maximum, minimum;
    std::optional<Prometheus> prometheus;
    Place at;

    // Wherever they stand.
    bool operator==(const Metric& other) const;
    bool is_share() const;  // Errors, OutputErrors, ShadowDifferences
    // The fields, or their defaults.
    double usual_tolerance() const;
    uint32_t usual_percentile() const;
    std::string title() const;      // "Errors", "Latency p95"
    std::string_view unit() const;  // "%", "ms", "tokens/s", ""
  };
  struct Analysis {
    Duration interval = std::chrono::seconds(10);
    uint32_t minimum_requests = 100;  // To each version, a step.
    double confidence = 99;           // Percent.
    std::vector<Metric> metrics;      // Empty: usual_metrics().
    Place at;

    // Would the same requests get the same verdict by both?
    bool judges_as(const Analysis& other) const;
  };
  using Shadow = CanaryShadow;
  using Confirm = CanaryConfirm;
  enum class OnSuccess : uint8_t { kPromote, kWait };
  enum class OnFailure : uint8_t { kRollBack, kHold };
  struct Spec {
    Target target_ref;
    Version stable, candidate;
    std::optional<Shadow> shadow;
    std::vector<Step> steps;  // Filled in with 10, 25, 50 if none was given.
    std::optional<Header> header;
    std::optional<Session> session;
    Analysis analysis;
    std::optional<Confirm> confirm;
    OnSuccess on_success = OnSuccess::kPromote;
    OnFailure on_failure = OnFailure::kRollBack;
    Duration time_limit = std::chrono::hours(2);
    Place at;
  };
  // What the controller has decided by now; not in YAML. Without a controller nothing goes to the
  // candidate.
  struct Split {
    uint32_t weight = 0;  // Percent of the requests.
    uint32_t shadow = 0;  // Percent of the requests of which the candidate gets a copy.
    bool open = false;    // Does the candidate get the requests with spec.header?
    bool operator==(const Split&) const = default;
  };

  Metadata metadata;
  Spec spec;
  Split split;
  // Of versions by label: places in ObjectSet::workloads, in order; not in YAML.
  std::vector<std::size_t> stable_members, candidate_members;

  bool by_labels() const { return !spec.candidate.labels.empty(); }
  // Those that are looked at if none are named.
  static const std::vector<Metric>& usual_metrics();
};

// What the controller has decided, by "namespace/name" of the Canary.
using CanarySplits = std::map<std::string, Canary::Split, std::less<>>;

// "Errors", "Latency", ...: the word of the YAML.
std::string_view name_of(Canary::Measure measure);

}  // namespace glia
