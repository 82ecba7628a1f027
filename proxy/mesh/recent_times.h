// RecentTimes: how long the last answers of a cluster took to begin, for whoever waits about so long.
#pragma once

#include <optional>

#include "proxy/base/sketch.h"
#include "proxy/base/time.h"

namespace glia {

class RecentTimes {
 public:
  // Answers in a window, which ends after kWindow at the latest; two windows are looked at.
  static constexpr uint64_t kAnswers = 1000;
  static constexpr Duration kWindow = 60s;
  // With fewer answers there is no saying.
  static constexpr uint64_t kLeast = 20;

  void add(Duration took, TimePoint now);
  // The time that `share` (0 to 1) of them did not exceed.
  std::optional<Duration> quantile(double share, TimePoint now);

 private:
  void turn(TimePoint now);

  Sketch now_, before_;  // ms
  TimePoint began_{};    // Of now_.
};

}  // namespace glia
