// Backoff: how long to wait before the next try of what has failed.
#pragma once

#include <algorithm>

#include "proxy/base/random.h"
#include "proxy/base/time.h"

namespace glia {

class Backoff {
 public:
  // `least` after the first failure; doubles with each further one, up to `most`.
  Backoff(Duration least, Duration most) : least_(least), most_(most), delay_(least) {}

  // Half to whole of what is due, so that a fleet does not come back in step.
  Duration next(Random& random) {
    const Duration due = delay_;
    delay_ = std::min(2 * delay_, most_);
    return due - Duration(static_cast<Duration::rep>(
                     random.below(static_cast<uint64_t>(due.count()) / 2 + 1)));
  }
  // It has worked.
  void reset() { delay_ = least_; }

 private:
  const Duration least_, most_;
  Duration delay_;
};

}  // namespace glia
