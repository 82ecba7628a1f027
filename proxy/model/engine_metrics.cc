#include "proxy/model/engine_metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "proxy/base/text.h"

namespace glia {
namespace {

enum class Meaning : uint8_t {
  kWaiting,
  kRunning,
  kKvUse,
  kBlockSize,
  kBlockCount,
  kWaitedUs,
  kRanUs,
  kQueueSum,
  kQueueCount,
  kBlockSizeLabel,  // The value stands in the label, not behind the line.
  kBlockCountLabel,
  kAdapters,
};

struct Row {
  Engine engine;
  std::string_view name;
  Meaning meaning;
  // Only lines whose `label` has this value; or, for the meanings ...Label, which label to read.
  std::string_view label = {};
  std::string_view label_value = {};
};

using enum Meaning;
// Series of one name (models, replicas inside the engine) are added up; of kKvUse the highest counts.
constexpr Row kRows[] = {
    {Engine::kVllm, "vllm:num_requests_waiting", kWaiting},
    {Engine::kVllm, "vllm:num_requests_running", kRunning},
    {Engine::kVllm, "vllm:kv_cache_usage_perc", kKvUse},
    {Engine::kVllm, "vllm:gpu_cache_usage_perc", kKvUse},  // Before 0.10.
    {Engine::kVllm, "vllm:cache_config_info", kBlockSizeLabel, "block_size"},
    {Engine::kVllm, "vllm:cache_config_info", kBlockCountLabel, "num_gpu_blocks"},
    {Engine::kVllm, "vllm:lora_requests_info", kAdapters},
    {Engine::kSglang, "sglang:num_queue_reqs", kWaiting},
    {Engine::kSglang, "sglang:num_running_reqs", kRunning},
    {Engine::kSglang, "sglang:token_usage", kKvUse},
    {Engine::kSglang, "sglang:cache_config_info", kBlockSizeLabel, "page_size"},
    {Engine::kSglang, "sglang:cache_config_info", kBlockCountLabel, "num_pages"},
    {Engine::kTensorRtLlm, "trtllm_num_requests_waiting", kWaiting},
    {Engine::kTensorRtLlm, "trtllm_num_requests_running", kRunning},
    {Engine::kTensorRtLlm, "trtllm_kv_cache_utilization", kKvUse},
    {Engine::kTensorRtLlm, "trtllm_kv_cache_tokens_per_block", kBlockSize},
    {Engine::kTensorRtLlm, "trtllm_kv_cache_max_blocks", kBlockCount},
    {Engine::kTriton, "nv_trt_llm_request_metrics", kWaiting, "request_type", "waiting"},
    {Engine::kTriton, "nv_trt_llm_request_metrics", kRunning, "request_type", "scheduled"},
    {Engine::kTriton, "nv_trt_llm_kv_cache_block_metrics", kKvUse, "kv_cache_block_type",
     "fraction"},
    {Engine::kTriton, "nv_trt_llm_kv_cache_block_metrics", kBlockSize, "kv_cache_block_type",
     "tokens_per"},
    {Engine::kTriton, "nv_trt_llm_kv_cache_block_metrics", kBlockCount, "kv_cache_block_type",
     "max"},
    {Engine::kTriton, "nv_inference_pending_request_count", kWaiting},
    {Engine::kTriton, "nv_inference_compute_infer_duration_us", kRanUs},
    {Engine::kTgi, "tgi_queue_size", kWaiting},
    {Engine::kTgi, "tgi_batch_current_size", kRunning},
    {Engine::kMlServer, "parallel_request_queue_sum", kQueueSum},
    {Engine::kMlServer, "parallel_request_queue_count", kQueueCount},
    {Engine::kMlServer, "rest_server_requests_in_progress", kRunning},
    {Engine::kTfServing, ":tensorflow:serving:batching_session:queuing_latency_sum", kWaitedUs},
    {Engine::kTfServing, ":tensorflow:serving:runtime_latency_sum", kRanUs},
};

struct EngineName {
  Engine engine;
  std::string_view name, path;
};
constexpr std::array<EngineName, 7> kEngines = {{
    {Engine::kVllm, "vllm", "/metrics"},
    {Engine::kSglang, "sglang", "/metrics"},
    {Engine::kTensorRtLlm, "tensorrt-llm", "/prometheus/metrics"},
    {Engine::kTriton, "triton", "/metrics"},
    {Engine::kTgi, "tgi", "/metrics"},
    {Engine::kMlServer, "mlserver", "/metrics"},
    {Engine::kTfServing, "tf-serving", "/monitoring/prometheus/metrics"},
}};

// The value of `name` among the labels, still escaped; nothing if it is not there.
std::optional<std::string_view> label_of(std::string_view labels, std::string_view name) {
  while (!labels.empty()) {
    const std::size_t equals = labels.find("=\"");
    if (equals == labels.npos) return {};
    const std::string_view key = trim(labels.substr(0, equals), " \t,");
    labels.remove_prefix(equals + 2);
    std::size_t end = 0;
    while (end < labels.size() && labels[end] != '"') end += labels[end] == '\\' ? 2 : 1;
    if (end >= labels.size()) return {};
    if (key == name) return labels.substr(0, end);
    labels.remove_prefix(end + 1);
  }
  return {};
}

// Where the labels end: a quoted '}' is not it.
std::size_t end_of_labels(std::string_view text) {
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && quoted)
      ++i;
    else if (text[i] == '"')
      quoted = !quoted;
    else if (text[i] == '}' && !quoted)
      return i;
  }
  return text.npos;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return {};
  if (!std::isfinite(value) || value < 0) return {};
  return value;
}

void add(std::optional<double>& sum, double value) { sum = sum.value_or(0) + value; }

uint32_t whole(double value) { return static_cast<uint32_t>(std::clamp(value, 0.0, 4294967295.0)); }

std::vector<std::string> names_in(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty() && names.size() < kMostAdapters) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view name = trim(list.substr(0, comma));
    if (!name.empty() && name.size() <= kLongestAdapter) names.emplace_back(name);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return names;
}

bool is_name(char c) {
  const char lower = to_lower(c);
  return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
}

}  // namespace

std::string_view name_of(Engine engine) { return kEngines[static_cast<std::size_t>(engine)].name; }

std::optional<Engine> parse_engine(std::string_view name) {
  for (const EngineName& known : kEngines) {
    if (known.name == name) return known.engine;
  }
  return {};
}

std::string_view metrics_path(Engine engine) {
  return kEngines[static_cast<std::size_t>(engine)].path;
}

void add_rates(EngineSample& sample, const EngineTotals& before, const EngineTotals& now,
               Duration time) {
  const auto grown = [](const std::optional<double>& was,
                        const std::optional<double>& is) -> std::optional<double> {
    if (!was || !is || *is < *was) return {};
    return *is - *was;
  };
  const double us = to_seconds(time) * 1e6;
  if (us <= 0) return;
  if (const auto waited = grown(before.waited_us, now.waited_us); waited && !sample.waiting) {
    sample.waiting = *waited / us;
  }
  if (const auto ran = grown(before.ran_us, now.ran_us); ran && !sample.running) {
    sample.running = *ran / us;
  }
  const auto sum = grown(before.queue_sum, now.queue_sum);
  const auto count = grown(before.queue_count, now.queue_count);
  if (sum && count && !sample.waiting) sample.waiting = *count > 0 ? *sum / *count : 0;
}

void EngineScanner::feed(std::string_view piece) {
  while (!piece.empty()) {
    const std::size_t end = piece.find('\n');
    const std::string_view part = piece.substr(0, end);
    piece.remove_prefix(end == piece.npos ? piece.size() : end + 1);
    if (partial_.size() + part.size() > kLongestMetricLine) {
      passing_over_ = true;
      partial_.clear();
    }
    const bool kept = !passing_over_;
    if (end == std::string_view::npos) {
      if (kept) partial_ += part;
      return;
    }
    if (kept && partial_.empty()) line(part);
    if (kept && !partial_.empty()) line(partial_ += part);
    partial_.clear();
    passing_over_ = false;
  }
}

const EngineSample& EngineScanner::finish() {
  if (!passing_over_ && !partial_.empty()) line(partial_);  // The last line may have no end.
  partial_.clear();
  return sample_;
}

// name{label="value",...} 4.0 [timestamp]
void EngineScanner::line(std::string_view line) {
  std::size_t size = 0;
  while (size < line.size() && is_name(line[size])) ++size;
  if (size == 0) return;  // A comment, or no metric.
  const std::string_view name = line.substr(0, size);
  const auto wanted = [&](const Row& row) { return row.engine == engine_ && row.name == name; };
  if (std::ranges::none_of(kRows, wanted)) return;
  std::string_view rest = line.substr(size), labels;
  if (rest.starts_with('{')) {
    const std::size_t end = end_of_labels(rest);
    if (end == rest.npos) return;
    labels = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  }
  rest = trim(rest, " \t\r");
  const auto value = number(rest.substr(0, rest.find_first_of(" \t")));
  if (!value) return;
  ++known_;
  for (std::size_t row = 0; row < std::size(kRows); ++row) {
    if (wanted(kRows[row])) apply(row, labels, *value);
  }
}

void EngineScanner::apply(std::size_t index, std::string_view labels, double value) {
  const Row& row = kRows[index];
  if (!row.label_value.empty() && label_of(labels, row.label) != row.label_value) return;
  const auto from_label = [&]() -> std::optional<double> {
    const auto text = label_of(labels, row.label);
    return text ? number(*text) : std::nullopt;
  };
  switch (row.meaning) {
    case kWaiting: return add(sample_.waiting, value);
    case kRunning: return add(sample_.running, value);
    case kKvUse:
      sample_.kv_use = std::max(sample_.kv_use.value_or(0), std::min(value, 1.0));
      return;
    case kBlockSize: sample_.block_size = whole(value); return;
    case kBlockCount: sample_.block_count = whole(sample_.block_count + value); return;
    case kBlockSizeLabel: sample_.block_size = whole(from_label().value_or(0)); return;
    case kBlockCountLabel:
      sample_.block_count = whole(sample_.block_count + from_label().value_or(0));
      return;
    case kWaitedUs: return add(totals_.waited_us, value);
    case kRanUs: return add(totals_.ran_us, value);
    case kQueueSum: return add(totals_.queue_sum, value);
    case kQueueCount: return add(totals_.queue_count, value);
    case kAdapters: break;
  }
  // vLLM leaves a line for each state there ever was; its value is the time of that state.
  if (value < adapters_at_) return;
  adapters_at_ = value;
  const auto most = label_of(labels, "max_lora");
  sample_.most_adapters = most ? whole(number(*most).value_or(0)) : 0;
  sample_.running_adapters = names_in(label_of(labels, "running_lora_adapters").value_or(""));
  sample_.waiting_adapters = names_in(label_of(labels, "waiting_lora_adapters").value_or(""));
}

}  // namespace glia
