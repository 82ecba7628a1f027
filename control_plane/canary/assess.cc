#include "control_plane/canary/assess.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numbers>
#include <utility>

#include "control_plane/canary/bounds.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

using Measure = Canary::Measure;
using Metric = Canary::Metric;

// A metric that nobody asked for is left out if fewer requests than this share have a value.
constexpr double kRare = 0.1;

std::string number(double value) {
  char text[32];
  const double size = std::abs(value);
  std::snprintf(text, sizeof text, size >= 100 ? "%.0f" : size >= 10 ? "%.1f" : "%.2f", value);
  return text;
}

// What a metric looks at of one version.
struct Sample {
  uint64_t hits = 0, of = 0;       // Shares.
  const Sketch* values = nullptr;  // Times and speeds.
  uint64_t count() const { return values != nullptr ? values->count() : of; }
};

const Sketch* values_of(Measure measure, const ClusterTally& version) {
  switch (measure) {
    case Measure::kLatency: return &version.latency_ms;
    case Measure::kFirstToken: return &version.first_token_ms;
    case Measure::kInterToken: return &version.inter_token_ms;
    case Measure::kTokensPerSecond: return &version.tokens_per_second;
    default: return nullptr;
  }
}

struct Pair {
  Sample stable, candidate;
  bool alone = false;  // The stable version has none of it: a share that should be 0.
};

// Nothing if there is no such metric in this kind of stage.
std::optional<Pair> of_requests(Measure measure, const ClusterTally& stable,
                                const ClusterTally& candidate) {
  switch (measure) {
    case Measure::kErrors:
      return Pair{{stable.errors, stable.requests}, {candidate.errors, candidate.requests}};
    case Measure::kOutputErrors:
      return Pair{{stable.output_errors, stable.requests},
                  {candidate.output_errors, candidate.requests}};
    case Measure::kShadowDifferences:
    case Measure::kValue: return {};
    default:
      return Pair{{.values = values_of(measure, stable)},
                  {.values = values_of(measure, candidate)}};
  }
}

std::optional<Pair> of_copies(Measure measure, const ClusterTally& candidate) {
  const ClusterTally::Shadow& shadow = candidate.shadow;
  switch (measure) {
    case Measure::kErrors: return Pair{{}, {shadow.failed, shadow.sent}, true};
    case Measure::kShadowDifferences: return Pair{{}, {shadow.different, shadow.compared}, true};
    case Measure::kLatency:
      return Pair{{.values = &shadow.answered_latency_ms}, {.values = &shadow.latency_ms}};
    default: return {};
  }
}

// How often a look may be wrong, each way.
struct Errors {
  double roll_back = 0, advance = 0;
};

class Question {
 public:
  Question(const Metric& metric, const Pair& pair) : metric_(metric), pair_(pair) {}

  Finding answer(const Errors& errors) const {
    Finding finding;
    finding.metric = metric_;
    finding.stable_count = pair_.stable.count();
    finding.candidate_count = pair_.candidate.count();
    finding.stable = pair_.alone ? 0 : scaled(bounds(pair_.stable, errors.advance).value);
    finding.candidate = scaled(bounds(pair_.candidate, errors.advance).value);
    // Two questions, each with its own chance to be wrong.
    finding.low = worse(errors.roll_back).low;
    finding.high = worse(errors.advance).high;
    const double tolerated = metric_.usual_tolerance();
    if (finding.low > tolerated) {
      finding.verdict = Verdict::kRollBack;
    } else if (finding.high <= tolerated) {
      finding.verdict = Verdict::kAdvance;
    }
    finding.sentence = sentence(finding);
    hold_to_bound(errors, finding);
    return finding;
  }

 private:
  Bounds bounds(const Sample& sample, double error) const {
    if (sample.values == nullptr) return share_bounds(sample.hits, sample.of, error);
    return quantile_bounds(*sample.values, metric_.usual_percentile() / 100.0, error);
  }
  // Shares as percent.
  double scaled(double value) const { return metric_.is_share() ? 100 * value : value; }

  // Points of percent, or percent.
  Bounds worse(double error) const {
    const Bounds candidate = bounds(pair_.candidate, error);
    if (pair_.alone) return {100 * candidate.low, 100 * candidate.value, 100 * candidate.high};
    const Bounds stable = bounds(pair_.stable, error);
    if (metric_.is_share()) {
      const Bounds d = difference_bounds(candidate, stable);
      return {100 * d.low, 100 * d.value, 100 * d.high};
    }
    const bool less_is_worse = metric_.name == Measure::kTokensPerSecond;
    const Bounds r =
        less_is_worse ? ratio_bounds(stable, candidate) : ratio_bounds(candidate, stable);
    return {100 * (r.low - 1), 100 * (r.value - 1), 100 * (r.high - 1)};
  }

  std::string sentence(const Finding& finding) const {
    const std::string unit = cat(" ", metric_.unit());
    std::string out =
        cat(metric_.title(), " ", number(finding.candidate), unit, " of ", finding.candidate_count);
    if (!pair_.alone) {
      out += cat(" against ", number(finding.stable), unit, " of ", finding.stable_count);
    }
    const std::string_view points = metric_.is_share() ? " points" : " %";
    const std::string tolerated = cat(number(metric_.usual_tolerance()), " tolerated");
    switch (finding.verdict) {
      case Verdict::kRollBack:
        return cat(out, ": worse by at least ", number(finding.low), points, ", ", tolerated);
      case Verdict::kAdvance:
        return cat(out, ": worse by at most ", number(finding.high), points, ", ", tolerated);
      case Verdict::kHold: break;
    }
    if (!std::isfinite(finding.high)) return cat(out, ": too few to compare");
    return cat(out, ": worse by ", number(finding.low), " to ", number(finding.high), points, ", ",
               tolerated, "; not enough to tell");
  }

  // What the candidate may have whatever the stable version has.
  void hold_to_bound(const Errors& errors, Finding& finding) const {
    const bool least = metric_.minimum.has_value();
    if (!least && !metric_.maximum) return;
    const double bound = least ? *metric_.minimum : *metric_.maximum;
    const Bounds candidate = bounds(pair_.candidate, errors.roll_back);
    const bool broken = least ? scaled(candidate.high) < bound : scaled(candidate.low) > bound;
    const bool kept = least ? finding.candidate >= bound : finding.candidate <= bound;
    const std::string unit = cat(" ", metric_.unit());
    const std::string what =
        cat(metric_.title(), " ", number(finding.candidate), unit, " of ", finding.candidate_count,
            least ? ": the least is " : ": the most is ", number(bound), unit);
    if (broken) {
      finding.verdict = Verdict::kRollBack;
      finding.sentence = what;
    } else if (!kept && finding.verdict == Verdict::kAdvance) {
      finding.verdict = Verdict::kHold;
      finding.sentence = cat(what, "; not enough to tell");
    }
  }

  const Metric& metric_;
  const Pair& pair_;
};

bool is_rare(const Metric& metric, const Pair& pair, const ClusterTally& stable,
             const ClusterTally& candidate) {
  if (metric.is_share()) return false;
  const auto rare = [](const Sample& sample, uint64_t requests) {
    return static_cast<double>(sample.count()) < kRare * static_cast<double>(requests);
  };
  return rare(pair.stable, stable.requests) && rare(pair.candidate, candidate.requests);
}

struct Asked {
  Metric metric;
  Pair pair;
};

std::vector<Asked> questions(const Canary::Analysis& analysis, const ClusterTally& stable,
                             const ClusterTally& candidate, bool shadow) {
  const bool usual = analysis.metrics.empty();
  std::vector<Metric> metrics = usual ? Canary::usual_metrics() : analysis.metrics;
  const Metric differences{.name = Measure::kShadowDifferences};
  // What copies are made for is looked at, also where only other metrics are named.
  if (shadow && std::ranges::find(metrics, differences.name, &Metric::name) == metrics.end()) {
    metrics.push_back(differences);
  }
  std::vector<Asked> asked;
  for (const Metric& metric : metrics) {
    if (metric.prometheus) continue;
    const std::optional<Pair> pair =
        shadow ? of_copies(metric.name, candidate) : of_requests(metric.name, stable, candidate);
    if (!pair) continue;
    if (usual && !shadow && is_rare(metric, *pair, stable, candidate)) continue;
    asked.push_back({metric, *pair});
  }
  return asked;
}

// Where answers to copies differed, the most frequent
// first. The names are keys of JSON that models wrote.
std::string differing_fields(const ClusterTally::Shadow& shadow) {
  constexpr std::size_t kTold = 3;
  std::vector<std::pair<uint64_t, std::string_view>> fields;
  for (const auto& [field, count] : shadow.fields) fields.emplace_back(count, field);
  std::ranges::sort(fields, std::greater());
  std::string out;
  for (std::size_t i = 0; i < std::min(kTold, fields.size()); ++i) {
    out += i == 0 ? "; they differ in " : ", ";
    append_json_escaped(out, fields[i].second);
    out += cat(" (", fields[i].first, ")");
  }
  return out;
}

// The first of each verdict, the worst verdict first.
void decide(Assessment& assessment) {
  for (const Verdict verdict : {Verdict::kRollBack, Verdict::kHold, Verdict::kAdvance}) {
    for (const Finding& finding : assessment.findings) {
      if (finding.verdict != verdict) continue;
      assessment.verdict = verdict;
      assessment.reason = finding.sentence;
      return;
    }
  }
  assessment.reason = "none of the metrics has anything to say here";
}

// `shared_by`: how many such assessments share the error against taking back a good version.
Assessment assess_once(const Canary::Analysis& analysis, const ClusterTally& stable,
                       const ClusterTally& candidate, const Look& look, std::size_t shared_by) {
  const std::vector<Asked> asked = questions(analysis, stable, candidate, look.shadow);
  const double allowed = 1 - analysis.confidence / 100;
  const double k = look.number;
  const double now = allowed * 6 / (std::numbers::pi * std::numbers::pi * k * k);
  const Errors errors{.roll_back = now / (double(asked.size() * shared_by) * look.stages),
                      .advance = now};
  Assessment assessment;
  for (const Asked& question : asked) {
    Finding finding = Question(question.metric, question.pair).answer(errors);
    if (finding.metric.name == Measure::kShadowDifferences) {
      finding.sentence += differing_fields(candidate.shadow);
    }
    assessment.findings.push_back(std::move(finding));
  }
  decide(assessment);
  return assessment;
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAdvance: return "advance";
    case Verdict::kHold: return "hold";
    case Verdict::kRollBack: return "roll back";
  }
  return "";
}

Assessment assess(const Canary::Analysis& analysis, const Observed& stable,
                  const Observed& candidate, const Look& look) {
  const bool parted = std::ranges::all_of(candidate.parts, [](const ClusterTally& part) {
    return part.requests + part.shadow.sent > 0;
  });
  const std::size_t shared_by = parted ? 1 + Observed::kParts : 1;
  Assessment all = assess_once(analysis, stable, candidate, look, shared_by);
  if (!parted) return all;
  const bool bad = all.verdict == Verdict::kRollBack;
  for (std::size_t part = 0; part < Observed::kParts; ++part) {
    Assessment rest =
        assess_once(analysis, stable.without(part), candidate.without(part), look, shared_by);
    if (bad && rest.verdict == Verdict::kAdvance) {
      all.verdict = Verdict::kHold;
      all.reason =
          cat("a part of the sidecars contradicts all others, which find no fault: ", all.reason);
      return all;
    }
    if (!bad && rest.verdict == Verdict::kRollBack) {
      rest.reason = cat("what a part of the sidecars tells hides it: ", rest.reason);
      return rest;
    }
  }
  return all;
}

Finding assess_outside(const Canary::Metric& metric, const OutsideValue& value) {
  Finding finding;
  finding.metric = metric;
  const bool compares = !metric.prometheus->stable.empty();
  if (!value.candidate || (compares && !value.stable)) {
    finding.sentence = cat(metric.title(), ": ", value.why);
    return finding;
  }
  const double candidate = finding.candidate = *value.candidate;
  const std::string unit = metric.unit().empty() ? "" : cat(" ", metric.unit());
  std::string said = cat(metric.title(), " ", number(candidate), unit);
  finding.verdict = Verdict::kAdvance;
  if (compares) {
    const double stable = finding.stable = *value.stable;
    const bool less_is_worse = metric.name == Measure::kTokensPerSecond;
    const double better = less_is_worse ? candidate : stable,
                 worse = less_is_worse ? stable : candidate;
    said += cat(" against ", number(stable), unit);
    if (!metric.is_share() && better <= 0) {
      finding.verdict = Verdict::kHold;
      finding.sentence = cat(said, ": nothing can be compared with that");
      return finding;
    }
    finding.low = finding.high = metric.is_share() ? worse - better : 100 * (worse / better - 1);
    said += cat(": worse by ", number(finding.low), metric.is_share() ? " points, " : " %, ",
                number(metric.usual_tolerance()), " tolerated");
    if (finding.low > metric.usual_tolerance()) finding.verdict = Verdict::kRollBack;
  }
  if (metric.maximum && candidate > *metric.maximum) {
    finding.verdict = Verdict::kRollBack;
    said += cat("; the most is ", number(*metric.maximum), unit);
  }
  if (metric.minimum && candidate < *metric.minimum) {
    finding.verdict = Verdict::kRollBack;
    said += cat("; the least is ", number(*metric.minimum), unit);
  }
  finding.sentence = std::move(said);
  return finding;
}

}  // namespace glia
