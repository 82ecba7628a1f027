// EndpointLoad: what one worker believes of an endpoint's load, from what the server said and from what
// this worker has seen itself.
//
// Each report has an age, and with it grows the doubt: `confidence` is 1 when it comes, 1/2 after the
// half-life and goes to 0. What is not believed any more is not taken for 0 nor for full: the share of
// other callers is then that of the other endpoints (model_balancer.cc).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/model/server_report.h"

namespace glia {

class EndpointLoad {
 public:
  // The server said this; `active` are our own requests there.
  void report(const ServerReport& report, uint32_t active, TimePoint now);
  void rejected() { ++rejected_; }
  // An answer began to come, after `latency`; `work` is what was believed to be there, this request
  // included, when it was sent.
  void answered(Duration latency, double work, TimePoint now);
  // Prompts of ours with so many tokens more, or less, are there and not read yet.
  void reads(float tokens) { reading_ += tokens; }
  float reading() const { return std::max(0.0f, reading_); }
  // A failure of the server: no connection, a reset, a 5xx. Never what a client did wrong.
  void failed(TimePoint now);

  bool heard() const { return heard_; }
  TimePoint heard_at() const { return heard_at_; }
  const ServerReport& last() const { return report_; }
  uint64_t reports() const { return reports_; }
  uint64_t rejected_reports() const { return rejected_; }
  // How far the last report is believed: 1 / (1 + (age / half_life)^2); 0 without one.
  double confidence(TimePoint now, Duration half_life) const {
    return heard_ ? belief(now - heard_at_, half_life) : 0;
  }
  // The same for what the engine itself said, which was older when it was sent.
  double engine_confidence(TimePoint now, Duration half_life) const {
    return heard_ ? belief(now - heard_at_ + report_.age, half_life) : 0;
  }
  // The same for whoever asks for many endpoints; `rate` is 1 / half-life, of nanoseconds.
  float confidence(TimePoint now, float rate) const {
    return heard_ ? belief(now - heard_at_, rate) : 0;
  }
  float engine_confidence(TimePoint now, float rate) const {
    return heard_ ? belief(now - engine_at_, rate) : 0;
  }
  // How many times more a request costs for a nearly full KV cache, as far as the report is believed.
  float kv_price() const { return kv_price_; }
  // Requests of others that were there when it was sent; nothing if it did not say.
  std::optional<float> others() const { return others_; }
  // Tokens that it had still to read for others then; 0 if it did not say.
  float others_reading() const { return others_reading_; }
  ServerReport::Adapter adapter(uint64_t hash) const;
  bool adapter_room() const;
  static uint64_t adapter_hash(std::string_view name);

  // Time that one unit of work costs, from our own latencies: natural logarithm of seconds, mean over
  // about kLatencyMemory answers; nothing before kLatencyLeast of them.
  std::optional<double> log_drain() const {
    return answers_ >= kLatencyLeast ? std::optional(log_drain_) : std::nullopt;
  }
  std::optional<Duration> latency() const {
    return answers_ > 0 ? std::optional(latency_) : std::nullopt;
  }
  // Failures, of which each counts half after kFailureHalfLife.
  double failures(TimePoint now) const { return failures_ == 0 ? 0 : faded_failures(now); }

  // As the last pick saw it.
  float estimate = 0;  // Requests.
  float work = 1;      // What one more request would find there, itself included, in requests.
  float expected = 0;  // Tokens that it would have to read for the request that it was picked for.
  float score = 0;
  bool ignores_probes = false;  // Of HOT_COLD: an older sidecar, or none.
  uint64_t picked = 0;
  // For weights by use (weighted_by_reports.cc).
  double weight = 0;  // 0: not known.
  std::optional<TimePoint> weight_since;
  // Place in the prefix index, and whose it is.
  uint32_t prefix_place = 0;

  static constexpr double kLatencyMemory = 48;  // answers
  static constexpr uint64_t kLatencyLeast = 8;  // answers
  static constexpr Duration kFailureHalfLife = 5s;

 private:
  double faded_failures(TimePoint now) const;
  static float belief(Duration age, float rate) {
    const float ages = static_cast<float>(age.count()) * rate;
    return 1 / (1 + ages * ages);
  }
  static double belief(Duration age, Duration half_life) {
    const double ages = static_cast<double>(age.count()) / static_cast<double>(half_life.count());
    return 1 / (1 + ages * ages);
  }

  // What each pick asks of each endpoint stands together.
  TimePoint heard_at_{}, engine_at_{};  // The latter: when the engine was asked.
  std::optional<float> others_;
  float reading_ = 0, others_reading_ = 0;  // tokens
  float kv_price_ = 0;
  bool heard_ = false;
  double log_drain_ = 0;
  uint64_t answers_ = 0;
  double failures_ = 0;
  TimePoint failed_at_{};
  Duration latency_{};
  uint64_t reports_ = 0, rejected_ = 0;
  ServerReport report_;                     // Without the names of adapters.
  std::vector<uint64_t> loaded_, waiting_;  // Hashes of adapters.
};

}  // namespace glia
