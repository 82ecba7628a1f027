// Prometheus: one number from an instant query of its HTTP API (POST /api/v1/query).
#pragma once

#include <string_view>

#include "control_plane/canary/http_questions.h"
#include "control_plane/canary/metric_queries.h"

namespace glia {

class Prometheus final : public MetricQueries {
 public:
  // Outlives it.
  explicit Prometheus(HttpQuestions& questions) : questions_(questions) {}
  void ask(const Canary::Prometheus& whom, const std::string& query, Answered answered) override;

 private:
  HttpQuestions& questions_;
};

// The number in an answer: a scalar, or a vector of one series. No series, several, NaN, an infinite one
// and what is no answer of Prometheus are errors.
Result<double> read_prometheus(std::string_view body);

}  // namespace glia
