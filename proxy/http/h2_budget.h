// Budgets of what an HTTP/2 peer may do without being useful: so much at once, so much a second,
// and something back for useful work, because who finishes a thousand requests may well cancel
// some.
#pragma once

#include <algorithm>
#include <cstdint>

#include "proxy/base/time.h"

namespace glia {

struct Allowance {
  int64_t rate = 0;  // a second
  int64_t burst = 0;
};

class H2Budget {
 public:
  explicit H2Budget(Allowance allowance) : allowance_(allowance), left_(allowance.burst * kUnit) {}

  void spend(TimePoint now, int64_t count = 1) {
    if (now > filled_at_) refill(now);
    left_ -= count * kUnit;
  }
  void earn(int64_t count) { left_ = std::min(left_ + count * kUnit, allowance_.burst * kUnit); }
  bool overdrawn() const { return left_ < 0; }
  // Three quarters are gone: time to part, as long as it can be done in peace.
  bool worn() const { return left_ < allowance_.burst * kUnit / 4; }

 private:
  static constexpr int64_t kUnit = 1000;  // of `left_`, so that a refill every millisecond counts

  void refill(TimePoint now) {
    // What an hour brings fills any budget; and it keeps the product small.
    const int64_t ms = to_ms(std::min<Duration>(now - filled_at_, 1h));
    if (ms == 0) return;
    filled_at_ = now;
    left_ = std::min(left_ + ms * allowance_.rate, allowance_.burst * kUnit);
  }

  Allowance allowance_;
  int64_t left_;
  TimePoint filled_at_{};
};

}  // namespace glia
