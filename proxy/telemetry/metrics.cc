#include "proxy/telemetry/metrics.h"

#include <algorithm>
#include <charconv>

#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::array<double, 4> kShownQuantiles = {0.5, 0.9, 0.99, 0.999};

// Escaped as exposition format 0.0.4 asks for label values.
void append_label_value(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
}

std::string label_text(const Labels& labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    if (!out.empty()) out += ',';
    out += name;
    out += "=\"";
    append_label_value(out, value);
    out += '"';
  }
  return out;
}

// Never "6e+05": some dashboards compare `le` as text with Envoy's.
void append_number(std::string& out, double value) {
  char digits[64];
  const auto end =
      std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed).ptr;
  out.append(digits, end);
}

// To a microsecond: an estimate within a bucket has no more digits that mean something.
void append_estimate(std::string& out, double ms) {
  char digits[64];
  const auto end =
      std::to_chars(digits, digits + sizeof digits, ms, std::chars_format::fixed, 3).ptr;
  const std::string_view text(digits, static_cast<std::size_t>(end - digits));
  const std::size_t last = text.find_last_not_of('0');
  out += text.substr(0, text[last] == '.' ? last : last + 1);
}

void append_sample(std::string& out, std::string_view name, std::string_view suffix,
                   std::string_view labels, std::string_view extra) {
  out += name;
  out += suffix;
  if (labels.empty() && extra.empty()) return;
  out += '{';
  out += labels;
  if (!labels.empty() && !extra.empty()) out += ',';
  out += extra;
  out += '}';
}

void append_histogram(std::string& out, std::string_view name, std::string_view labels,
                      const Histogram& histogram) {
  uint64_t so_far = 0;
  for (std::size_t i = 0; i < histogram.buckets().size(); ++i) {
    so_far += histogram.buckets()[i];
    std::string bound = "le=\"";
    if (i < kLatencyBucketsMs.size()) {
      append_number(bound, kLatencyBucketsMs[i]);
    } else {
      bound += "+Inf";
    }
    bound += '"';
    append_sample(out, name, "_bucket", labels, bound);
    out += cat(' ', so_far, '\n');
  }
  append_sample(out, name, "_sum", labels, {});
  out += ' ';
  append_number(out, histogram.sum_ms());
  out += '\n';
  append_sample(out, name, "_count", labels, {});
  out += cat(' ', histogram.count(), '\n');
}

void append_distribution(std::string& out, std::string_view name, std::string_view labels,
                         const Sketch& sketch, std::span<const double> bounds) {
  const auto line = [&](std::string_view bound, uint64_t count) {
    append_sample(out, name, "_bucket", labels, cat("le=\"", bound, '"'));
    out += cat(' ', count, '\n');
  };
  for (const double bound : bounds) {
    std::string text;
    append_number(text, bound);
    line(text, sketch.count_up_to(bound));
  }
  line("+Inf", sketch.count());
  append_sample(out, name, "_sum", labels, {});
  out += ' ';
  append_number(out, sketch.sum());
  out += '\n';
  append_sample(out, name, "_count", labels, {});
  out += cat(' ', sketch.count(), '\n');
}

bool shown(std::string_view name, std::string_view labels, std::string_view contains) {
  return name.find(contains) != name.npos || labels.find(contains) != labels.npos;
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_json_escaped(out, text);
  out += '"';
}

void append_json_histogram(std::string& out, const Histogram& histogram) {
  out += cat(",\"count\":", histogram.count(), ",\"sum_ms\":");
  append_number(out, histogram.sum_ms());
  out += ",\"quantiles_ms\":{";
  for (const double q : kShownQuantiles) {
    if (q != kShownQuantiles.front()) out += ',';
    out += '"';
    append_number(out, q);
    out += "\":";
    append_estimate(out, histogram.quantile_ms(q));
  }
  out += '}';
}

void append_json_distribution(std::string& out, const Sketch& sketch) {
  out += cat(",\"count\":", sketch.count(), ",\"sum\":");
  append_number(out, sketch.sum());
  out += ",\"quantiles\":{";
  for (const double q : kShownQuantiles) {
    if (q != kShownQuantiles.front()) out += ',';
    out += '"';
    append_number(out, q);
    out += "\":";
    append_estimate(out, sketch.quantile(q));
  }
  out += '}';
}

}  // namespace

void Histogram::record(Duration value) {
  const double ms = std::max(0.0, std::chrono::duration<double, std::milli>(value).count());
  const auto bound = std::lower_bound(kLatencyBucketsMs.begin(), kLatencyBucketsMs.end(), ms);
  ++buckets_[static_cast<std::size_t>(bound - kLatencyBucketsMs.begin())];
  ++count_;
  sum_ms_ += ms;
}

void Histogram::add(const Histogram& other) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ms_ += other.sum_ms_;
}

double Histogram::quantile_ms(double q) const {
  if (count_ == 0) return 0;
  const double rank = std::clamp(q, 0.0, 1.0) * static_cast<double>(count_);
  double below = 0;
  for (std::size_t i = 0; i < kLatencyBucketsMs.size(); ++i) {
    const auto here = static_cast<double>(buckets_[i]);
    if (here > 0 && below + here >= rank) {
      const double from = i == 0 ? 0 : kLatencyBucketsMs[i - 1];
      return from + (kLatencyBucketsMs[i] - from) * (rank - below) / here;
    }
    below += here;
  }
  return kLatencyBucketsMs.back();
}

MetricsPage::Value& MetricsPage::at(std::string_view name, const Labels& labels, Kind kind) {
  const auto [entry, is_new] = values_.try_emplace({std::string(name), label_text(labels)},
                                                   Value{kind, 0, labels, {}, {}, {}});
  CHECK(entry->second.kind == kind);
  return entry->second;
}

void MetricsPage::counter(std::string_view name, const Labels& labels, uint64_t value) {
  Value& entry = at(name, labels, Kind::kCounter);
  entry.number = static_cast<int64_t>(static_cast<uint64_t>(entry.number) + value);
}

void MetricsPage::gauge(std::string_view name, const Labels& labels, int64_t value) {
  at(name, labels, Kind::kGauge).number += value;
}

void MetricsPage::histogram(std::string_view name, const Labels& labels, const Histogram& value) {
  at(name, labels, Kind::kHistogram).histogram.add(value);
}

void MetricsPage::distribution(std::string_view name, const Labels& labels, const Sketch& value,
                               std::span<const double> bounds) {
  Value& entry = at(name, labels, Kind::kDistribution);
  entry.sketch.add(value);
  entry.bounds = bounds;
}

void MetricsPage::add_one(const Key& key, const Value& value) {
  const auto [entry, is_new] = values_.try_emplace(key, value);
  if (is_new) return;
  CHECK(entry->second.kind == value.kind);
  entry->second.number = static_cast<int64_t>(static_cast<uint64_t>(entry->second.number) +
                                              static_cast<uint64_t>(value.number));
  entry->second.histogram.add(value.histogram);
  entry->second.sketch.add(value.sketch);
}

void MetricsPage::add(const MetricsPage& other) {
  for (const auto& [key, value] : other.values_) add_one(key, value);
}

void MetricsPage::add_totals(const MetricsPage& other, std::size_t most) {
  for (const auto& [key, value] : other.values_) {
    if (value.kind == Kind::kGauge) continue;
    if (values_.size() < most || values_.contains(key)) add_one(key, value);
  }
}

std::string MetricsPage::prometheus() const {
  static constexpr std::string_view kTypes[] = {"counter", "gauge", "histogram", "histogram"};
  std::string out;
  std::string_view last_name;
  for (const auto& [key, value] : values_) {
    const auto& [name, labels] = key;
    if (name != last_name) {
      out += cat("# TYPE ", name, ' ', kTypes[static_cast<std::size_t>(value.kind)], '\n');
      last_name = name;
    }
    if (value.kind == Kind::kHistogram) {
      append_histogram(out, name, labels, value.histogram);
      continue;
    }
    if (value.kind == Kind::kDistribution) {
      append_distribution(out, name, labels, value.sketch, value.bounds);
      continue;
    }
    append_sample(out, name, {}, labels, {});
    out += value.kind == Kind::kCounter ? cat(' ', static_cast<uint64_t>(value.number), '\n')
                                        : cat(' ', value.number, '\n');
  }
  return out;
}

std::string MetricsPage::text(std::string_view contains) const {
  std::string out;
  for (const auto& [key, value] : values_) {
    const auto& [name, labels] = key;
    if (!shown(name, labels, contains)) continue;
    append_sample(out, name, {}, labels, {});
    out += ": ";
    if (value.kind == Kind::kCounter) {
      out += cat(static_cast<uint64_t>(value.number));
    } else if (value.kind == Kind::kGauge) {
      out += cat(value.number);
    } else if (value.kind == Kind::kDistribution) {
      out += cat("count ", value.sketch.count());
      for (const double q : kShownQuantiles) {
        out += cat(", p", q * 100, ' ');
        append_estimate(out, value.sketch.quantile(q));
      }
    } else {
      out += cat("count ", value.histogram.count());
      for (const double q : kShownQuantiles) {
        out += cat(", p", q * 100, ' ');
        append_estimate(out, value.histogram.quantile_ms(q));
        out += " ms";
      }
    }
    out += '\n';
  }
  return out;
}

std::string MetricsPage::json(std::string_view contains) const {
  static constexpr std::string_view kTypes[] = {"counter", "gauge", "histogram", "histogram"};
  std::string out = "{\"stats\":[";
  bool first = true;
  for (const auto& [key, value] : values_) {
    if (!shown(key.first, key.second, contains)) continue;
    out += first ? "\n{\"name\":" : ",\n{\"name\":";
    first = false;
    append_quoted(out, key.first);
    out += cat(",\"type\":\"", kTypes[static_cast<std::size_t>(value.kind)], "\",\"labels\":{");
    for (const auto& label : value.labels) {
      if (&label != &value.labels.front()) out += ',';
      append_quoted(out, label.first);
      out += ':';
      append_quoted(out, label.second);
    }
    out += '}';
    if (value.kind == Kind::kHistogram) {
      append_json_histogram(out, value.histogram);
    } else if (value.kind == Kind::kDistribution) {
      append_json_distribution(out, value.sketch);
    } else if (value.kind == Kind::kCounter) {
      out += cat(",\"value\":", static_cast<uint64_t>(value.number));
    } else {
      out += cat(",\"value\":", value.number);
    }
    out += '}';
  }
  out += "\n]}\n";
  return out;
}

}  // namespace glia
