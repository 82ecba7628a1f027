#include "proxy/telemetry/tally.h"

#include <utility>

namespace glia {

void ClusterTally::count(Counts& counts, std::string_view key, std::size_t most, uint64_t more) {
  if (const auto found = counts.find(key); found != counts.end()) {
    found->second += more;
  } else if (counts.size() < most) {
    counts.emplace(key, more);
  }
}

void ClusterTally::add(const ClusterTally& other, std::size_t most_reasons,
                       std::size_t most_fields) {
  requests += other.requests;
  errors += other.errors;
  output_errors += other.output_errors;
  input_tokens += other.input_tokens;
  output_tokens += other.output_tokens;
  for (const auto& [reason, times] : other.finish_reasons) {
    count(finish_reasons, reason, most_reasons, times);
  }
  latency_ms.add(other.latency_ms);
  first_token_ms.add(other.first_token_ms);
  inter_token_ms.add(other.inter_token_ms);
  tokens_per_second.add(other.tokens_per_second);
  shadow.sent += other.shadow.sent;
  shadow.failed += other.shadow.failed;
  shadow.compared += other.shadow.compared;
  shadow.different += other.shadow.different;
  shadow.skipped += other.shadow.skipped;
  for (const auto& [field, times] : other.shadow.fields) {
    count(shadow.fields, field, most_fields, times);
  }
  shadow.latency_ms.add(other.shadow.latency_ms);
  shadow.answered_latency_ms.add(other.shadow.answered_latency_ms);
}

ClusterTally* Tallies::find(std::string_view cluster) {
  const auto found = clusters.find(cluster);
  return found == clusters.end() ? nullptr : &found->second;
}

void Tallies::want(const std::vector<std::string>& names) {
  std::map<std::string, ClusterTally, std::less<>> wanted;
  for (const std::string& name : names) {
    ClusterTally* const before = find(name);
    wanted.try_emplace(name, before != nullptr ? std::move(*before) : ClusterTally());
  }
  clusters = std::move(wanted);
}

Tallies Tallies::take() {
  Tallies taken;
  for (auto& [name, tally] : clusters) {
    taken.clusters.emplace(name, std::exchange(tally, ClusterTally()));
  }
  return taken;
}

void Tallies::add(const Tallies& other) {
  for (const auto& [name, tally] : other.clusters) clusters[name].add(tally);
}

}  // namespace glia
