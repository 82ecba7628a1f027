// ReportedObservations: what sidecars report of the clusters that are asked for, by the second.
//
// A report counts in the second in which it arrives, and a second is told once it is over, so that
// questions about times that follow on each other count each report once. Reports come from strangers:
// who says what cannot be true is not heard for a while, and nothing they say makes this grow beyond its
// limits.
// Belongs to the control plane's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/canary/observed.h"
#include "glia/v1/report.pb.h"

namespace glia {

class ReportedObservations final : public Observations {
 public:
  static constexpr std::size_t kMostClusters = 256;  // Asked for; the rest is left out.
  // Of a cluster; beyond it the oldest is forgotten.
  static constexpr std::size_t kMostBytes = 4 * 1024 * 1024;
  // Finish reasons, and fields, of a cluster; further ones are "other".
  static constexpr std::size_t kMostNames = 64;
  static constexpr std::size_t kLongestName = 128;     // bytes, of a finish reason or field
  static constexpr uint64_t kMostRequests = 500'000;   // A second, of one sidecar.
  static constexpr uint64_t kMostTokens = 10'000'000;  // Of one request, in the mean.
  // So long nothing is believed of who reported what cannot be true, of that cluster.
  static constexpr Duration kDisbelief = 15min;

  // Observations.
  void want(std::vector<std::string> clusters) override;
  // To the second: what arrived in the second of `to` is told to who asks after its end. Where
  // something was forgotten that belongs to the answer, it says so.
  Observed between(std::string_view cluster, TimePoint from, TimePoint to) const override;

  const std::vector<std::string>& wanted() const { return wanted_; }
  // Another number whenever wanted() is another one.
  uint64_t wish() const { return wish_; }

  // A sidecar, as long as its stream lives; `now` never goes back. Streams of one identity are
  // believed, and counted to a part, together.
  using Teller = uint64_t;
  Teller enter(std::string identity);
  // It is asked for these from now on, instead of those before.
  void asked(Teller teller, const std::vector<std::string>& clusters, TimePoint now);
  // `since`: the time that the report can speak of, by our own clock. Of clusters that the teller is
  // not asked for nothing is believed.
  void take(Teller teller, const v1::Report& report, Duration since, TimePoint now);
  void leave(Teller teller);

 private:
  struct Slice {
    TimePoint until;  // The end of its second; arrivals at that very moment belong to the next.
    std::map<std::size_t, ClusterTally> parts;  // See Observed.
    std::size_t bytes = 0;
  };
  struct Told {
    std::string identity;
    TimePoint asked;
    std::optional<TimePoint> first, last;  // Reports.
    bool connected = true;
  };
  struct Sidecar {
    std::optional<std::size_t> part;  // Since its first request.
    TimePoint disbelieved_until{};
  };
  struct Cluster {
    std::deque<Slice> slices;  // The newest last.
    std::size_t bytes = 0;
    TimePoint forgotten;  // Nothing is known of what came before.
    std::map<Teller, Told> tellers;
    std::map<std::string, Sidecar, std::less<>> sidecars;  // Of the tellers, by identity.
    std::size_t parted = 0;                                // Sidecars that were given a part.
    std::set<std::string, std::less<>> reasons, fields;    // Names that have been heard.
  };

  Slice& slice_at(Cluster& cluster, TimePoint now);
  static std::size_t part_of(Cluster& cluster, Sidecar& sidecar, const ClusterTally& told);
  void keep_within_bounds(Cluster& cluster, TimePoint now);

  std::map<std::string, Cluster, std::less<>> clusters_;
  std::vector<std::string> wanted_;
  uint64_t wish_ = 0;
  Teller last_teller_ = 0;
  std::map<Teller, std::string> identities_;  // Of those whose stream lives.
};

}  // namespace glia
