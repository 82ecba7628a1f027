// Rate: at most so many a second with a burst, counted by a bucket that refills with time.
#pragma once

#include <algorithm>

#include "proxy/base/time.h"

namespace glia {

struct RateLimit {
  double per_second;
  double burst;
};

class Rate {
 public:
  Rate(RateLimit limit, TimePoint now) : limit_(limit), left_(limit.burst), at_(now) {}

  // Takes one if there is one.
  bool take(TimePoint now) {
    left_ = std::min(limit_.burst, left_ + to_seconds(now - at_) * limit_.per_second);
    at_ = now;
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  RateLimit limit_;
  double left_;
  TimePoint at_;
};

}  // namespace glia
