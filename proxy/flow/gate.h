// Gate: decides whether a connection may go on, once it is known who is there and before anything is
// done for it.
#pragma once

#include <string>

#include "proxy/net/stream.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

class Gate {
 public:
  struct Verdict {
    bool allowed = true;
    std::string
        policy;       // Which one refused, or what a shadow verdict would have been; for the log.
    std::string why;  // When refused: one sentence.
  };
  virtual ~Gate() = default;
  virtual Verdict admit(const ConnectionInfo& connection) = 0;
  // `labels`: of the listener's chain.
  virtual void collect(MetricsPage& page, const Labels& labels) const = 0;
};

}  // namespace glia
