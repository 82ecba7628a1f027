// Metrics: what is counted, gathered on demand.
//
// Workers count in plain members, which only they touch. A scrape asks each worker, on its own thread,
// to write its numbers into a page; pages are added up on the main thread. So counting costs one add
// and there is no registry to look names up in.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/sketch.h"
#include "proxy/base/time.h"

namespace glia {

// Upper bounds of the buckets, in milliseconds: Envoy's defaults, so that dashboards fit.
inline constexpr std::array<double, 19> kLatencyBucketsMs = {
    0.5,  1,    5,     10,    25,    50,     100,    250,     500,    1000,
    2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};

// A latency histogram of one worker.
class Histogram {
 public:
  void record(Duration value);
  void add(const Histogram& other);
  uint64_t count() const { return count_; }
  double sum_ms() const { return sum_ms_; }
  // [i]: values above kLatencyBucketsMs[i - 1] and at most kLatencyBucketsMs[i]; the last one holds
  // those above every bound. Not cumulative.
  const std::array<uint64_t, kLatencyBucketsMs.size() + 1>& buckets() const { return buckets_; }
  // Linear within the bucket, and the largest bound for what lies above it; 0 when empty. `q` is
  // from 0 to 1.
  double quantile_ms(double q) const;

 private:
  std::array<uint64_t, kLatencyBucketsMs.size() + 1> buckets_ = {};
  uint64_t count_ = 0;
  double sum_ms_ = 0;
};

// Name and value pairs in order: {{"envoy_cluster_name", "reco"}}.
using Labels = std::vector<std::pair<std::string, std::string>>;

// Numbers with names, added up where name and labels are the same. A name has one kind for ever;
// breaking that is a bug of ours. Names and label names are ours and legal for Prometheus; label
// values may come from anywhere.
class MetricsPage {
 public:
  // `name` as Prometheus shows it, without the suffix of its kind: "envoy_cluster_upstream_rq_total".
  void counter(std::string_view name, const Labels& labels, uint64_t value);
  void gauge(std::string_view name, const Labels& labels, int64_t value);
  void histogram(std::string_view name, const Labels& labels, const Histogram& value);
  // Shown as a histogram with these bounds, which live for ever; a count at a bound is off by what is
  // within 2.2 % above it, unless the bound is a power of two.
  void distribution(std::string_view name, const Labels& labels, const Sketch& value,
                    std::span<const double> bounds);
  void add(const MetricsPage& other);
  // As add(), without gauges: what must still be counted of something that has ended. Values that are
  // new to this page are passed over once it holds `most`.
  void add_totals(const MetricsPage& other, std::size_t most);

  // Text exposition format 0.0.4, sorted, one TYPE line a name.
  std::string prometheus() const;
  // "name{labels}: value" lines, for people (/stats). `contains` keeps the lines whose name or labels
  // contain it.
  std::string text(std::string_view contains = {}) const;
  // {"stats": [{"name", "type", "labels": {}, "value"}]}; a histogram has "count", "sum_ms" and
  // "quantiles_ms" instead of "value", a distribution "count", "sum" and "quantiles".
  std::string json(std::string_view contains = {}) const;

 private:
  enum class Kind : uint8_t { kCounter, kGauge, kHistogram, kDistribution };
  struct Value {
    Kind kind = Kind::kCounter;
    int64_t number = 0;  // A counter's, as unsigned.
    Labels labels;
    Histogram histogram;
    Sketch sketch;
    std::span<const double> bounds;
  };
  using Key = std::pair<std::string, std::string>;  // Name, and labels as Prometheus writes them.

  Value& at(std::string_view name, const Labels& labels, Kind kind);
  void add_one(const Key& key, const Value& value);

  std::map<Key, Value> values_;
};

}  // namespace glia
