#include "proxy/mesh/recent_times.h"

#include <utility>

namespace glia {

void RecentTimes::turn(TimePoint now) {
  const Duration age = now - began_;
  if (now_.count() < kAnswers && age < kWindow) return;
  // Nothing was asked for so long that what came before says nothing of now.
  before_ = age < 2 * kWindow ? std::exchange(now_, {}) : Sketch();
  now_ = {};
  began_ = now;
}

void RecentTimes::add(Duration took, TimePoint now) {
  turn(now);
  now_.add(to_seconds(took) * 1000);
}

std::optional<Duration> RecentTimes::quantile(double share, TimePoint now) {
  turn(now);
  if (now_.count() + before_.count() < kLeast) return {};
  Sketch both = before_;
  both.add(now_);
  constexpr double kNanosecondsInMs = 1e6;
  return Duration(static_cast<Duration::rep>(both.quantile(share) * kNanosecondsInMs));
}

}  // namespace glia
