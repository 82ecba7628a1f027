// HealthDesk: which machines are among the endpoints of their Services, by what their sidecars tell of their
// applications, and by their silence.
//
// Only Workloads with `health` are here. Times come from outside, so that it is the same in tests. Belongs to
// the control plane's loop.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "control_plane/objects/live_set.h"
#include "proxy/base/time.h"

namespace glia {

class HealthDesk {
 public:
  // Looks that are not told of before a machine counts as silent: it is dead, or cut off.
  static constexpr int kSilentLooks = 3;
  // After a start of the control plane: machines are left where they may well be until their sidecars have
  // found the way back.
  static constexpr Duration kStartGrace = 15s;

  enum class Said : uint8_t { kNothing, kWell, kNotWell, kLeaving };

  // The objects in force; of the first ones, those are believed to be well that have not said otherwise.
  void take(const ObjectSet& objects, TimePoint now);
  // What the sidecar of `workload` says. Nothing happens if nobody asked.
  void hear(std::string_view workload, Said said, std::string_view why, TimePoint now);
  AwayWorkloads away(TimePoint now) const;

  // The longest that one which died stays among the endpoints, but for the way to the sidecars.
  static Duration silence(const Workload::Health& health) {
    return kSilentLooks * health.interval + health.timeout;
  }

 private:
  struct Machine {
    Duration silence{};
    Said said = Said::kNothing;
    std::string why;
    TimePoint heard;                         // When it last said anything.
    std::optional<TimePoint> trusted_until;  // Of those that were there at the start.
  };
  std::map<std::string, Machine, std::less<>> machines_;
  bool started_ = false;
};

}  // namespace glia
