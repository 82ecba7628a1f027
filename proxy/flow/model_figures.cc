#include "proxy/flow/model_figures.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace glia {
namespace {

// Bounds that OpenTelemetry's conventions for generative AI advise.
constexpr std::array<double, 14> kDurationSeconds = {0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                                     1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
constexpr std::array<double, 16> kFirstTokenSeconds = {
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10};
constexpr std::array<double, 13> kTokenSeconds = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
                                                  0.3,  0.4,   0.5,  0.75,  1,   2.5};
constexpr std::array<double, 14> kTokens = {
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};

constexpr std::string_view kOther = "other";

double seconds(Duration time) { return std::chrono::duration<double>(time).count(); }

// OpenTelemetry's word, where it has one.
std::string_view operation_name(std::string_view operation) {
  if (operation == "completions") return "text_completion";
  if (operation == "messages" || operation == "responses") return "chat";
  return operation;
}

// A client may call itself whatever it likes, and labels must be UTF-8.
bool is_label(std::string_view text) {
  constexpr std::size_t kLongest = 128;  // bytes
  return text.size() <= kLongest &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

// The value of `key`, or of "other" once there are `most`.
template <typename Value>
Value& bounded(std::map<std::string, Value, std::less<>>& map, std::string_view key,
               std::size_t most) {
  if (const auto found = map.find(key); found != map.end()) return found->second;
  return map[std::string(map.size() < most ? key : kOther)];
}

Labels with(Labels labels, std::string_view name, std::string_view value) {
  if (!value.empty()) labels.emplace_back(name, value);
  return labels;
}

}  // namespace

ModelFigures::Series& ModelFigures::series_of(const ModelRequest& asked, std::string_view cluster) {
  const std::tuple key{asked.model, asked.version, cluster, operation_name(asked.operation)};
  if (const auto found = series_.find(key); found != series_.end()) return found->second;
  if (series_.size() == kMostSeries) return other_;
  return series_[Key(key)];
}

void ModelFigures::count(const ModelRequest& asked, std::string_view cluster,
                         const ModelAnswer& answer, TimePoint began, TimePoint now) {
  Series& series = series_of(asked, cluster);
  series.duration.add(seconds(now - began));
  series.events += answer.output_events;
  series.errors += answer.failed ? 1 : 0;
  series.unclear += answer.unclear ? 1 : 0;
  series.rows += answer.rows;
  series.bytes += answer.tensor_bytes;
  if (answer.first_output_at) series.first_token.add(seconds(*answer.first_output_at - began));
  if (const auto speed = answer.tokens_per_second()) series.token_time.add(1 / *speed);
  if (answer.input_tokens) series.input.add(static_cast<double>(*answer.input_tokens));
  const bool counted = answer.output_tokens || answer.output_events > 0;
  if (counted) series.output.add(static_cast<double>(answer.tokens_made()));
  for (const std::string& reason : answer.finish_reasons) {
    ++bounded(series.reasons, reason, kMostReasons);
  }
  if (asked.tenant.empty()) return;
  Tokens& tokens = bounded(tenants_, is_label(asked.tenant) ? asked.tenant : kOther, kMostTenants);
  tokens.input += answer.input_tokens.value_or(0);
  tokens.output += answer.tokens_made();
}

void ModelFigures::collect(MetricsPage& page, const Labels& labels, const Series& series) {
  page.distribution("gen_ai_server_request_duration_seconds", labels, series.duration,
                    kDurationSeconds);
  if (series.first_token.count() > 0) {
    page.distribution("gen_ai_server_time_to_first_token_seconds", labels, series.first_token,
                      kFirstTokenSeconds);
  }
  if (series.token_time.count() > 0) {
    page.distribution("gen_ai_server_time_per_output_token_seconds", labels, series.token_time,
                      kTokenSeconds);
  }
  if (series.input.count() > 0) {
    page.distribution("gen_ai_client_token_usage", with(labels, "gen_ai_token_type", "input"),
                      series.input, kTokens);
  }
  if (series.output.count() > 0) {
    page.distribution("gen_ai_client_token_usage", with(labels, "gen_ai_token_type", "output"),
                      series.output, kTokens);
  }
  for (const auto& [reason, count] : series.reasons) {
    page.counter("glia_model_finish_reasons_total", with(labels, "reason", reason), count);
  }
  page.counter("glia_model_output_errors_total", labels, series.errors);
  page.counter("glia_model_unclear_answers_total", labels, series.unclear);
  page.counter("glia_model_output_events_total", labels, series.events);
  page.counter("glia_model_output_rows_total", labels, series.rows);
  page.counter("glia_model_output_tensor_bytes_total", labels, series.bytes);
}

void ModelFigures::collect(MetricsPage& page, const Labels& labels) const {
  for (const auto& [key, series] : series_) {
    const auto& [model, version, cluster, operation] = key;
    Labels named = with(labels, "gen_ai_operation_name", operation);
    named = with(std::move(named), "gen_ai_request_model", model);
    named = with(std::move(named), "model_version", version);
    collect(page, with(std::move(named), "envoy_cluster_name", cluster), series);
  }
  if (other_.duration.count() > 0) {
    collect(page, with(labels, "gen_ai_request_model", kOther), other_);
  }
  for (const auto& [tenant, tokens] : tenants_) {
    const Labels named = with(labels, "tenant", tenant);
    page.counter("glia_model_tenant_tokens_total", with(named, "gen_ai_token_type", "input"),
                 tokens.input);
    page.counter("glia_model_tenant_tokens_total", with(named, "gen_ai_token_type", "output"),
                 tokens.output);
  }
}

}  // namespace glia
