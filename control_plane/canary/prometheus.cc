#include "control_plane/canary/prometheus.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "proxy/base/text.h"

namespace glia {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr std::size_t kShownOfError = 200;  // bytes of what Prometheus says, in a reason

const Value* field(const Struct& object, const char* name) {
  const auto found = object.fields().find(name);
  return found == object.fields().end() ? nullptr : &found->second;
}

std::string shown(std::string_view text) {
  std::string out;
  append_json_escaped(out, text.substr(0, kShownOfError));
  return out;
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte / 16];
      out += kDigits[byte % 16];
    }
  }
  return out;
}

// [time, "number"]
Result<double> number_in(const Value& sample) {
  if (!sample.has_list_value() || sample.list_value().values_size() != 2) {
    return invalid("Prometheus told a sample that is none");
  }
  const std::string& text = sample.list_value().values(1).string_value();
  double number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || !std::isfinite(number)) {
    return invalid(cat("the query's value is ", text.empty() ? "nothing" : shown(text)));
  }
  return number;
}

Result<double> read_data(const Struct& data) {
  const Value* type = field(data, "resultType");
  const Value* result = field(data, "result");
  if (type == nullptr || result == nullptr || !result->has_list_value()) {
    return invalid("Prometheus told no result");
  }
  if (type->string_value() == "scalar") return number_in(*result);
  if (type->string_value() != "vector") {
    return invalid(
        cat("the query gives a ", shown(type->string_value()), "; it must give one number now"));
  }
  const auto& series = result->list_value().values();
  if (series.empty()) return invalid("the query finds no series");
  if (series.size() > 1) {
    return invalid(
        cat("the query finds ", series.size(), " series; make them one, with sum() say"));
  }
  const Value* sample = field(series[0].struct_value(), "value");
  if (sample == nullptr) return invalid("Prometheus told a series without a value");
  return number_in(*sample);
}

Result<double> read_answer(const Result<HttpSaid>& said) {
  if (!said) return said.error();
  Result<double> number = read_prometheus(said->body);
  if (said->status == 200 || number) return number;
  return invalid(cat("status ", said->status, ": ", number.error().message()));
}

}  // namespace

Result<double> read_prometheus(std::string_view body) {
  Struct answer;
  if (!google::protobuf::util::JsonStringToMessage(std::string(body), &answer).ok()) {
    return invalid("it did not answer with JSON");
  }
  const Value* status = field(answer, "status");
  const Value* data = field(answer, "data");
  if (status == nullptr || status->string_value() != "success") {
    const Value* error = field(answer, "error");
    return invalid(cat("Prometheus refused the query",
                       error == nullptr ? "" : cat(": ", shown(error->string_value()))));
  }
  if (data == nullptr || !data->has_struct_value()) return invalid("Prometheus told no data");
  return read_data(data->struct_value());
}

void Prometheus::ask(const Canary::Prometheus& whom, const std::string& query, Answered answered) {
  std::string path = whom.path;
  while (path.ends_with('/')) path.pop_back();
  questions_.ask(
      {.host = whom.host,
       .port = whom.port,
       .path = cat(path, "/api/v1/query"),
       .content_type = "application/x-www-form-urlencoded",
       .body = cat("query=", percent_encoded(query), "&timeout=", to_ms(whom.timeout), "ms"),
       .timeout = whom.timeout},
      [answered = std::move(answered)](const Result<HttpSaid>& said) {
        answered(read_answer(said));
      });
}

}  // namespace glia
