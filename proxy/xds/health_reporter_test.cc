// The health reporter against a control plane that a test plays, and its messages as the protobuf library
// reads them.
#include "proxy/xds/health_reporter.h"

#include <gtest/gtest.h>

#include "glia/v1/health.pb.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

using Report = v1::HealthReport;

std::string order(int interval_ms = 1000, int failures = 2, int successes = 1) {
  v1::HealthOrder order;
  order.set_interval_ms(interval_ms);
  order.set_timeout_ms(500);
  order.set_failures(failures);
  order.set_successes(successes);
  order.set_address("127.0.0.1");
  order.set_port(8080);
  order.set_path("/healthz");
  return order.SerializeAsString();
}

class Health : public testing::Test {
 protected:
  struct PlayedCall final : AdsCall {
    explicit PlayedCall(Health& test) : test(test) {}
    ~PlayedCall() override { test.watcher = nullptr; }
    void send(std::string message) override {
      Report report;
      EXPECT_TRUE(report.ParseFromString(message));
      test.sent.push_back(std::move(report));
      if (test.answers) test.answer_later();
    }
    Health& test;
  };
  // Each report is answered by the order in force, as the control plane does.
  void answer_later() {
    world.loop().post([this] {
      if (watcher != nullptr) watcher->on_message(now_ordered);
    });
  }
  Task<std::optional<std::string>> look(HealthOrder asked) {
    ++looks;
    last = std::move(asked);
    co_return trouble;
  }
  void begin(std::string ordered) {
    now_ordered = std::move(ordered);
    reporter.start();
    world.run_for(1ms);
  }

  SimWorld world{1};
  std::vector<Report> sent;
  AdsCall::Watcher* watcher = nullptr;
  std::string now_ordered;
  std::optional<std::string> trouble;
  std::optional<HealthOrder> last;
  int calls = 0, looks = 0;
  bool answers = true;
  HealthReporter reporter{world.loop(),
                          [this](AdsCall::Watcher& w) {
                            ++calls;
                            auto call = std::make_unique<PlayedCall>(*this);
                            watcher = &w;
                            return call;
                          },
                          [this](const HealthOrder& asked) { return look(asked); }, "default/vm",
                          7};
};

TEST_F(Health, SaysWhoItIsAndLooksAtNothingWithoutAnOrder) {
  begin("");
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].workload(), "default/vm");
  EXPECT_EQ(sent[0].state(), Report::UNKNOWN);
  world.run_for(60s);
  EXPECT_EQ(looks, 0);
  EXPECT_EQ(sent.size(), 1u);
}

TEST_F(Health, TellsEachLookAlsoWhenNothingChanged) {
  begin(order());
  world.run_for(5s);
  EXPECT_GE(looks, 5);
  EXPECT_EQ(static_cast<int>(sent.size()), looks + 1);
  EXPECT_EQ(sent.back().state(), Report::WELL);
  EXPECT_EQ(last->application->text(), "127.0.0.1:8080");
  EXPECT_EQ(last->path, "/healthz");
  EXPECT_EQ(last->timeout, 500ms);
  EXPECT_EQ(calls, 1);
}

TEST_F(Health, SomeFailuresInARowAreNeededAndThenOneSuccess) {
  begin(order(1000, 2, 1));
  world.run_for(1500ms);
  ASSERT_EQ(sent.back().state(), Report::WELL);
  trouble = "it answers 500";
  world.run_for(1s);
  EXPECT_EQ(sent.back().state(), Report::WELL);
  world.run_for(1s);
  EXPECT_EQ(sent.back().state(), Report::NOT_WELL);
  EXPECT_EQ(sent.back().why(), "it answers 500");
  trouble.reset();
  world.run_for(1s);
  EXPECT_EQ(sent.back().state(), Report::WELL);
  EXPECT_EQ(sent.back().why(), "");
}

TEST_F(Health, AControlPlaneThatDoesNotAnswerIsCalledAnew) {
  begin(order());
  world.run_for(2s);
  ASSERT_EQ(calls, 1);
  answers = false;
  world.run_for(4s);  // Three reports, and the fourth is one too many.
  answers = true;
  world.run_for(2s);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(sent.back().state(), Report::WELL);
}

TEST_F(Health, WhatIsFoundWhileTheControlPlaneIsAwayIsTheFirstThatItHears) {
  begin(order());
  world.run_for(2s);
  watcher->on_end("the control plane went away");
  trouble = "it is burning";
  world.run_for(10s);
  EXPECT_GE(calls, 2);
  EXPECT_EQ(sent.back().state(), Report::NOT_WELL);
}

TEST_F(Health, ANewOrderTakesThePlaceOfTheOldOne) {
  begin(order(1000));
  world.run_for(2s);
  now_ordered = "";
  watcher->on_message(now_ordered);
  const int before = looks;
  world.run_for(10s);
  EXPECT_EQ(looks, before);
  now_ordered = order(200);
  watcher->on_message(now_ordered);
  world.run_for(1100ms);
  EXPECT_GE(looks, before + 5);
}

TEST_F(Health, WhoLeavesSaysSo) {
  begin(order());
  world.run_for(1500ms);
  reporter.leave();
  EXPECT_EQ(sent.back().state(), Report::LEAVING);
  world.run_for(2s);
  EXPECT_EQ(sent.back().state(), Report::LEAVING);
}

TEST(HealthOrders, AreBounded) {
  v1::HealthOrder wanted;
  ASSERT_TRUE(wanted.ParseFromString(order()));
  wanted.set_interval_ms(1);
  wanted.set_failures(0);
  const auto low = decode_health_order(wanted.SerializeAsString());
  ASSERT_TRUE(low.ok());
  EXPECT_EQ(low->interval, HealthOrder::kLeastInterval);
  EXPECT_EQ(low->failures, 1u);
  wanted.set_interval_ms(4'000'000'000);
  EXPECT_EQ(decode_health_order(wanted.SerializeAsString())->interval, HealthOrder::kMostInterval);
  wanted.set_port(0);
  EXPECT_FALSE(decode_health_order(wanted.SerializeAsString()).ok());
  wanted.set_port(80);
  wanted.set_address("example");
  EXPECT_FALSE(decode_health_order(wanted.SerializeAsString()).ok());
  wanted.set_address("::1");
  wanted.set_path("no path");
  EXPECT_FALSE(decode_health_order(wanted.SerializeAsString()).ok());
  EXPECT_FALSE(decode_health_order("\xff").ok());
}

}  // namespace
}  // namespace glia
