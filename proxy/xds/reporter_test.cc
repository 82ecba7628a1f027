// The reporter against a control plane that a test plays, and its messages as the protobuf library
// reads them.
#include "proxy/xds/reporter.h"

#include <gtest/gtest.h>

#include "glia/v1/report.pb.h"
#include "proxy/base/text.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

std::string order(std::vector<std::string> clusters, int interval_ms = 1000) {
  v1::ReportOrder order;
  for (std::string& cluster : clusters) order.add_clusters(std::move(cluster));
  order.mutable_interval()->set_seconds(interval_ms / 1000);
  order.mutable_interval()->set_nanos(interval_ms % 1000 * 1'000'000);
  return order.SerializeAsString();
}

class Reports : public testing::Test {
 protected:
  struct PlayedCall final : AdsCall {
    explicit PlayedCall(Reports& test) : test(test) {}
    ~PlayedCall() override { test.watcher = nullptr; }
    void send(std::string message) override {
      v1::Report report;
      EXPECT_TRUE(report.ParseFromString(message));
      test.sent.push_back(std::move(report));
    }
    std::size_t unsent() const override { return test.unsent; }
    Reports& test;
  };

  Task<Tallies> take() {
    if (slow) co_await sleep_for(world.loop(), 2500ms);
    co_return workers.take();
  }
  // What requests would do.
  void request(std::string_view cluster, double latency_ms) {
    ClusterTally* const tally = workers.find(cluster);
    if (tally == nullptr) return;
    ++tally->requests;
    tally->latency_ms.add(latency_ms);
  }
  void begin() {
    reporter.start();
    world.run_for(1ms);
  }

  SimWorld world{1};
  Tallies workers;
  std::vector<std::vector<std::string>> wanted;
  std::vector<v1::Report> sent;
  AdsCall::Watcher* watcher = nullptr;
  std::size_t unsent = 0;
  int calls = 0;
  bool slow = false;
  Reporter reporter{world.loop(),
                    [this](AdsCall::Watcher& w) {
                      ++calls;
                      auto call = std::make_unique<PlayedCall>(*this);
                      watcher = &w;
                      return call;
                    },
                    {.want =
                         [this](std::vector<std::string> clusters) {
                           workers.want(clusters);
                           wanted.push_back(std::move(clusters));
                         },
                     .take = [this] { return take(); }},
                    7};
};

TEST_F(Reports, BeginWithAnEmptyOneAndSayNothingWithoutAnOrder) {
  begin();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].ByteSizeLong(), 0u);
  world.run_for(60s);
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_TRUE(wanted.empty());
}

TEST_F(Reports, TellWhatIsNewEachInterval) {
  begin();
  watcher->on_message(order({"a", "b"}));
  EXPECT_EQ(wanted.back(), (std::vector<std::string>{"a", "b"}));
  request("a", 5);
  request("a", 50);
  request("c", 7);
  world.run_for(1001ms);
  request("a", 500);
  world.run_for(1s);
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[1].window().seconds(), 1);
  ASSERT_EQ(sent[1].clusters_size(), 2);
  EXPECT_EQ(sent[1].clusters(0).cluster(), "a");
  EXPECT_EQ(sent[1].clusters(0).requests(), 2u);
  EXPECT_EQ(sent[1].clusters(1).cluster(), "b");  // Silence is not the same as no traffic.
  EXPECT_EQ(sent[1].clusters(1).requests(), 0u);
  EXPECT_EQ(sent[2].clusters(0).requests(), 1u);
  const v1::Histogram& latency = sent[1].clusters(0).latency_ms();
  Sketch read;
  EXPECT_TRUE(read.add(latency.zeros(), latency.first(),
                       {latency.counts().data(), std::size_t(latency.counts_size())},
                       latency.sum()));
  EXPECT_EQ(read.count(), 2u);
  EXPECT_DOUBLE_EQ(read.sum(), 55);
  EXPECT_NEAR(read.quantile(1), 50, 1);
}

TEST_F(Reports, CarryAllThatWasCounted) {
  begin();
  watcher->on_message(order({"a"}, 200));
  ClusterTally& tally = *workers.find("a");
  tally.requests = 9;
  tally.errors = 1;
  tally.output_errors = 2;
  tally.input_tokens = 300;
  tally.output_tokens = 4000;
  tally.finish_reasons = {{"length", 3}, {"stop", 4}};
  tally.first_token_ms.add(0.01);  // Below 1: a bucket of negative index.
  tally.inter_token_ms.add(0);
  tally.tokens_per_second.add(33);
  tally.shadow = {.sent = 5, .failed = 1, .compared = 3, .different = 2, .skipped = 1};
  tally.shadow.fields = {{"choices[].text", 2}};
  tally.shadow.latency_ms.add(8);
  tally.shadow.answered_latency_ms.add(7);
  world.run_for(201ms);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[1].window().nanos(), 200'000'000);
  const v1::ClusterReport& told = sent[1].clusters(0);
  EXPECT_EQ(told.requests(), 9u);
  EXPECT_EQ(told.errors(), 1u);
  EXPECT_EQ(told.output_errors(), 2u);
  EXPECT_EQ(told.input_tokens(), 300u);
  EXPECT_EQ(told.output_tokens(), 4000u);
  EXPECT_EQ(told.finish_reasons().at("length"), 3u);
  EXPECT_EQ(told.finish_reasons().at("stop"), 4u);
  EXPECT_LT(told.first_token_ms().first(), 0);
  EXPECT_DOUBLE_EQ(told.first_token_ms().sum(), 0.01);
  EXPECT_EQ(told.inter_token_ms().zeros(), 1u);
  EXPECT_EQ(told.tokens_per_second().counts_size(), 1);
  EXPECT_EQ(told.shadow().sent(), 5u);
  EXPECT_EQ(told.shadow().failed(), 1u);
  EXPECT_EQ(told.shadow().compared(), 3u);
  EXPECT_EQ(told.shadow().different(), 2u);
  EXPECT_EQ(told.shadow().skipped(), 1u);
  EXPECT_EQ(told.shadow().fields().at("choices[].text"), 2u);
  EXPECT_EQ(told.shadow().latency_ms().counts_size(), 1);
  EXPECT_EQ(told.shadow().answered_latency_ms().counts_size(), 1);
}

TEST_F(Reports, FollowEachNewOrder) {
  begin();
  watcher->on_message(order({"a"}));
  request("a", 1);
  watcher->on_message(order({"a", "b"}, 300));
  world.run_for(301ms);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[1].clusters(0).requests(), 1u);  // What was counted already is not lost.
  watcher->on_message(order({}));
  EXPECT_TRUE(workers.clusters.empty());
  world.run_for(60s);
  EXPECT_EQ(sent.size(), 2u);
}

TEST_F(Reports, StopCountingWhenTheCallEndsAndComeBackLaterEachTime) {
  begin();
  watcher->on_message(order({"a"}));
  watcher->on_end("gone");
  EXPECT_TRUE(workers.clusters.empty());
  world.run_for(450ms);
  EXPECT_EQ(calls, 1);
  world.run_for(600ms);
  EXPECT_EQ(calls, 2);
  for (int i = 0; i < 9; ++i) {
    watcher->on_end("refused");
    world.run_for(Reporter::kReconnectMost);
  }
  const int before = calls;
  watcher->on_end("refused");
  world.run_for(Reporter::kReconnectMost / 2 - 1ms);
  EXPECT_EQ(calls, before);
}

TEST_F(Reports, RefuseAnOrderThatAsksForTooMuch) {
  begin();
  std::vector<std::string> many;
  for (std::size_t i = 0; i <= ReportOrder::kMostClusters; ++i) many.push_back(cat("c", i));
  watcher->on_message(order(many));
  EXPECT_TRUE(wanted.empty());
  world.run_for(2s);
  EXPECT_EQ(calls, 2);
  watcher->on_message(order({std::string(ReportOrder::kLongestName + 1, 'c')}));
  EXPECT_TRUE(wanted.empty());
  EXPECT_FALSE(decode_order("\xff\xff"));
}

TEST_F(Reports, KeepTheIntervalWithinItsBounds) {
  EXPECT_EQ(decode_order(order({"a"}, 1))->interval, ReportOrder::kLeastInterval);
  EXPECT_EQ(decode_order(order({"a"}, 3'600'000))->interval, ReportOrder::kMostInterval);
  v1::ReportOrder negative;
  negative.mutable_interval()->set_seconds(-5);
  EXPECT_EQ(decode_order(negative.SerializeAsString())->interval, ReportOrder::kLeastInterval);
  EXPECT_EQ(decode_order("")->interval, 1s);
}

TEST_F(Reports, GiveUpOnAControlPlaneThatDoesNotRead) {
  begin();
  watcher->on_message(order({"a"}));
  unsent = Reporter::kMostUnsent + 1;
  world.run_for(1001ms);
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_TRUE(workers.clusters.empty());
  unsent = 0;
  world.run_for(1s);
  EXPECT_EQ(calls, 2);
}

TEST_F(Reports, LeaveOneOutWhileAWorkerIsBusyAndLoseNothing) {
  slow = true;
  begin();
  watcher->on_message(order({"a"}));
  request("a", 1);
  world.run_for(4s);
  slow = false;
  request("a", 1);
  world.run_for(4s);
  uint64_t requests = 0;
  for (const v1::Report& report : sent) {
    for (const v1::ClusterReport& one : report.clusters()) requests += one.requests();
  }
  EXPECT_EQ(requests, 2u);
}

}  // namespace
}  // namespace glia
