// Time: durations and points in nanoseconds, and Clock, the only door to both.
#pragma once

#include <chrono>
#include <cstdint>

namespace glia {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

// A point on the monotonic clock; comparable only within one process.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// A point on the calendar, for certificates and logs.
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

// A limit that is never reached; what a configured "0, no limit" becomes.
inline constexpr Duration kForever = 24h * 36500;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual WallTime wall_now() const = 0;
};

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  TimePoint now() const override;
  WallTime wall_now() const override;
};

inline double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
inline int64_t to_ms(Duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}

}  // namespace glia
