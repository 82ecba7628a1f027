#include "proxy/mesh/endpoint_load.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace glia {

uint64_t EndpointLoad::adapter_hash(std::string_view name) {
  return std::hash<std::string_view>()(name);
}

void EndpointLoad::report(const ServerReport& report, uint32_t active, TimePoint now) {
  heard_ = true;
  heard_at_ = now;
  engine_at_ = now - report.age;
  kv_price_ = 0;
  if (report.kv_use) {
    const float free = std::max(0.05f, 1 - *report.kv_use);
    kv_price_ = std::min(3.0f, 0.15f * *report.kv_use / free);
  }
  ++reports_;
  report_ = report;
  loaded_.clear();
  waiting_.clear();
  for (const std::string& name : report.loaded_adapters) loaded_.push_back(adapter_hash(name));
  for (const std::string& name : report.waiting_adapters) waiting_.push_back(adapter_hash(name));
  report_.loaded_adapters.clear();
  report_.waiting_adapters.clear();
  std::optional<float> all = report.in_flight;
  if (!all && (report.waiting || report.running)) {
    all = report.waiting.value_or(0) + report.running.value_or(0);
  }
  others_.reset();
  if (all) others_ = std::max(0.0f, *all - static_cast<float>(active));
  others_reading_ = std::max(0.0f, report.reading.value_or(0) - reading());
}

ServerReport::Adapter EndpointLoad::adapter(uint64_t hash) const {
  const auto in = [&](const std::vector<uint64_t>& list) {
    return std::ranges::find(list, hash) != list.end();
  };
  return in(loaded_)    ? ServerReport::Adapter::kLoaded
         : in(waiting_) ? ServerReport::Adapter::kWaiting
                        : ServerReport::Adapter::kAbsent;
}

bool EndpointLoad::adapter_room() const {
  return report_.most_adapters == 0 || loaded_.size() + waiting_.size() < report_.most_adapters;
}

void EndpointLoad::answered(Duration latency, double work, TimePoint now) {
  ++answers_;
  const double drain = std::log(std::max(to_seconds(latency), 1e-6) / std::max(work, 1.0));
  const double memory = std::min(static_cast<double>(answers_), kLatencyMemory);
  log_drain_ += (drain - log_drain_) / memory;
  latency_ += Duration(static_cast<int64_t>(static_cast<double>((latency - latency_).count()) /
                                            std::min(memory, 8.0)));
  // An answer is a sign of health.
  failures_ = failures(now) * 0.75;
  failed_at_ = now;
}

void EndpointLoad::failed(TimePoint now) {
  failures_ = failures(now) + 1;
  failed_at_ = now;
}

double EndpointLoad::faded_failures(TimePoint now) const {
  return failures_ * std::exp2(-to_seconds(now - failed_at_) / to_seconds(kFailureHalfLife));
}

}  // namespace glia
