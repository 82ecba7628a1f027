#include "control_plane/health/health_desk.h"

#include <utility>

#include "proxy/base/text.h"

namespace glia {

void HealthDesk::take(const ObjectSet& objects, TimePoint now) {
  std::map<std::string, Machine, std::less<>> before = std::exchange(machines_, {});
  for (const Workload& workload : objects.workloads) {
    if (!workload.spec.health) continue;
    const std::string key = workload.metadata.key();
    const auto known = before.find(key);
    Machine machine = known == before.end() ? Machine() : std::move(known->second);
    machine.silence = silence(*workload.spec.health);
    if (!started_) machine.trusted_until = now + kStartGrace + machine.silence;
    machines_.emplace(key, std::move(machine));
  }
  started_ = true;
}

void HealthDesk::hear(std::string_view workload, Said said, std::string_view why, TimePoint now) {
  const auto found = machines_.find(workload);
  if (found == machines_.end()) return;
  Machine& machine = found->second;
  machine.heard = now;
  // It has not looked often enough: what was known of it stays, within the grace of a start.
  if (said == Said::kNothing) return;
  machine.said = said;
  machine.why = why;
  machine.trusted_until.reset();
}

AwayWorkloads HealthDesk::away(TimePoint now) const {
  AwayWorkloads away;
  for (const auto& [key, machine] : machines_) {
    if (machine.trusted_until && now < *machine.trusted_until) continue;
    switch (machine.said) {
      case Said::kNothing:
        away[key] = "its sidecar, with a join file, has not told yet that its application is well";
        break;
      case Said::kNotWell: away[key] = cat("its application is not well: ", machine.why); break;
      case Said::kLeaving: away[key] = "its sidecar has ended"; break;
      case Said::kWell:
        if (now - machine.heard <= machine.silence) break;
        away[key] = cat("nothing was heard of it for ", machine.silence / 1ms, " ms");
        break;
    }
  }
  return away;
}

}  // namespace glia
