#include "proxy/model/server_report.h"

#include <algorithm>

namespace glia {
namespace {

constexpr std::string_view kAdapterPrefix = "glia.adapter.";
constexpr double kLoaded = 1, kWaiting = 0;

uint32_t whole(double value) { return static_cast<uint32_t>(std::clamp(value, 0.0, 4294967295.0)); }

Duration from_ms(double ms) {
  // A day is more than any of these times; the rest of a double's range would overflow.
  return Duration(static_cast<int64_t>(std::clamp(ms, 0.0, 86'400'000.0) * 1e6));
}

struct Number {
  std::string_view name;
  std::optional<float> ServerReport::* value;
};
constexpr Number kNumbers[] = {
    {"num_requests_waiting", &ServerReport::waiting},
    {"num_requests_running", &ServerReport::running},
    {"kv_cache_usage_perc", &ServerReport::kv_use},
    {"kv_cache_utilization", &ServerReport::kv_use},  // Triton's.
    {"glia.in_flight", &ServerReport::in_flight},
    {"glia.reading_tokens", &ServerReport::reading},
    {"glia.slots", &ServerReport::slots},
};

struct Count {
  std::string_view name;
  uint32_t ServerReport::* value;
};
constexpr Count kCounts[] = {
    {"glia.block_size", &ServerReport::block_size},
    {"glia.block_count", &ServerReport::block_count},
    {"glia.most_adapters", &ServerReport::most_adapters},
};

void take(const OrcaReport::Metric& metric, ServerReport& report) {
  for (const Number& number : kNumbers) {
    // A negative number of requests is not one.
    if (number.name == metric.name && metric.value >= 0) {
      report.*number.value = static_cast<float>(metric.value);
    }
  }
  for (const Count& count : kCounts) {
    if (count.name == metric.name) report.*count.value = whole(metric.value);
  }
  if (metric.name == "glia.latency_ms") report.latency = from_ms(metric.value);
  if (metric.name == "glia.age_ms") report.age = from_ms(metric.value);
  if (!metric.name.starts_with(kAdapterPrefix)) return;
  auto& list = metric.value >= kLoaded ? report.loaded_adapters : report.waiting_adapters;
  list.push_back(metric.name.substr(kAdapterPrefix.size()));
}

}  // namespace

ServerReport::Adapter ServerReport::adapter(std::string_view name) const {
  if (std::ranges::find(loaded_adapters, name) != loaded_adapters.end()) return Adapter::kLoaded;
  if (std::ranges::find(waiting_adapters, name) != waiting_adapters.end()) return Adapter::kWaiting;
  return Adapter::kAbsent;
}

ServerReport server_report_of(const OrcaReport& orca) {
  ServerReport report;
  report.utilization =
      orca.application_utilization > 0 ? orca.application_utilization : orca.cpu_utilization;
  report.rps = orca.rps;
  report.eps = orca.eps;
  for (const OrcaReport::Metric& metric : orca.named_metrics) take(metric, report);
  if (report.kv_use) report.kv_use = std::min(*report.kv_use, 1.0f);
  return report;
}

OrcaReport orca_of(const ServerReport& report) {
  OrcaReport orca;
  orca.application_utilization = report.utilization;
  orca.rps = report.rps;
  orca.eps = report.eps;
  auto& named = orca.named_metrics;
  for (const Number& number : kNumbers) {
    const bool alias =
        number.value == &ServerReport::kv_use && number.name != "kv_cache_usage_perc";
    if (report.*number.value && !alias) {
      named.push_back({std::string(number.name), *(report.*number.value)});
    }
  }
  if (report.latency) named.push_back({"glia.latency_ms", to_seconds(*report.latency) * 1e3});
  if (report.age > Duration::zero()) {
    named.push_back({"glia.age_ms", static_cast<double>(to_ms(report.age))});
  }
  for (const Count& count : kCounts) {
    if (report.*count.value != 0) {
      named.push_back({std::string(count.name), static_cast<double>(report.*count.value)});
    }
  }
  const auto adapters = [&](const std::vector<std::string>& names, double value) {
    for (const std::string& name : names) {
      if (named.size() >= kOrcaMostMetrics) return;
      named.push_back({std::string(kAdapterPrefix) + name, value});
    }
  };
  adapters(report.loaded_adapters, kLoaded);
  adapters(report.waiting_adapters, kWaiting);
  return orca;
}

}  // namespace glia
