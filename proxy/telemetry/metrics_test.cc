#include "proxy/telemetry/metrics.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

TEST(Metrics, PrintsOneTypeLineANameAndSortsByName) {
  MetricsPage page;
  page.counter("envoy_b_total", {{"cluster", "two"}}, 2);
  page.gauge("envoy_a_active", {}, -3);
  page.counter("envoy_b_total", {{"cluster", "one"}}, 1);
  EXPECT_EQ(page.prometheus(),
            "# TYPE envoy_a_active gauge\n"
            "envoy_a_active -3\n"
            "# TYPE envoy_b_total counter\n"
            "envoy_b_total{cluster=\"one\"} 1\n"
            "envoy_b_total{cluster=\"two\"} 2\n");
}

TEST(Metrics, DoesNotMixANameWithALongerOne) {
  MetricsPage page;
  page.counter("rq", {{"a", "x"}}, 1);
  page.counter("rq_total", {}, 2);
  page.counter("rq", {}, 3);
  EXPECT_EQ(page.prometheus(),
            "# TYPE rq counter\nrq 3\nrq{a=\"x\"} 1\n# TYPE rq_total counter\nrq_total 2\n");
}

TEST(Metrics, EscapesLabelValues) {
  MetricsPage page;
  page.counter("c", {{"name", "a\"b\\c\nd"}}, 1);
  EXPECT_EQ(page.prometheus(), "# TYPE c counter\nc{name=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST(Metrics, AddsPagesOfWorkersUp) {
  MetricsPage one, two, empty;
  one.counter("c", {}, 1);
  one.gauge("g", {}, 5);
  two.counter("c", {}, 10);
  two.gauge("g", {}, -2);
  two.counter("only_two", {}, 7);
  one.add(two);
  one.add(empty);
  EXPECT_EQ(one.text(), "c: 11\ng: 3\nonly_two: 7\n");
}

TEST(Metrics, CountsPastTheSignBit) {
  MetricsPage page;
  page.counter("c", {}, 0x7fffffffffffffff);
  page.counter("c", {}, 2);
  EXPECT_EQ(page.text(), "c: 9223372036854775809\n");
}

TEST(Metrics, PrintsCumulativeBuckets) {
  Histogram histogram;
  histogram.record(500us);  // On a bound: belongs below it.
  histogram.record(501us);
  histogram.record(30s);
  histogram.record(2h);  // Above every bound.
  MetricsPage page;
  page.histogram("rq_time", {{"c", "x"}}, histogram);
  const std::string out = page.prometheus();
  EXPECT_TRUE(
      out.starts_with("# TYPE rq_time histogram\n"
                      "rq_time_bucket{c=\"x\",le=\"0.5\"} 1\n"
                      "rq_time_bucket{c=\"x\",le=\"1\"} 2\n"))
      << out;
  EXPECT_NE(out.find("rq_time_bucket{c=\"x\",le=\"30000\"} 3\n"), out.npos) << out;
  EXPECT_NE(out.find("rq_time_bucket{c=\"x\",le=\"600000\"} 3\n"), out.npos) << out;
  EXPECT_NE(out.find("rq_time_bucket{c=\"x\",le=\"3600000\"} 3\n"
                     "rq_time_bucket{c=\"x\",le=\"+Inf\"} 4\n"
                     "rq_time_sum{c=\"x\"} 7230001.001\n"
                     "rq_time_count{c=\"x\"} 4\n"),
            out.npos)
      << out;
}

TEST(Metrics, FindsQuantilesWithinABucket) {
  Histogram histogram;
  EXPECT_EQ(histogram.quantile_ms(0.5), 0);
  for (int i = 0; i < 100; ++i) histogram.record(7ms);  // In (5, 10].
  EXPECT_DOUBLE_EQ(histogram.quantile_ms(0.5), 7.5);
  EXPECT_DOUBLE_EQ(histogram.quantile_ms(1), 10);
  histogram.record(24h);
  EXPECT_DOUBLE_EQ(histogram.quantile_ms(1), 3600000);
}

TEST(Metrics, RoundsQuantilesForPeople) {
  Histogram histogram;
  for (int i = 0; i < 6; ++i) histogram.record(100us);
  histogram.record(700us);
  MetricsPage page;
  page.histogram("h", {}, histogram);
  page.histogram("none", {}, {});
  EXPECT_TRUE(page.text().starts_with("h: count 7, p50 0.292 ms, p90 0.65 ms, ")) << page.text();
  EXPECT_TRUE(page.text().ends_with("none: count 0, p50 0 ms, p90 0 ms, p99 0 ms, p99.9 0 ms\n"));
}

TEST(Metrics, TakesANegativeTimeAsZero) {
  Histogram histogram;
  histogram.record(-5ms);
  EXPECT_EQ(histogram.buckets()[0], 1u);
  EXPECT_EQ(histogram.sum_ms(), 0);
}

TEST(Metrics, KeepsWhatContainsTheFilter) {
  MetricsPage page;
  page.counter("a_total", {{"cluster", "reco"}}, 1);
  page.counter("b_total", {{"cluster", "other"}}, 2);
  EXPECT_EQ(page.text("reco"), "a_total{cluster=\"reco\"}: 1\n");
  EXPECT_EQ(page.text("b_"), "b_total{cluster=\"other\"}: 2\n");
  EXPECT_EQ(page.text("nothing"), "");
}

TEST(Metrics, PrintsJson) {
  MetricsPage page;
  page.counter("a", {{"k", "v\"\n"}}, 1);
  Histogram histogram;
  histogram.record(2ms);
  page.histogram("h", {}, histogram);
  EXPECT_EQ(
      page.json(),
      "{\"stats\":[\n"
      "{\"name\":\"a\",\"type\":\"counter\",\"labels\":{\"k\":\"v\\\"\\u000a\"},\"value\":1},\n"
      "{\"name\":\"h\",\"type\":\"histogram\",\"labels\":{},\"count\":1,\"sum_ms\":2,"
      "\"quantiles_ms\":{\"0.5\":3,\"0.9\":4.6,\"0.99\":4.96,\"0.999\":4.996}}\n]}\n");
  EXPECT_EQ(page.json("none"), "{\"stats\":[\n]}\n");
}

TEST(MetricsDeathTest, RefusesOneNameOfTwoKinds) {
  MetricsPage page;
  page.counter("x", {}, 1);
  EXPECT_DEATH(page.gauge("x", {}, 1), "CHECK failed");
}

TEST(Metrics, TotalsOfWhatEndedAreKeptUpToALimitAndGaugesAreNot) {
  const auto page = [](const char* name) {
    MetricsPage one;
    one.counter("requests", {{"listener", name}}, 2);
    one.gauge("active", {{"listener", name}}, 1);
    return one;
  };
  MetricsPage ended;
  ended.add_totals(page("a"), 1);
  ended.add_totals(page("b"), 1);
  ended.add_totals(page("a"), 1);
  EXPECT_EQ(ended.text(), "requests{listener=\"a\"}: 4\n");
}

TEST(Metrics, ShowsADistributionWithTheBoundsItIsGiven) {
  static constexpr double kBounds[] = {0.25, 1, 16};
  Sketch sketch;
  for (const double value : {0.0, 0.2, 1.0, 1.1, 16.0, 500.0}) sketch.add(value);
  MetricsPage one, two;
  one.distribution("tokens", {{"model", "m"}}, sketch, kBounds);
  two.distribution("tokens", {{"model", "m"}}, sketch, kBounds);
  one.add(two);
  EXPECT_EQ(one.prometheus(),
            "# TYPE tokens histogram\n"
            "tokens_bucket{model=\"m\",le=\"0.25\"} 4\n"
            "tokens_bucket{model=\"m\",le=\"1\"} 6\n"
            "tokens_bucket{model=\"m\",le=\"16\"} 10\n"
            "tokens_bucket{model=\"m\",le=\"+Inf\"} 12\n"
            "tokens_sum{model=\"m\"} 1036.6\n"
            "tokens_count{model=\"m\"} 12\n");
  EXPECT_TRUE(one.text().starts_with("tokens{model=\"m\"}: count 12, p50 ")) << one.text();
  EXPECT_NE(one.json().find("\"count\":12,\"sum\":1036.6,\"quantiles\":{\"0.5\":"),
            std::string::npos);
}

}  // namespace
}  // namespace glia
