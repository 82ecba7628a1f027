#include "proxy/base/time.h"

namespace glia {

TimePoint SystemClock::now() const { return std::chrono::steady_clock::now(); }
WallTime SystemClock::wall_now() const {
  return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

}  // namespace glia
