// Engine metrics: what a model server says of itself on its Prometheus page, read without building a
// document: a page of 200 KB leaves behind one EngineSample.
//
// One table (engine_metrics.cc) says which names of which engine mean what. Engines that publish no
// queue publish how long requests have waited in all; by Little's law the growth of that sum over a
// time is the mean number that waited (EngineTotals).
//
// Source: the Prometheus text format 0.0.4; names from the engines' own documents
// (docs/choosing-an-endpoint.md lists them).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"

namespace glia {

enum class Engine : uint8_t { kVllm, kSglang, kTensorRtLlm, kTriton, kTgi, kMlServer, kTfServing };

// "vllm", "sglang", "tensorrt-llm", "triton", "tgi", "mlserver", "tf-serving".
std::string_view name_of(Engine engine);
std::optional<Engine> parse_engine(std::string_view name);
// Where it shows its metrics unless told otherwise: "/metrics".
std::string_view metrics_path(Engine engine);

// What is known of a server; what is not known is absent, never 0.
struct EngineSample {
  std::optional<double> waiting;  // Requests.
  std::optional<double> running;  // Requests.
  std::optional<double> kv_use;   // Of its KV cache, 0 to 1.
  uint32_t block_size = 0;        // Tokens of a KV block; 0: unknown.
  uint32_t block_count = 0;       // 0: unknown.
  uint32_t most_adapters = 0;     // That can be loaded at once; 0: unknown.
  std::vector<std::string> running_adapters, waiting_adapters;
  friend bool operator==(const EngineSample&, const EngineSample&) = default;
};

// Sums since the engine began, to be compared with those of the scrape before.
struct EngineTotals {
  std::optional<double> waited_us, ran_us;       // Of all requests together.
  std::optional<double> queue_sum, queue_count;  // Lengths of a queue as arrivals saw it.
};

// Completes `sample` with what grew from `before` to `now` within `time`. A sum that fell (the engine
// began anew) says nothing.
void add_rates(EngineSample& sample, const EngineTotals& before, const EngineTotals& now,
               Duration time);

inline constexpr std::size_t kLongestMetricLine = 32 * 1024;  // bytes; a longer one is passed over
inline constexpr std::size_t kMostAdapters = 64;              // Of each list; the rest is left out.
inline constexpr std::size_t kLongestAdapter = 128;           // bytes; longer names are left out

// Takes a page in pieces of any size.
class EngineScanner {
 public:
  explicit EngineScanner(Engine engine) : engine_(engine) {}
  void feed(std::string_view piece);
  // After the last piece.
  const EngineSample& finish();
  const EngineTotals& totals() const { return totals_; }
  // Lines that had a known name: 0 means that this page is of another engine.
  uint32_t known_lines() const { return known_; }

 private:
  void line(std::string_view line);
  void apply(std::size_t row, std::string_view labels, double value);

  const Engine engine_;
  EngineSample sample_;
  EngineTotals totals_;
  double adapters_at_ = 0;     // The value of the newest line about adapters.
  std::string partial_;        // A line that is not complete.
  bool passing_over_ = false;  // Up to the end of the line.
  uint32_t known_ = 0;
};

}  // namespace glia
