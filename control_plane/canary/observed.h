// Observed: what the sidecars saw of one cluster in a time, summed up; and Observations, where the
// canary controller gets it from.
//
// The controller asks every few seconds for what came since it asked last, and sums up by itself, so
// Observations need not remember more than kKept. Belongs to the control plane's loop.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/telemetry/tally.h"

namespace glia {

// What sidecars counted, and how many of them.
struct Observed : ClusterTally {
  // Of the sidecars, so that a verdict can be asked for without any one of them.
  static constexpr std::size_t kParts = 3;

  // Sidecars that reported of the cluster at least once in the time, with or without requests.
  uint32_t sidecars = 0;
  // Those that are connected and were asked before the time began, and told nothing in it: what is
  // known is not all.
  uint32_t late = 0;
  // Those that are not heard because they reported what cannot be true (a bucket out of range, a sum
  // that is not finite, more errors than requests).
  uint32_t disbelieved = 0;
  // Something of the time is not known any more.
  bool forgotten = false;
  // The same counts by the part that a sidecar is in; it stays in the same one.
  std::array<ClusterTally, kParts> parts = {};

  void add_part(std::size_t part, const ClusterTally& counts) {
    ClusterTally::add(counts, kAll, kAll);
    parts[part].add(counts, kAll, kAll);
  }
  // What a later time adds. The numbers of sidecars are then those of the later one.
  void add(const Observed& later) {
    ClusterTally::add(later, kAll, kAll);
    for (std::size_t part = 0; part < kParts; ++part)
      parts[part].add(later.parts[part], kAll, kAll);
    sidecars = later.sidecars;
    late = later.late;
    disbelieved = later.disbelieved;
    forgotten = forgotten || later.forgotten;
  }
  // What all told but those of one part.
  ClusterTally without(std::size_t part) const {
    ClusterTally rest;
    for (std::size_t other = 0; other < kParts; ++other) {
      if (other != part) rest.add(parts[other], kAll, kAll);
    }
    return rest;
  }

 private:
  // Names were bounded where reports came in.
  static constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
};

// Inheritance for the second one, of the simulation, whose truth is known.
class Observations {
 public:
  // So far back between() can look, at least.
  static constexpr Duration kKept = std::chrono::minutes(15);

  virtual ~Observations() = default;
  // The clusters (xDS names) to hear of from now on; takes the place of those before. Of a cluster
  // that is not among them any more, what is known may be forgotten.
  virtual void want(std::vector<std::string> clusters) = 0;
  // Of the reports that arrived after `from` and not after `to`, by the loop's monotonic clock. Asked
  // for times that follow on each other, it counts no request twice and leaves none out. Of an unknown
  // cluster: nothing, from no sidecar.
  virtual Observed between(std::string_view cluster, TimePoint from, TimePoint to) const = 0;
};

}  // namespace glia
