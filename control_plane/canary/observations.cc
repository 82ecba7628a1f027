#include "control_plane/canary/observations.h"

#include <algorithm>

#include "control_plane/canary/report_reading.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr Duration kSlice = 1s;
constexpr std::string_view kOther = "other";

TimePoint end_of_second(TimePoint at) {
  return TimePoint(at.time_since_epoch() / kSlice * kSlice + kSlice);
}

std::size_t bytes_of(const Sketch& sketch) { return sketch.counts().size() * sizeof(uint64_t); }

// About; what a name costs in a map included.
std::size_t bytes_of(const ClusterTally& seen) {
  constexpr std::size_t kName = 64 + ReportedObservations::kLongestName;
  return sizeof seen + kName * (seen.finish_reasons.size() + seen.shadow.fields.size()) +
         bytes_of(seen.latency_ms) + bytes_of(seen.first_token_ms) + bytes_of(seen.inter_token_ms) +
         bytes_of(seen.tokens_per_second) + bytes_of(seen.shadow.latency_ms) +
         bytes_of(seen.shadow.answered_latency_ms);
}

// Names that were heard before, or that there is still room for; all others become "other".
void rename(std::map<std::string, uint64_t, std::less<>>& counts,
            std::set<std::string, std::less<>>& known) {
  std::map<std::string, uint64_t, std::less<>> renamed;
  for (const auto& [name, count] : counts) {
    const bool plain = name.size() <= ReportedObservations::kLongestName &&
                       std::ranges::all_of(name, [](char c) { return c >= ' ' && c <= '~'; });
    const bool room =
        plain && (known.contains(name) || known.size() < ReportedObservations::kMostNames);
    if (room) known.insert(name);
    renamed[room ? name : std::string(kOther)] += count;
  }
  counts = std::move(renamed);
}

}  // namespace

void ReportedObservations::want(std::vector<std::string> clusters) {
  std::ranges::sort(clusters);
  clusters.erase(std::ranges::unique(clusters).begin(), clusters.end());
  if (clusters.size() > kMostClusters) {
    LOG(warning, "canaries ask for ", clusters.size(), " clusters; what is seen of more than ",
        kMostClusters, " is not kept");
    clusters.resize(kMostClusters);
  }
  if (clusters == wanted_) return;
  wanted_ = std::move(clusters);
  ++wish_;
  std::erase_if(clusters_, [this](const auto& entry) {
    return !std::ranges::binary_search(wanted_, entry.first);
  });
  for (const std::string& name : wanted_) clusters_.try_emplace(name);
}

Observed ReportedObservations::between(std::string_view name, TimePoint from, TimePoint to) const {
  Observed sum;
  const auto found = clusters_.find(name);
  if (found == clusters_.end()) return sum;
  const Cluster& cluster = found->second;
  for (const Slice& slice : cluster.slices) {
    if (slice.until <= from || slice.until > to) continue;
    for (const auto& [part, counts] : slice.parts) sum.add_part(part, counts);
  }
  sum.forgotten = from < cluster.forgotten;
  const auto believed = [&](const Told& told) {
    const auto sidecar = cluster.sidecars.find(told.identity);
    return sidecar == cluster.sidecars.end() || sidecar->second.disbelieved_until <= from;
  };
  for (const auto& [teller, told] : cluster.tellers) {
    const bool heard = told.last && *told.last > from && *told.first <= to;
    if (!believed(told)) continue;
    if (heard) ++sum.sidecars;
    if (!heard && told.connected && told.asked <= from) ++sum.late;
  }
  for (const auto& [identity, sidecar] : cluster.sidecars) {
    if (sidecar.disbelieved_until > from) ++sum.disbelieved;
  }
  return sum;
}

ReportedObservations::Teller ReportedObservations::enter(std::string identity) {
  identities_.emplace(++last_teller_, std::move(identity));
  return last_teller_;
}

void ReportedObservations::asked(Teller teller, const std::vector<std::string>& clusters,
                                 TimePoint now) {
  for (auto& [name, cluster] : clusters_) {
    const bool here = std::ranges::find(clusters, name) != clusters.end();
    const auto told = cluster.tellers.find(teller);
    if (here && (told == cluster.tellers.end() || !told->second.connected)) {
      cluster.tellers[teller] = {.identity = identities_.at(teller), .asked = now};
    } else if (!here && told != cluster.tellers.end()) {
      told->second.connected = false;
    }
  }
}

void ReportedObservations::leave(Teller teller) {
  identities_.erase(teller);
  for (auto& [name, cluster] : clusters_) {
    const auto told = cluster.tellers.find(teller);
    if (told != cluster.tellers.end()) told->second.connected = false;
  }
}

ReportedObservations::Slice& ReportedObservations::slice_at(Cluster& cluster, TimePoint now) {
  const TimePoint until = end_of_second(now);
  if (cluster.slices.empty() || cluster.slices.back().until < until) {
    cluster.slices.push_back({.until = until, .parts = {}});
  }
  return cluster.slices.back();
}

void ReportedObservations::keep_within_bounds(Cluster& cluster, TimePoint now) {
  while (cluster.slices.size() > 1) {
    const Slice& oldest = cluster.slices.front();
    const bool old = oldest.until + kKept + kSlice < now;
    if (!old && cluster.bytes <= kMostBytes) break;
    cluster.forgotten = oldest.until;
    cluster.bytes -= oldest.bytes;
    cluster.slices.pop_front();
  }
  const std::size_t gone = std::erase_if(cluster.tellers, [now](const auto& entry) {
    const Told& told = entry.second;
    return !told.connected && told.last.value_or(told.asked) + kKept < now;
  });
  if (gone == 0) return;
  std::set<std::string_view> left;
  for (const auto& [teller, told] : cluster.tellers) left.insert(told.identity);
  std::erase_if(cluster.sidecars, [&](const auto& entry) {
    return !left.contains(entry.first) && entry.second.disbelieved_until < now;
  });
}

// Who tells of requests first is in the first one, the next in the second, so that few sidecars are
// all in different ones.
std::size_t ReportedObservations::part_of(Cluster& cluster, Sidecar& sidecar,
                                          const ClusterTally& told) {
  if (sidecar.part) return *sidecar.part;
  if (told.requests + told.shadow.sent == 0) return 0;
  sidecar.part = cluster.parted++ % Observed::kParts;
  return *sidecar.part;
}

void ReportedObservations::take(Teller teller, const v1::Report& report, Duration since,
                                TimePoint now) {
  const auto seconds = static_cast<uint64_t>(std::max<int64_t>(1, (since + 1s - 1ns) / 1s));
  constexpr uint64_t kMostSeconds = 60;
  const uint64_t most = kMostRequests * std::min(seconds, kMostSeconds);
  std::set<std::string_view> once;
  for (const v1::ClusterReport& one : report.clusters()) {
    const auto found = clusters_.find(one.cluster());
    if (found == clusters_.end()) continue;
    Cluster& cluster = found->second;
    const auto told = cluster.tellers.find(teller);
    if (told == cluster.tellers.end() || !told->second.connected) continue;
    Sidecar& sidecar = cluster.sidecars[told->second.identity];
    if (sidecar.disbelieved_until > now) continue;
    Result<ClusterTally> seen = read_report(one, most);
    if (!seen || !once.insert(one.cluster()).second) {
      sidecar.disbelieved_until = now + kDisbelief;
      LOG(warning, told->second.identity, " reported of ", one.cluster(), " what cannot be true (",
          seen ? "it is told twice in one message" : seen.error().message(), "); for ",
          to_ms(kDisbelief) / 60'000, " minutes it is not heard on that");
      continue;
    }
    rename(seen->finish_reasons, cluster.reasons);
    rename(seen->shadow.fields, cluster.fields);
    Slice& slice = slice_at(cluster, now);
    ClusterTally& part = slice.parts[part_of(cluster, sidecar, *seen)];
    cluster.bytes -= slice.bytes;
    slice.bytes -= std::min(slice.bytes, bytes_of(part));
    part.add(*seen, SIZE_MAX, SIZE_MAX);
    slice.bytes += bytes_of(part);
    cluster.bytes += slice.bytes;
    if (!told->second.first) told->second.first = now;
    told->second.last = now;
    keep_within_bounds(cluster, now);
  }
}

}  // namespace glia
