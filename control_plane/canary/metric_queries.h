// MetricQueries: numbers for a canary from outside the mesh.
#pragma once

#include <functional>
#include <string>

#include "control_plane/objects/canary.h"
#include "proxy/base/result.h"

namespace glia {

// Inheritance for the second one, of tests.
class MetricQueries {
 public:
  // A finite number, or why there is none.
  using Answered = std::function<void(const Result<double>&)>;
  virtual ~MetricQueries() = default;
  // `answered` is called once, later, from the top of the loop.
  virtual void ask(const Canary::Prometheus& whom, const std::string& query, Answered answered) = 0;
};

}  // namespace glia
