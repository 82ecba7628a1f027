// What is believed of reports, what is told of it, and that neither many nor lying reporters make it
// grow.
#include "control_plane/canary/observations.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "control_plane/canary/report_reading.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr TimePoint at(int64_t ms) { return TimePoint(100s + std::chrono::milliseconds(ms)); }

void fill(v1::Histogram& histogram, const Sketch& sketch) {
  histogram.set_zeros(sketch.zeros());
  histogram.set_first(sketch.first());
  for (const uint64_t count : sketch.counts()) histogram.add_counts(count);
  histogram.set_sum(sketch.sum());
}

v1::ClusterReport cluster(std::string name, uint64_t requests, double latency_ms = 10) {
  v1::ClusterReport report;
  report.set_cluster(std::move(name));
  report.set_requests(requests);
  Sketch latency;
  latency.add(latency_ms, requests);
  fill(*report.mutable_latency_ms(), latency);
  return report;
}

v1::Report report(std::vector<v1::ClusterReport> clusters) {
  v1::Report report;
  for (auto& one : clusters) *report.add_clusters() = std::move(one);
  return report;
}

class ReportedObservationsTest : public testing::Test {
 protected:
  ReportedObservationsTest() { all.want({"a", "b"}); }
  // Each with another identity.
  ReportedObservations::Teller join(TimePoint when = at(0)) {
    return join(cat("spiffe://m/", ++joined_), when);
  }
  ReportedObservations::Teller join(const std::string& identity, TimePoint when) {
    const auto teller = all.enter(identity);
    all.asked(teller, {"a", "b"}, when);
    return teller;
  }
  Observed seen(std::string_view name = "a", TimePoint from = at(-1000),
                TimePoint to = at(60'000)) {
    return all.between(name, from, to);
  }
  ReportedObservations all;

 private:
  int joined_ = 0;
};

TEST_F(ReportedObservationsTest, AddUpWhatSidecarsReport) {
  const auto one = join(), two = join();
  v1::ClusterReport full = cluster("a", 10, 20);
  full.set_errors(1);
  full.set_output_errors(2);
  full.set_input_tokens(300);
  full.set_output_tokens(4000);
  (*full.mutable_finish_reasons())["stop"] = 7;
  Sketch shadowed;
  shadowed.add(5, 3);
  full.mutable_shadow()->set_sent(3);
  full.mutable_shadow()->set_compared(3);
  full.mutable_shadow()->set_different(2);
  (*full.mutable_shadow()->mutable_fields())["text"] = 2;
  fill(*full.mutable_shadow()->mutable_latency_ms(), shadowed);
  all.take(one, report({full}), 1s, at(100));
  all.take(two, report({cluster("a", 5, 40), cluster("b", 1)}), 1s, at(200));
  const Observed a = seen();
  EXPECT_EQ(a.requests, 15u);
  EXPECT_EQ(a.errors, 1u);
  EXPECT_EQ(a.output_errors, 2u);
  EXPECT_EQ(a.input_tokens, 300u);
  EXPECT_EQ(a.output_tokens, 4000u);
  EXPECT_EQ(a.finish_reasons.at("stop"), 7u);
  EXPECT_EQ(a.latency_ms.count(), 15u);
  EXPECT_DOUBLE_EQ(a.latency_ms.sum(), 400);
  EXPECT_EQ(a.shadow.sent, 3u);
  EXPECT_EQ(a.shadow.different, 2u);
  EXPECT_EQ(a.shadow.fields.at("text"), 2u);
  EXPECT_EQ(a.shadow.latency_ms.count(), 3u);
  EXPECT_EQ(a.sidecars, 2u);
  EXPECT_EQ(a.late, 0u);
  EXPECT_EQ(a.disbelieved, 0u);
  EXPECT_FALSE(a.forgotten);
  EXPECT_EQ(seen("b").sidecars, 1u);
  EXPECT_EQ(seen("c").requests, 0u);
}

TEST_F(ReportedObservationsTest, CountEachReportOnceInTimesThatFollowOnEachOther) {
  const auto one = join();
  uint64_t told = 0, counted = 0;
  TimePoint before = at(-1);
  for (int ms = 0; ms < 30'000; ms += 130) {
    all.take(one, report({cluster("a", 3)}), 1s, at(ms));
    told += 3;
    if (ms % 700 > 500) {
      counted += all.between("a", before, at(ms)).requests;
      before = at(ms);
    }
  }
  EXPECT_GT(counted, 0u);
  counted += all.between("a", before, at(40'000)).requests;
  EXPECT_EQ(counted, told);
}

TEST_F(ReportedObservationsTest, SayWhoIsLate) {
  const auto one = join(), two = join();
  join(at(5'500));
  all.take(one, report({cluster("a", 1)}), 1s, at(5'000));
  const auto in = [&] { return all.between("a", at(4'000), at(6'000)); };
  EXPECT_EQ(in().sidecars, 1u);
  EXPECT_EQ(in().late, 1u);  // `two`; the third was asked only meanwhile.
  all.leave(two);
  EXPECT_EQ(in().late, 0u);
  // A report without a request is one.
  EXPECT_EQ(all.between("b", at(4'000), at(6'000)).late, 1u);
  all.take(one, report({cluster("b", 0)}), 1s, at(5'500));
  EXPECT_EQ(all.between("b", at(4'000), at(6'000)).late, 0u);
  EXPECT_EQ(all.between("b", at(4'000), at(6'000)).sidecars, 1u);
  // Who has left counts for the time in which it told.
  all.leave(one);
  EXPECT_EQ(in().sidecars, 1u);
}

TEST_F(ReportedObservationsTest, BelieveNobodyInWhatHeIsNotAskedFor) {
  const auto one = all.enter("spiffe://m/one");
  all.asked(one, {"b"}, at(0));
  all.take(one, report({cluster("a", 5), cluster("z", 5)}), 1s, at(100));
  EXPECT_EQ(seen().requests, 0u);
  EXPECT_EQ(seen("z").requests, 0u);
  all.asked(one, {"a"}, at(200));
  all.take(one, report({cluster("a", 5), cluster("b", 5)}), 1s, at(300));
  EXPECT_EQ(seen().requests, 5u);
  EXPECT_EQ(seen("b").requests, 0u);
}

TEST_F(ReportedObservationsTest, ForgetWhatNobodyWantsAnyMore) {
  const auto one = join();
  all.take(one, report({cluster("a", 5)}), 1s, at(100));
  const uint64_t wish = all.wish();
  all.want({"b", "a", "a"});
  EXPECT_EQ(all.wish(), wish);
  EXPECT_EQ(seen().requests, 5u);
  all.want({"b"});
  EXPECT_NE(all.wish(), wish);
  all.want({"a", "b"});
  EXPECT_EQ(seen().requests, 0u);
}

struct Lie {
  std::string name;
  std::function<void(v1::ClusterReport&)> tell;
};

TEST_F(ReportedObservationsTest, LeaveOutWhatCannotBeTrue) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<Lie> lies = {
      {"errors", [](auto& r) { r.set_errors(11); }},
      {"output errors", [](auto& r) { r.set_output_errors(11); }},
      {"requests", [](auto& r) { r.set_requests(ReportedObservations::kMostRequests + 1); }},
      {"tokens", [](auto& r) { r.set_output_tokens(UINT64_MAX); }},
      {"reasons", [](auto& r) { (*r.mutable_finish_reasons())["stop"] = 11; }},
      {"many reasons",
       [](auto& r) {
         for (int i = 0; i < 17; ++i) (*r.mutable_finish_reasons())[cat(i)] = 1;
       }},
      {"NaN", [](auto& r) { r.mutable_latency_ms()->set_sum(std::nan("")); }},
      {"infinite", [inf](auto& r) { r.mutable_latency_ms()->set_sum(inf); }},
      {"negative sum", [](auto& r) { r.mutable_latency_ms()->set_sum(-1); }},
      {"a sum too small", [](auto& r) { r.mutable_latency_ms()->set_sum(90); }},
      {"a sum too large", [](auto& r) { r.mutable_latency_ms()->set_sum(110); }},
      {"too many values", [](auto& r) { r.mutable_latency_ms()->add_counts(1); }},
      {"counts that overflow",
       [](auto& r) {
         r.mutable_latency_ms()->add_counts(UINT64_MAX);
         r.mutable_latency_ms()->add_counts(UINT64_MAX);
       }},
      {"zeros", [](auto& r) { r.mutable_latency_ms()->set_zeros(UINT64_MAX); }},
      {"buckets below",
       [](auto& r) { r.mutable_latency_ms()->set_first(std::numeric_limits<int>::min()); }},
      {"buckets above",
       [](auto& r) { r.mutable_latency_ms()->set_first(std::numeric_limits<int>::max()); }},
      {"too many buckets",
       [](auto& r) {
         for (int i = 0; i < 2048; ++i) r.mutable_latency_ms()->add_counts(0);
       }},
      {"different", [](auto& r) { r.mutable_shadow()->set_different(1); }},
      {"sent", [](auto& r) { r.mutable_shadow()->set_sent(UINT64_MAX); }},
      {"fields",
       [](auto& r) {
         r.mutable_shadow()->set_compared(1);
         r.mutable_shadow()->set_different(1);
         (*r.mutable_shadow()->mutable_fields())["x"] = 2;
       }},
  };
  uint32_t disbelieved = 0;
  for (const Lie& lie : lies) {
    const auto liar = join();
    v1::ClusterReport lying = cluster("a", 10);
    lie.tell(lying);
    // The other cluster of the same message is believed.
    all.take(liar, report({lying, cluster("b", 1)}), 1s, at(100));
    EXPECT_EQ(seen().disbelieved, ++disbelieved) << lie.name;
    EXPECT_EQ(seen().requests, 0u) << lie.name;
    EXPECT_EQ(seen().sidecars, 0u) << lie.name;
    EXPECT_EQ(seen().late, 0u) << lie.name;
    EXPECT_EQ(seen("b").requests, disbelieved) << lie.name;
  }
  // Honest as far as it goes, but told twice.
  const auto twice = join();
  all.take(twice, report({cluster("a", 10), cluster("a", 10)}), 1s, at(100));
  EXPECT_EQ(seen().requests, 10u);
  EXPECT_EQ(seen().disbelieved, ++disbelieved);
}

TEST_F(ReportedObservationsTest, DoNotHearForAWhileWhoSaidWhatCannotBeTrue) {
  const std::string identity = "spiffe://m/liar";
  const auto honest = join(), liar = join(identity, at(0));
  v1::ClusterReport lying = cluster("a", 10);
  lying.set_errors(11);
  all.take(liar, report({lying}), 1s, at(100));
  // Neither on this stream nor on another one of the same identity.
  const auto again = join(identity, at(200));
  for (const auto teller : {honest, liar, again}) {
    all.take(teller, report({cluster("a", 7)}), 1s, at(300));
  }
  EXPECT_EQ(seen().requests, 7u);
  EXPECT_EQ(seen().sidecars, 1u);
  EXPECT_EQ(seen().disbelieved, 1u);
  const TimePoint over = at(100) + ReportedObservations::kDisbelief;
  all.take(again, report({cluster("a", 5)}), 1s, over);
  const Observed later = seen("a", over - 1ms, over + 2s);
  EXPECT_EQ(later.requests, 5u);
  EXPECT_EQ(seen("a", over + 1ms, over + 2s).disbelieved, 0u);
}

TEST_F(ReportedObservationsTest, TellTheSidecarsApartInThreeParts) {
  const std::string first = "spiffe://m/first";
  const auto one = join(first, at(0)), two = join(), three = join(), four = join();
  all.take(two, report({cluster("a", 0)}), 1s, at(50));  // That gives it no part yet.
  uint64_t requests = 1;
  for (const auto teller : {one, two, three, four}) {
    all.take(teller, report({cluster("a", requests)}), 1s, at(100));
    requests *= 10;
  }
  all.leave(one);
  const auto back = join(first, at(2000));
  all.take(back, report({cluster("a", 5)}), 1s, at(3000));
  const Observed a = seen();
  EXPECT_EQ(a.requests, 1116u);
  EXPECT_EQ(a.parts[0].requests, 1006u);
  EXPECT_EQ(a.parts[1].requests, 10u);
  EXPECT_EQ(a.parts[2].requests, 100u);
  EXPECT_EQ(a.without(0).latency_ms.count(), 110u);
}

TEST_F(ReportedObservationsTest, KeepFewNamesHoweverManyAreSaid) {
  const auto one = join();
  for (int i = 0; i < 1000; ++i) {
    v1::ClusterReport named = cluster("a", 2);
    (*named.mutable_finish_reasons())[cat("reason-", i)] = 1;
    (*named.mutable_finish_reasons())[std::string(1000, 'x')] = 1;
    all.take(one, report({named}), 1s, at(i));
  }
  const Observed a = seen();
  EXPECT_EQ(a.finish_reasons.size(), ReportedObservations::kMostNames + 1);
  EXPECT_EQ(a.finish_reasons.at("other"), 1000 + 1000 - ReportedObservations::kMostNames);
}

TEST_F(ReportedObservationsTest, ForgetTheOldestWhenThereIsTooMuchAndSaySo) {
  const auto one = join();
  v1::ClusterReport wide = cluster("a", 4000);
  Sketch sketch;
  for (int i = 0; i < 2000; ++i) sketch.add(Sketch::upper_bound(i - 1000));
  for (auto* histogram :
       {wide.mutable_latency_ms(), wide.mutable_first_token_ms(), wide.mutable_inter_token_ms()}) {
    histogram->Clear();
    fill(*histogram, sketch);
  }
  constexpr int kSeconds = 200;  // 48 KB each: more than 4 MiB.
  for (int s = 0; s < kSeconds; ++s) all.take(one, report({wide}), 1s, at(s * 1000));
  const Observed everything = seen("a", at(-1000), at(1'000'000));
  EXPECT_TRUE(everything.forgotten);
  EXPECT_LT(everything.requests, 4000u * 100);
  const Observed newest = seen("a", at((kSeconds - 20) * 1000), at(1'000'000));
  EXPECT_FALSE(newest.forgotten);
  EXPECT_EQ(newest.requests, 4000u * 20);
}

TEST_F(ReportedObservationsTest, LookBackAQuarterOfAnHour) {
  const auto one = join();
  for (int s = 0; s < 1000; ++s) all.take(one, report({cluster("a", 1)}), 1s, at(s * 1000));
  const TimePoint now = at(999'999);
  EXPECT_FALSE(all.between("a", now - ReportedObservations::kKept, now).forgotten);
  EXPECT_GE(all.between("a", now - ReportedObservations::kKept, now).requests, 899u);
  EXPECT_TRUE(all.between("a", at(-1000), now).forgotten);
}

TEST_F(ReportedObservationsTest, WantNoMoreClustersThanTheyKeep) {
  std::vector<std::string> many;
  for (int i = 0; i < 1000; ++i) many.push_back(cat("c", i));
  all.want(many);
  EXPECT_EQ(all.wanted().size(), ReportedObservations::kMostClusters);
}

}  // namespace
}  // namespace glia
