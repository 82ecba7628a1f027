#include "proxy/flow/model_ask.h"

#include <algorithm>
#include <array>

#include "proxy/base/text.h"
#include "proxy/http/canonical.h"

namespace glia {
namespace {

constexpr std::array<std::string_view, 7> kStateOperations = {
    "metadata", "ready", "index", "load", "unload", "config", "statistics"};
// Answers of so many tokens as are asked for.
constexpr std::array<std::string_view, 5> kWritingOperations = {"chat", "completions", "responses",
                                                                "messages", "generate"};
// The rest of grpc's health and OIP's ServerLive, ServerReady and ServerMetadata.
constexpr std::array<std::string_view, 2> kStateMethods = {
    "/grpc.health.v1.Health/", "/inference.GRPCInferenceService/Server"};

template <class Range>
bool has(const Range& range, std::string_view word) {
  return std::ranges::find(range, word) != range.end();
}

uint64_t times(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}
}  // namespace

TokensAsked tokens_asked(const ModelRequest& model, const Request& request, uint64_t usual_output) {
  constexpr uint64_t kBytesAToken = 4;
  TokensAsked asked{.input = model.input_tokens};
  // Too large to be read, or compressed: by its size.
  if (!model.read && request.body != nullptr) {
    asked.input = std::max(asked.input, request.body->length().value_or(0) / kBytesAToken);
  }
  if (!has(kWritingOperations, model.operation)) return asked;
  const uint64_t each = model.most_output_tokens > 0 ? model.most_output_tokens : usual_output;
  const uint64_t answers =
      times(std::max<uint64_t>(1, model.choices), std::max<uint64_t>(1, model.rows));
  asked.output = times(each, answers);
  return asked;
}

bool asks_for_work(const Exchange& exchange, const AdmissionConfig& config) {
  if (config.cost == AdmissionConfig::Cost::kRequests) return true;
  if (const ModelRequest* const model = exchange.model()) {
    return !has(kStateOperations, model->operation);
  }
  const Request& request = exchange.request();
  if (request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS") {
    return false;
  }
  return std::ranges::none_of(
      kStateMethods, [&](std::string_view prefix) { return request.path.starts_with(prefix); });
}

std::string tenant_of(const Exchange& exchange, AdmissionConfig::Tenants tenants) {
  const ModelRequest* const model = exchange.model();
  std::string_view name;
  if (tenants == AdmissionConfig::Tenants::kNamed && model != nullptr) name = model->tenant;
  if (name.empty()) name = exchange.peer_identity();
  if (name.empty()) return exchange.connection().remote.ip_text();
  return std::string(name.substr(0, kLongestTenant));
}

int64_t priority_of(const Exchange& exchange) {
  const ModelRequest* const model = exchange.model();
  if (model != nullptr && model->priority != 0) return model->priority;
  // RFC 9218 section 4.1: "u=0" to "u=7", 3 unless said.
  constexpr int64_t kUsual = 3;
  const std::string_view field = exchange.request().headers.get("priority").value_or("");
  const std::size_t at = field.find("u=");
  if (at == field.npos || at + 2 >= field.size()) return 0;
  const char digit = field[at + 2];
  return digit >= '0' && digit <= '7' ? digit - '0' - kUsual : 0;
}

uint64_t cost_of(const Exchange& exchange, const AdmissionConfig& config) {
  const ModelRequest* const model = exchange.model();
  if (model == nullptr || config.cost == AdmissionConfig::Cost::kRequests) return 1;
  const uint64_t rows = std::max<uint64_t>(1, model->rows);
  if (config.cost == AdmissionConfig::Cost::kRows) return rows;
  const uint64_t tokens =
      tokens_asked(*model, exchange.request(), config.usual_output_tokens).all();
  return tokens > 0 ? tokens : rows;
}

std::optional<TimePoint> deadline_of(const Exchange& exchange) {
  std::optional<TimePoint> deadline = exchange.deadline();
  const auto by = [&](TimePoint at) {
    if (!deadline || at < *deadline) deadline = at;
  };
  const ModelRequest* const model = exchange.model();
  if (model != nullptr && model->timeout && *model->timeout < kForever) {
    by(exchange.began() + *model->timeout);
  }
  const Route* const route = exchange.route();
  if (route != nullptr && route->forward && route->forward->timeout > 0s) {
    by(exchange.loop().now() + route->forward->timeout);
  }
  const auto field = exchange.request().headers.get("x-envoy-expected-rq-timeout-ms");
  if (const auto ms = field ? parse_decimal(*field) : std::nullopt) {
    if (*ms > 0 && *ms < static_cast<uint64_t>(kForever / 1ms)) {
      by(exchange.began() + static_cast<int64_t>(*ms) * 1ms);
    }
  }
  return deadline;
}

}  // namespace glia
