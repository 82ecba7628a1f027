// Metrics pages of seven engines, whole and in pieces.
#include "proxy/model/engine_metrics.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

EngineSample scan(Engine engine, std::string_view page, std::size_t piece = 1 << 20) {
  EngineScanner scanner(engine);
  for (std::size_t i = 0; i < page.size(); i += piece) scanner.feed(page.substr(i, piece));
  return scanner.finish();
}

constexpr std::string_view kVllmPage =
    "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
    "# TYPE vllm:num_requests_running gauge\n"
    "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 7.0\n"
    "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 3.0\n"
    "vllm:num_requests_waiting{engine=\"1\",model_name=\"m\"} 2.0\n"
    "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25\n"
    "vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"a \\\"}, b\"} 0.75 1716390000000\n"
    "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"27000\",engine=\"0\"} 1.0\n"
    "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"old\","
    "waiting_lora_adapters=\"\"} 1.7e9\n"
    "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"sql, chat\","
    "waiting_lora_adapters=\"law\"} 1.8e9\n"
    "vllm:time_to_first_token_seconds_bucket{le=\"0.001\"} 0.0\n";

TEST(EngineMetricsTest, ReadsVllm) {
  const EngineSample sample = scan(Engine::kVllm, kVllmPage);
  EXPECT_EQ(sample.waiting, 5);
  EXPECT_EQ(sample.running, 7);
  EXPECT_EQ(sample.kv_use, 0.75);
  EXPECT_EQ(sample.block_size, 16u);
  EXPECT_EQ(sample.block_count, 27000u);
  EXPECT_EQ(sample.most_adapters, 4u);
  EXPECT_EQ(sample.running_adapters, (std::vector<std::string>{"sql", "chat"}));
  EXPECT_EQ(sample.waiting_adapters, std::vector<std::string>{"law"});
}

TEST(EngineMetricsTest, ReadsTheSameInPiecesOfAnySize) {
  const EngineSample whole = scan(Engine::kVllm, kVllmPage);
  for (std::size_t piece = 1; piece < 80; ++piece) {
    EXPECT_EQ(scan(Engine::kVllm, kVllmPage, piece), whole) << piece;
  }
  // The last line has no end.
  EXPECT_EQ(scan(Engine::kTgi, "tgi_queue_size 3").waiting, 3);
}

TEST(EngineMetricsTest, ReadsEachEngineByItsOwnNames) {
  const EngineSample sglang = scan(
      Engine::kSglang,
      "sglang:num_queue_reqs{tp_rank=\"0\"} 2\nsglang:num_running_reqs 9\n"
      "sglang:token_usage 0.5\nsglang:cache_config_info{page_size=\"1\",num_pages=\"90\"} 1\n");
  EXPECT_EQ(sglang.waiting, 2);
  EXPECT_EQ(sglang.running, 9);
  EXPECT_EQ(sglang.kv_use, 0.5);
  EXPECT_EQ(sglang.block_size, 1u);
  EXPECT_EQ(sglang.block_count, 90u);

  const EngineSample trtllm =
      scan(Engine::kTensorRtLlm,
           "trtllm_num_requests_waiting 1\ntrtllm_num_requests_running 2\n"
           "trtllm_kv_cache_utilization 0.125\ntrtllm_kv_cache_tokens_per_block 32\n"
           "trtllm_kv_cache_max_blocks 500\n");
  EXPECT_EQ(trtllm.waiting, 1);
  EXPECT_EQ(trtllm.kv_use, 0.125);
  EXPECT_EQ(trtllm.block_size, 32u);

  const EngineSample triton =
      scan(Engine::kTriton,
           "nv_trt_llm_request_metrics{model=\"m\",request_type=\"waiting\",version=\"1\"} 1\n"
           "nv_trt_llm_request_metrics{model=\"m\",request_type=\"scheduled\"} 4\n"
           "nv_trt_llm_request_metrics{model=\"m\",request_type=\"max\"} 512\n"
           "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.3\n"
           "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"tokens_per\"} 64\n"
           "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 2239\n"
           "nv_inference_pending_request_count{model=\"resnet\",version=\"1\"} 6\n");
  EXPECT_EQ(triton.waiting, 7);
  EXPECT_EQ(triton.running, 4);
  EXPECT_EQ(triton.kv_use, 0.3);
  EXPECT_EQ(triton.block_size, 64u);
  EXPECT_EQ(triton.block_count, 2239u);

  EXPECT_EQ(scan(Engine::kTgi, "tgi_queue_size 3\ntgi_batch_current_size 5\n").running, 5);
  EXPECT_EQ(scan(Engine::kMlServer,
                 "rest_server_requests_in_progress{method=\"POST\"} 2\n"
                 "rest_server_requests_in_progress{method=\"GET\"} 1\n")
                .running,
            3);
}

TEST(EngineMetricsTest, WorksOutTheQueueOfServersThatOnlyTellSums) {
  const auto totals = [](Engine engine, std::string_view page) {
    EngineScanner scanner(engine);
    scanner.feed(page);
    scanner.finish();
    return scanner.totals();
  };
  constexpr std::string_view kWaited = ":tensorflow:serving:batching_session:queuing_latency_sum";
  const auto tf = [&](int waited, int ran) {
    return totals(Engine::kTfServing, cat(kWaited, "{model_name=\"m\"} ", waited, "\n",
                                          ":tensorflow:serving:runtime_latency_sum ", ran, "\n"));
  };
  EngineSample sample;
  // In one second, requests have waited 4 s together and run for half a second.
  add_rates(sample, tf(1'000'000, 0), tf(5'000'000, 500'000), 1s);
  EXPECT_EQ(sample.waiting, 4);
  EXPECT_EQ(sample.running, 0.5);
  // The server began anew: nothing is known, which is not 0.
  EngineSample again;
  add_rates(again, tf(5'000'000, 0), tf(0, 0), 1s);
  EXPECT_EQ(again.waiting, std::nullopt);

  const auto ml = [&](int sum, int count) {
    return totals(Engine::kMlServer, cat("parallel_request_queue_sum{workerpid=\"7\"} ", sum,
                                         "\nparallel_request_queue_count ", count, "\n"));
  };
  EngineSample mlserver;
  add_rates(mlserver, ml(10, 10), ml(40, 20), 1s);
  EXPECT_EQ(mlserver.waiting, 3);
}

TEST(EngineMetricsTest, LeavesOutWhatItCannotBelieve) {
  EXPECT_EQ(scan(Engine::kVllm, "vllm:num_requests_waiting NaN\n").waiting, std::nullopt);
  EXPECT_EQ(scan(Engine::kVllm, "vllm:num_requests_waiting +Inf\n").waiting, std::nullopt);
  EXPECT_EQ(scan(Engine::kVllm, "vllm:num_requests_waiting -1\n").waiting, std::nullopt);
  EXPECT_EQ(scan(Engine::kVllm, "vllm:num_requests_waiting\n").waiting, std::nullopt);
  EXPECT_EQ(scan(Engine::kVllm, "vllm:num_requests_waiting{a=\"b} 3\n").waiting, std::nullopt);
  EXPECT_EQ(scan(Engine::kVllm, "vllm:num_requests_waiting_more 3\n").waiting, std::nullopt);
  EXPECT_EQ(scan(Engine::kVllm, "sglang:num_queue_reqs 3\n"), EngineSample());
  EXPECT_EQ(scan(Engine::kVllm, "vllm:kv_cache_usage_perc 7\n").kv_use, 1);
  EXPECT_EQ(scan(Engine::kVllm, "vllm:num_requests_waiting 3\r\n").waiting, 3);
}

TEST(EngineMetricsTest, PassesOverLinesThatAreTooLong) {
  const std::string page =
      cat("vllm:num_requests_waiting{a=\"", std::string(kLongestMetricLine, 'x'),
          "\"} 3\nvllm:num_requests_running 2\n");
  for (const std::size_t piece : {std::size_t{1000}, page.size()}) {
    const EngineSample sample = scan(Engine::kVllm, page, piece);
    EXPECT_EQ(sample.waiting, std::nullopt);
    EXPECT_EQ(sample.running, 2);
  }
}

TEST(EngineMetricsTest, KeepsNoMoreAdaptersThanItsLimits) {
  std::string list;
  for (std::size_t i = 0; i < kMostAdapters + 10; ++i) list += cat("a", i, ",");
  const EngineSample sample =
      scan(Engine::kVllm,
           cat("vllm:lora_requests_info{running_lora_adapters=\"", list,
               "\",waiting_lora_adapters=\"", std::string(kLongestAdapter + 1, 'x'), "\"} 1\n"));
  EXPECT_EQ(sample.running_adapters.size(), kMostAdapters);
  EXPECT_TRUE(sample.waiting_adapters.empty());
}

TEST(EngineMetricsTest, KnowsEnginesByName) {
  for (const Engine engine : {Engine::kVllm, Engine::kSglang, Engine::kTensorRtLlm, Engine::kTriton,
                              Engine::kTgi, Engine::kMlServer, Engine::kTfServing}) {
    EXPECT_EQ(parse_engine(name_of(engine)), engine);
    EXPECT_TRUE(metrics_path(engine).starts_with('/'));
  }
  EXPECT_FALSE(parse_engine("llama"));
}

}  // namespace
}  // namespace glia
