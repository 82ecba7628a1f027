#include "proxy/mesh/server_load.h"

#include <algorithm>
#include <array>

namespace glia {
namespace {

constexpr int kShift = 48;
constexpr uint64_t kMostInFlight = 0xFFFF, kMostUs = (uint64_t{1} << kShift) - 1;

}  // namespace

void ServerLoad::answered(uint32_t with, Duration latency) const {
  const auto us = static_cast<uint64_t>(std::max<int64_t>(0, latency / 1us));
  latencies_.add(std::min<uint64_t>(with, kMostInFlight) << kShift | std::min(us, kMostUs));
}

// The median of those requests that arrived when about as many were in flight (Prequal, section 4).
Duration ServerLoad::typical_latency(int64_t in_flight) const {
  struct Near {
    int64_t distance;
    uint64_t us;
  };
  std::array<Near, kLatencies> near;
  const std::size_t size = latencies_.size();
  for (std::size_t i = 0; i < size; ++i) {
    const uint64_t sample = latencies_.at(i);
    const int64_t distance = static_cast<int64_t>(sample >> kShift) - in_flight;
    near[i] = {distance < 0 ? -distance : distance, sample & kMostUs};
  }
  const std::size_t used = std::min(size, kTypicalOf);
  if (used == 0) return Duration::zero();
  const auto begin = near.begin();
  const auto offset = [&](std::size_t i) { return begin + static_cast<std::ptrdiff_t>(i); };
  std::nth_element(begin, offset(used - 1), offset(size),
                   [](const Near& a, const Near& b) { return a.distance < b.distance; });
  std::nth_element(begin, offset(used / 2), offset(used),
                   [](const Near& a, const Near& b) { return a.us < b.us; });
  return Duration(static_cast<int64_t>(near[used / 2].us) * 1000);
}

ServerReport ServerLoad::report(TimePoint now) const {
  ServerReport report;
  const int64_t in_flight = in_flight_.value();
  const auto waiting = static_cast<float>(std::max<int64_t>(0, waiting_.value()));
  report.in_flight = static_cast<float>(std::max<int64_t>(0, in_flight)) + waiting;
  if (waiting > 0) report.waiting = waiting;
  report.reading = static_cast<float>(std::max<int64_t>(0, reading_.value()));
  const Duration latency = typical_latency(in_flight);
  if (latency > Duration::zero()) report.latency = latency;
  const auto seen = seen_.get();
  if (seen == nullptr || now - seen->at > kOldest) return report;
  report.age = now - seen->at;
  report.rps = seen->rps;
  const EngineSample& sample = seen->sample;
  if (sample.running) report.running = static_cast<float>(*sample.running);
  if (sample.kv_use) {
    report.kv_use = static_cast<float>(*sample.kv_use);
    report.utilization = *sample.kv_use;
  }
  if (sample.waiting) {
    // While some wait, each request more or less since then waits more or less.
    const double since = *sample.waiting > 0 ? static_cast<double>(in_flight) - seen->in_flight : 0;
    report.waiting = static_cast<float>(std::max(0.0, *sample.waiting + since)) + waiting;
  }
  if (seen->slots > 0) report.slots = static_cast<float>(seen->slots);
  // Of an engine without a KV cache, its places.
  if (!sample.kv_use && seen->slots > 0) {
    report.utilization = std::max<double>(0, static_cast<double>(in_flight)) / seen->slots;
  }
  report.block_size = sample.block_size;
  report.block_count = sample.block_count;
  report.most_adapters = sample.most_adapters;
  report.loaded_adapters = sample.running_adapters;
  report.waiting_adapters = sample.waiting_adapters;
  return report;
}

}  // namespace glia
