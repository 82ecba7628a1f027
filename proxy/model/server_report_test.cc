// What a server says of its load arrives as it was meant.
#include "proxy/model/server_report.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

TEST(ServerReportTest, ArrivesAsItWasSent) {
  ServerReport report;
  report.waiting = 3;
  report.running = 8;
  report.kv_use = 0.5;
  report.in_flight = 11;
  report.reading = 5200;
  report.slots = 8;
  report.latency = 250ms;
  report.age = 40ms;
  report.block_size = 16;
  report.block_count = 27000;
  report.most_adapters = 4;
  report.loaded_adapters = {"sql", "chat"};
  report.waiting_adapters = {"law"};
  report.utilization = 0.5;
  report.rps = 12;
  const auto sent = read_orca_text(write_orca_text(orca_of(report)));
  ASSERT_TRUE(sent.ok());
  EXPECT_EQ(server_report_of(*sent), report);
  EXPECT_EQ(report.adapter("chat"), ServerReport::Adapter::kLoaded);
  EXPECT_EQ(report.adapter("law"), ServerReport::Adapter::kWaiting);
  EXPECT_EQ(report.adapter("other"), ServerReport::Adapter::kAbsent);
}

TEST(ServerReportTest, TakesTheNamesOfEnginesThatReportThemselves) {
  const ServerReport vllm = server_report_of(*read_orca_text(
      "named_metrics.kv_cache_usage_perc=0.25,named_metrics.num_requests_waiting=2"));
  EXPECT_EQ(vllm.kv_use, 0.25f);
  EXPECT_EQ(vllm.waiting, 2);
  EXPECT_EQ(vllm.in_flight, std::nullopt);
  const ServerReport triton = server_report_of(
      *read_orca_text("named_metrics.kv_cache_utilization=0.5,named_metrics.max_token_capacity=9"));
  EXPECT_EQ(triton.kv_use, 0.5f);
}

TEST(ServerReportTest, LeavesOutAdaptersBeyondTheLimitOfAReport) {
  ServerReport report;
  for (int i = 0; i < 100; ++i) report.loaded_adapters.push_back(cat("a", i));
  EXPECT_EQ(orca_of(report).named_metrics.size(), kOrcaMostMetrics);
}

}  // namespace
}  // namespace glia
