#include "control_plane/canary/observations.h"

#include <algorithm>

#include "control_plane/canary/report_reading.h"
#include "control_plane/serve/peer.h"
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
std::size_t bytes_of(const Observed& seen) {
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
    if (slice.until > from && slice.until <= to) sum.add(slice.seen);
  }
  if (from < cluster.forgotten) ++sum.refused;
  sum.sidecars = sum.late = 0;
  for (const auto& [teller, told] : cluster.tellers) {
    const bool heard = told.last && *told.last > from && *told.first <= to;
    if (heard) ++sum.sidecars;
    if (!heard && told.connected && told.asked <= from) ++sum.late;
  }
  return sum;
}

void ReportedObservations::asked(Teller teller, const std::vector<std::string>& clusters,
                                 TimePoint now) {
  for (auto& [name, cluster] : clusters_) {
    const bool here = std::ranges::find(clusters, name) != clusters.end();
    const auto told = cluster.tellers.find(teller);
    if (here && told == cluster.tellers.end()) {
      cluster.tellers.emplace(teller, Told{.asked = now});
    } else if (here && !told->second.connected) {
      told->second = {.asked = now};
    } else if (!here && told != cluster.tellers.end()) {
      told->second.connected = false;
    }
  }
}

void ReportedObservations::leave(Teller teller) {
  for (auto& [name, cluster] : clusters_) {
    const auto told = cluster.tellers.find(teller);
    if (told != cluster.tellers.end()) told->second.connected = false;
  }
}

ReportedObservations::Slice& ReportedObservations::slice_at(Cluster& cluster, TimePoint now) {
  const TimePoint until = end_of_second(now);
  if (cluster.slices.empty() || cluster.slices.back().until < until) {
    cluster.slices.push_back({.until = until, .seen = {}});
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
  std::erase_if(cluster.tellers, [now](const auto& entry) {
    const Told& told = entry.second;
    return !told.connected && told.last.value_or(told.asked) + kKept < now;
  });
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
    Slice& slice = slice_at(cluster, now);
    Result<Observed> seen = read_report(one, most);
    if (!seen || !once.insert(one.cluster()).second) {
      ++slice.seen.refused;
      LOG(debug, "a report of ", printable(one.cluster()),
          " is not believed: ", seen ? "it is told twice in one message" : seen.error().message());
      continue;
    }
    rename(seen->finish_reasons, cluster.reasons);
    rename(seen->shadow.fields, cluster.fields);
    slice.seen.add(*seen);
    cluster.bytes -= slice.bytes;
    slice.bytes = bytes_of(slice.seen);
    cluster.bytes += slice.bytes;
    if (!told->second.first) told->second.first = now;
    told->second.last = now;
    keep_within_bounds(cluster, now);
  }
}

}  // namespace glia
