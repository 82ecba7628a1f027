// Hedge: whether and when a second copy of a request goes to another endpoint (glia.v1.Hedging).
//
// One server that is slow now and then makes the tail of all requests. The first copy goes on while the
// second is under way; the first good answer is taken and the other copy is cancelled in the same
// moment. A budget keeps an upstream in trouble from getting a multiple of its load.
#pragma once

#include <memory>
#include <optional>

#include "proxy/flow/filter.h"
#include "proxy/flow/retry.h"
#include "proxy/mesh/cluster.h"

namespace glia {

class Hedge {
 public:
  // Both outlive this.
  Hedge(Exchange& exchange, const Chances& chances);

  // The route asks for it, and the request may be done twice.
  bool possible() const { return hedging_ != nullptr && !used_; }
  // How long the first copy has for its answer; nothing while too little is known of others'.
  std::optional<Duration> delay(Cluster* cluster) const;
  // The second copy, which counts from now on; null if the budget, or what is there of the request's
  // body, does not allow one. `cluster` is that of the first.
  std::unique_ptr<Request> second(Cluster& cluster);

  // Whether waiting for the other copy would bring nothing better.
  static bool good(const Reply& reply);

 private:
  Exchange& exchange_;
  const Chances& chances_;
  const Hedging* hedging_ = nullptr;
  bool used_ = false;
};

}  // namespace glia
