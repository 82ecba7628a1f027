// What is believed of a report, as it grows old.
#include "proxy/mesh/endpoint_load.h"

#include <gtest/gtest.h>

#include <cmath>

#include "proxy/mesh/server_load.h"

namespace glia {
namespace {

const TimePoint kStart{1000s};

TEST(EndpointLoadTest, BelievesAReportLessTheOlderItIs) {
  EndpointLoad load;
  EXPECT_EQ(load.confidence(kStart, 1s), 0);
  ServerReport report;
  report.in_flight = 12;
  load.report(report, /*active=*/2, kStart);
  EXPECT_EQ(load.others(), 10);
  EXPECT_EQ(load.confidence(kStart, 1s), 1);
  EXPECT_DOUBLE_EQ(load.confidence(kStart + 1s, 1s), 0.5);
  EXPECT_LT(load.confidence(kStart + 10s, 1s), 0.01);
  // The engine was asked some time before that.
  report.age = 1s;
  load.report(report, 2, kStart);
  EXPECT_EQ(load.confidence(kStart, 1s), 1);
  EXPECT_DOUBLE_EQ(load.engine_confidence(kStart, 1s), 0.5);
}

TEST(EndpointLoadTest, TakesTheNumbersOfAnEngineThatReportsItself) {
  EndpointLoad load;
  ServerReport report;
  report.waiting = 3;
  load.report(report, 1, kStart);
  EXPECT_EQ(load.others(), 2);
  load.report(ServerReport(), 1, kStart);
  EXPECT_EQ(load.others(), std::nullopt);  // It says nothing, which is not 0.
}

TEST(EndpointLoadTest, ForgetsFailuresInTimeAndByAnswers) {
  EndpointLoad load;
  load.failed(kStart);
  load.failed(kStart);
  EXPECT_EQ(load.failures(kStart), 2);
  EXPECT_DOUBLE_EQ(load.failures(kStart + EndpointLoad::kFailureHalfLife), 1);
  load.answered(1s, 1, kStart);
  EXPECT_DOUBLE_EQ(load.failures(kStart), 1.5);
}

TEST(EndpointLoadTest, LearnsWhatARequestCostsFromLatencyAndLoad) {
  EndpointLoad load;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(load.log_drain().has_value(), i >= static_cast<int>(EndpointLoad::kLatencyLeast));
    load.answered(8s, 4, kStart);
  }
  EXPECT_NEAR(std::exp(*load.log_drain()), 2, 0.01);
  EXPECT_NEAR(to_seconds(*load.latency()), 8, 0.01);
}

TEST(EndpointLoadTest, KnowsAdapters) {
  EndpointLoad load;
  ServerReport report;
  report.loaded_adapters = {"sql"};
  report.waiting_adapters = {"law"};
  report.most_adapters = 3;
  load.report(report, 0, kStart);
  EXPECT_EQ(load.adapter(EndpointLoad::adapter_hash("sql")), ServerReport::Adapter::kLoaded);
  EXPECT_EQ(load.adapter(EndpointLoad::adapter_hash("law")), ServerReport::Adapter::kWaiting);
  EXPECT_EQ(load.adapter(EndpointLoad::adapter_hash("x")), ServerReport::Adapter::kAbsent);
  EXPECT_TRUE(load.adapter_room());
  report.most_adapters = 2;
  load.report(report, 0, kStart);
  EXPECT_FALSE(load.adapter_room());
}

TEST(ServerLoadTest, TellsTheLatencyOfRequestsThatMetAsManyOthers) {
  ServerLoad load;
  EXPECT_EQ(load.report(kStart).latency, std::nullopt);
  for (int i = 0; i < 32; ++i) {
    load.answered(2, 100ms);
    load.answered(20, 900ms);
  }
  load.begin();
  load.begin();
  EXPECT_EQ(load.report(kStart).latency, 100ms);
  EXPECT_EQ(load.report(kStart).in_flight, 2);
  for (int i = 0; i < 18; ++i) load.begin();
  EXPECT_EQ(load.report(kStart).latency, 900ms);
  for (int i = 0; i < 20; ++i) load.end();
  EXPECT_EQ(load.in_flight(), 0);
  EXPECT_EQ(load.ended(), 20);
}

TEST(ServerLoadTest, TellsWhatTheEngineSaidWithItsAgeUntilItIsTooOld) {
  ServerLoad load;
  ServerLoad::Seen seen;
  seen.at = kStart;
  seen.sample.waiting = 3;
  seen.sample.kv_use = 0.5;
  seen.in_flight = 0;
  load.seen(seen);
  load.begin();
  ServerReport report = load.report(kStart + 200ms);
  EXPECT_EQ(report.waiting, 4);  // While some wait, who comes waits too.
  EXPECT_EQ(report.kv_use, 0.5f);
  EXPECT_EQ(report.age, 200ms);
  report = load.report(kStart + ServerLoad::kOldest + 1ms);
  EXPECT_EQ(report.waiting, std::nullopt);
  EXPECT_EQ(report.in_flight, 1);
}

TEST(SharedTurnTest, IsTakenByOneOfThoseThatAskInTime) {
  SharedTurn turn;
  EXPECT_TRUE(turn.take(kStart, 1s));
  EXPECT_FALSE(turn.take(kStart + 999ms, 1s));
  EXPECT_TRUE(turn.take(kStart + 1s, 1s));
  turn.put_off(kStart + 10s);
  EXPECT_FALSE(turn.take(kStart + 9s, 1s));
  EXPECT_TRUE(turn.take(kStart + 10s, 1s));
}

}  // namespace
}  // namespace glia
