// LearnedLimit: how many requests an application works on at once before more of them only make all of
// them slower, learned from how long they take.
//
// By Little's law the requests that are really worked on are throughput times the time that a request
// takes when none waits inside. So the limit follows in-flight x (shortest mean / mean now), with a
// fifth to spare, which lets it grow until the mean does. The shortest mean is measured anew every now
// and then with the limit lowered for two windows, because under steady overload nothing else would
// show it: there Envoy's and Netflix' gradients climb to their ceiling (docs/admission.md has the
// figures of the comparison).
//
// Nor does it grow to where work takes nearly as long as callers wait: they would have nothing of it, and who
// is urgent could not wait for a turn.
//
// Pure: it is told times, and reads no clock.
#pragma once

#include <cstdint>
#include <optional>

#include "proxy/base/time.h"

namespace glia {

class LearnedLimit {
 public:
  static constexpr uint32_t kFirst = 16;      // Where it begins.
  static constexpr uint32_t kWindow = 100;    // requests
  static constexpr uint32_t kLookEvery = 20;  // windows
  static constexpr uint32_t kLookFor = 2;     // windows
  static constexpr double kLowered = 0.7;     // Of the limit, meanwhile.
  static constexpr double kRoom = 1.2,
                          kFall = 0.7;  // A window changes the limit by at most so much.

  // Of the time that callers wait, so much may be work, or the limit grows no more.
  static constexpr double kPatience = 0.8;
  static constexpr double kPatienceMemory = 128;  // requests
  // A window with a shorter mean takes the shortest along by a so many-th of the way.
  static constexpr double kShorter = 8;

  explicit LearnedLimit(uint32_t most) : most_(most) {}
  void most(uint32_t most);
  uint32_t value() const;
  // A request was worked on for `took`; `in_flight` were at work until now, itself included. Its caller
  // would have waited for `patience` in all, if that is known.
  void ended(Duration took, uint32_t in_flight, std::optional<Duration> patience = {});

 private:
  void look_over(double mean);
  void follow(double mean);

  uint32_t most_;
  double limit_ = kFirst;
  std::optional<double> shortest_;  // seconds; the mean of a window in which none waited inside
  double found_at_ = kFirst;        // The limit then.
  double patience_ = 0;             // seconds, the mean of late; 0: nobody says.
  uint32_t windows_ = 0;            // Since then.
  uint32_t looking_ = 0;            // Windows that are left with the lowered limit.
  double looked_ = 0;               // Sum of their means.
  // Requests to come that say nothing: they began under the limit before, or are the first, and short
  // ones end first.
  uint32_t stale_ = kWindow;
  // The window in progress.
  uint32_t count_ = 0, full_ = 0;
  double sum_ = 0;
};

}  // namespace glia
