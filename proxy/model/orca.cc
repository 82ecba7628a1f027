#include "proxy/model/orca.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "proxy/base/base64.h"
#include "proxy/base/text.h"
#include "proxy/model/orca_builder.h"

namespace glia {
namespace {

struct Scalar {
  std::string_view name;
  double OrcaReport::* value;
  bool at_most_one;
};
constexpr std::array<Scalar, 5> kScalars = {{
    {"cpu_utilization", &OrcaReport::cpu_utilization, false},
    {"mem_utilization", &OrcaReport::mem_utilization, true},
    {"application_utilization", &OrcaReport::application_utilization, false},
    {"rps_fractional", &OrcaReport::rps, false},
    {"eps", &OrcaReport::eps, false},
}};

struct MapField {
  std::string_view name;
  OrcaBuilder::Map map;
  std::vector<OrcaReport::Metric> OrcaReport::* metrics;
};
constexpr std::array<MapField, 3> kMaps = {{
    {"request_cost", OrcaBuilder::Map::kRequestCost, &OrcaReport::request_cost},
    {"utilization", OrcaBuilder::Map::kUtilization, &OrcaReport::utilization},
    {"named_metrics", OrcaBuilder::Map::kNamedMetrics, &OrcaReport::named_metrics},
}};

Error wrong(std::string sentence) {
  return Error(ErrorKind::kInvalid, Fault::kUpstream, cat("load report: ", sentence));
}

Result<void> check_value(std::string_view name, double value, bool may_be_negative,
                         bool at_most_one) {
  if (!std::isfinite(value)) return wrong(cat(name, " is not a finite number"));
  if (value < 0 && !may_be_negative) return wrong(cat(name, " is ", value, ", below 0"));
  if (value > 1 && at_most_one) return wrong(cat(name, " is ", value, ", above 1"));
  return {};
}

// The text form holds names without its own signs only.
bool fits_text(std::string_view name) {
  for (const char c : name) {
    if (c == ',' || c == '=' || c <= ' ' || c > '~') return false;
  }
  return !name.empty();
}

Result<void> read_pair(std::string_view pair, OrcaBuilder& builder) {
  std::size_t sign = pair.find('=');
  if (sign == pair.npos) sign = pair.rfind(':');  // As older Envoys wanted it.
  if (sign == pair.npos) return wrong(cat("\"", pair, "\" is not of the form key=value"));
  const std::string_view key = trim(pair.substr(0, sign));
  TRY(const double value, orca_number(key, trim(pair.substr(sign + 1))));
  const std::size_t dot = key.find('.');
  if (dot == key.npos) return builder.scalar(key, value);
  const auto map = OrcaBuilder::map_of(key.substr(0, dot));
  if (!map) return wrong(cat(key, " is no field of a report"));
  return builder.metric(*map, key.substr(dot + 1), value);
}

}  // namespace

std::optional<double> OrcaReport::named(std::string_view name) const {
  for (const Metric& metric : named_metrics) {
    if (metric.name == name) return metric.value;
  }
  return {};
}

Result<double> orca_number(std::string_view what, std::string_view text) {
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || !std::isfinite(value)) {
    return wrong(cat(what, " is \"", text.substr(0, 32), "\", not a finite number"));
  }
  return value;
}

Result<void> OrcaBuilder::scalar(std::string_view name, double value) {
  for (std::size_t i = 0; i < kScalars.size(); ++i) {
    if (kScalars[i].name != name) continue;
    if ((said_ & 1u << i) != 0) return wrong(cat(name, " stands there twice"));
    said_ |= 1u << i;
    TRY_VOID(check_value(name, value, /*may_be_negative=*/false, kScalars[i].at_most_one));
    report_.*kScalars[i].value = value;
    return {};
  }
  return wrong(cat(name.substr(0, 64), " is no field of a report"));
}

Result<void> OrcaBuilder::metric(Map map, std::string_view name, double value) {
  if (name.empty() || name.size() > kOrcaLongestName) {
    return wrong(
        cat("a metric has a name of ", name.size(), " bytes, not 1 to ", kOrcaLongestName));
  }
  const std::size_t count =
      report_.request_cost.size() + report_.utilization.size() + report_.named_metrics.size();
  if (count >= kOrcaMostMetrics) return wrong(cat("more than ", kOrcaMostMetrics, " metrics"));
  TRY_VOID(check_value(name, value, /*may_be_negative=*/map != Map::kUtilization,
                       /*at_most_one=*/map == Map::kUtilization));
  auto& metrics = report_.*kMaps[static_cast<std::size_t>(map)].metrics;
  for (const OrcaReport::Metric& other : metrics) {
    if (other.name == name) return wrong(cat(name, " stands there twice"));
  }
  metrics.push_back({std::string(name), value});
  return {};
}

std::optional<OrcaBuilder::Map> OrcaBuilder::map_of(std::string_view name) {
  for (const MapField& field : kMaps) {
    if (field.name == name) return field.map;
  }
  return {};
}

Result<OrcaReport> read_orca_text(std::string_view text) {
  if (text.size() > kOrcaLongest) return wrong(cat("longer than ", kOrcaLongest, " bytes"));
  OrcaBuilder builder;
  text = trim(text);
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    TRY_VOID(read_pair(trim(text.substr(0, comma)), builder));
    if (comma == text.npos) break;
    text = trim(text.substr(comma + 1));
    if (text.empty()) return wrong("ends with a comma");
  }
  return builder.take();
}

Result<OrcaReport> read_orca_field(std::string_view value) {
  if (value.size() > kOrcaLongest) return wrong(cat("longer than ", kOrcaLongest, " bytes"));
  value = trim(value);
  if (value == "TEXT") return OrcaReport();  // Nothing to say.
  if (value.starts_with("TEXT ")) return read_orca_text(value.substr(5));
  if (value.starts_with("JSON ")) return read_orca_json(value.substr(5));
  if (value.starts_with("BIN ")) {
    std::string bytes;
    if (!parse_base64(trim(value.substr(4)), bytes)) return wrong("BIN is not followed by base64");
    return read_orca_binary(bytes);
  }
  // Before there were words in front: one of the two that can be told apart.
  if (value.starts_with('{')) return read_orca_json(value);
  return read_orca_text(value);
}

std::optional<Result<OrcaReport>> orca_of(const Headers& fields) {
  const Field* found = nullptr;
  for (const Field& field : fields.fields()) {
    // Every name of a report begins so; anything else is passed over after one comparison.
    if (!field.name.starts_with(kOrcaField) || field.name == kOrcaFormatField) continue;
    const bool known =
        field.name == kOrcaField || field.name == kOrcaBinaryField || field.name == kOrcaJsonField;
    if (!known) continue;
    if (found != nullptr) return wrong("the answer has more than one");
    found = &field;
  }
  if (found == nullptr) return {};
  if (found->name == kOrcaField) return read_orca_field(found->value);
  if (found->name == kOrcaJsonField) return read_orca_json(found->value);
  if (found->value.size() > kOrcaLongest) return wrong(cat("longer than ", kOrcaLongest, " bytes"));
  std::string bytes;
  if (!parse_base64(trim(found->value), bytes)) return wrong("the binary field is not base64");
  return read_orca_binary(bytes);
}

std::optional<double> utilization_of(const OrcaReport& report,
                                     const std::vector<std::string>& names) {
  std::optional<double> highest;
  const auto see = [&](double value) { highest = std::max(highest.value_or(value), value); };
  for (const std::string& name : names) {
    for (const Scalar& scalar : kScalars) {
      if (scalar.name == name && report.*scalar.value != 0) see(report.*scalar.value);
    }
    for (const MapField& field : kMaps) {
      for (const OrcaReport::Metric& metric : report.*field.metrics) {
        if (cat(field.name, ".", metric.name) == name) see(metric.value);
      }
    }
  }
  return highest;
}

std::string write_orca_text(const OrcaReport& report) {
  std::string out;
  for (const Scalar& scalar : kScalars) {
    const double value = report.*scalar.value;
    if (value != 0) out += cat(out.empty() ? "" : ",", scalar.name, "=", value);
  }
  for (const MapField& field : kMaps) {
    for (const OrcaReport::Metric& metric : report.*field.metrics) {
      if (!fits_text(metric.name)) continue;
      out += cat(out.empty() ? "" : ",", field.name, ".", metric.name, "=", metric.value);
    }
  }
  return out;
}

std::string write_orca_json(const OrcaReport& report) {
  std::string out = "{";
  for (const Scalar& scalar : kScalars) {
    const double value = report.*scalar.value;
    if (value != 0) out += cat(out.size() > 1 ? "," : "", "\"", scalar.name, "\":", value);
  }
  for (const MapField& field : kMaps) {
    if ((report.*field.metrics).empty()) continue;
    out += cat(out.size() > 1 ? "," : "", "\"", field.name, "\":{");
    bool first = true;
    for (const OrcaReport::Metric& metric : report.*field.metrics) {
      out += std::exchange(first, false) ? "\"" : ",\"";
      append_json_escaped(out, metric.name);
      out += cat("\":", metric.value);
    }
    out += '}';
  }
  return out + "}";
}

std::string orca_binary_value(const OrcaReport& report) {
  std::string value;
  append_base64(value, write_orca_binary(report));
  while (value.ends_with('=')) value.pop_back();
  return value;
}

}  // namespace glia
