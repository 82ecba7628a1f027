#include "control_plane/objects/canary.h"

#include <tuple>

#include "proxy/base/text.h"

namespace glia {

bool CanaryShadow::compares_as(const CanaryShadow& other) const {
  return std::tie(ignore, absolute_tolerance, relative_tolerance) ==
         std::tie(other.ignore, other.absolute_tolerance, other.relative_tolerance);
}

bool Canary::Analysis::judges_as(const Analysis& other) const {
  return std::tie(minimum_requests, confidence, metrics) ==
         std::tie(other.minimum_requests, other.confidence, other.metrics);
}

bool Canary::Metric::operator==(const Metric& other) const {
  const auto asked = [](const Metric& metric) {
    const auto& from = metric.prometheus;
    return from ? cat(from->url, "\n", from->candidate, "\n", from->stable) : std::string();
  };
  return std::tie(name, percentile, tolerance, maximum, minimum) ==
             std::tie(other.name, other.percentile, other.tolerance, other.maximum,
                      other.minimum) &&
         asked(*this) == asked(other);
}

bool Canary::Metric::is_share() const {
  return name == Measure::kErrors || name == Measure::kOutputErrors ||
         name == Measure::kShadowDifferences;
}

double Canary::Metric::usual_tolerance() const { return tolerance.value_or(is_share() ? 2 : 20); }

uint32_t Canary::Metric::usual_percentile() const {
  return percentile.value_or(name == Measure::kTokensPerSecond ? 5 : 95);
}

std::string Canary::Metric::title() const {
  if (prometheus) {
    return cat(prometheus->title.empty() ? name_of(name) : std::string_view(prometheus->title),
               " (Prometheus)");
  }
  if (is_share()) return std::string(name_of(name));
  return cat(name_of(name), " p", usual_percentile());
}

std::string_view Canary::Metric::unit() const {
  if (is_share()) return "%";
  if (name == Measure::kValue) return "";
  return name == Measure::kTokensPerSecond ? "tokens/s" : "ms";
}

const std::vector<Canary::Metric>& Canary::usual_metrics() {
  static const std::vector<Metric> all = {
      {.name = Measure::kErrors},     {.name = Measure::kOutputErrors},
      {.name = Measure::kLatency},    {.name = Measure::kFirstToken},
      {.name = Measure::kInterToken}, {.name = Measure::kShadowDifferences}};
  return all;
}

std::string_view name_of(Canary::Measure measure) {
  using Measure = Canary::Measure;
  switch (measure) {
    case Measure::kErrors: return "Errors";
    case Measure::kOutputErrors: return "OutputErrors";
    case Measure::kLatency: return "Latency";
    case Measure::kFirstToken: return "FirstToken";
    case Measure::kInterToken: return "InterToken";
    case Measure::kTokensPerSecond: return "TokensPerSecond";
    case Measure::kShadowDifferences: return "ShadowDifferences";
    case Measure::kValue: return "Value";
  }
  return "";
}

}  // namespace glia
