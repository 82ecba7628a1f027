// What one pick costs at 100 endpoints, and what their state takes.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include "proxy/mesh/balancer_test_support.h"
#include "proxy/mesh/hot_cold.h"
#include "proxy/mesh/model_balancer.h"
#include "proxy/mesh/weighted_by_reports.h"

namespace glia {
namespace {

constexpr int kEndpoints = 100;

ServerReport report_of(Random& random) {
  ServerReport report;
  report.in_flight = static_cast<float>(random.below(64));
  report.waiting = static_cast<float>(random.below(8));
  report.running = 32;
  report.kv_use = static_cast<float>(random.unit());
  report.latency = Duration(static_cast<int64_t>(random.below(1'000'000'000)));
  report.rps = 10;
  report.utilization = *report.kv_use;
  report.block_size = 16;
  report.block_count = 27'000;
  report.most_adapters = 8;
  report.loaded_adapters = {"sql", "chat", "law", cat("a", random.below(100))};
  return report;
}

void report_all(PickWorld& world) {
  for (std::size_t i = 0; i < kEndpoints; ++i) {
    world.report(i, report_of(world.random()));
    for (int answer = 0; answer < 10; ++answer) {
      world.endpoint(i).load().answered(1ms * (1 + world.random().below(100)), 4, world.now());
    }
  }
}

std::vector<uint64_t> prompt(uint64_t seed, std::size_t blocks) {
  Random random(seed);
  std::vector<uint64_t> hashes;
  for (std::size_t i = 0; i < blocks; ++i) hashes.push_back(random.next());
  return hashes;
}

template <class Picker, class Config>
void pick(benchmark::State& state) {
  PickWorld world(kEndpoints, {});
  report_all(world);
  Picker picker{Config()};
  const PickHints hints;
  for (auto _ : state) {
    benchmark::DoNotOptimize(&picker.pick(world.endpoints(), {world.random(), world.now(), hints}));
  }
}
BENCHMARK(pick<ModelBalancer, ModelBalancing>)->Name("pick/composed");
BENCHMARK(pick<LeastLoaded, ModelBalancing>)->Name("pick/least_loaded_of_two");
BENCHMARK(pick<HotCold, ModelBalancing>)->Name("pick/hot_cold");
BENCHMARK(pick<WeightedByReports, ReportWeights>)->Name("pick/weighted_by_reports");

// Prompts of 6,000 tokens in so many groups, each with a question of 400 tokens of its own at the end; the
// last 400 prompts have still to be read. 150 groups are remembered by the servers together; a hundred times as many
// are not, and each prompt then takes the places of others.
void pick_with_prompts(benchmark::State& state) {
  PickWorld world(kEndpoints, {});
  report_all(world);
  ModelBalancer picker({});
  std::vector<std::vector<uint64_t>> prompts;
  for (int64_t group = 0; group < state.range(0); ++group) {
    prompts.push_back(prompt(static_cast<uint64_t>(group) + 1, 94));
  }
  for (std::size_t i = 0; i < kEndpoints; ++i) {
    world.report_in_flight(i, static_cast<float>(world.random().below(8)));
  }
  std::vector<std::pair<EndpointLoad*, float>> reading(400);
  uint64_t i = 0;
  for (auto _ : state) {
    auto& hashes = prompts[i++ % prompts.size()];
    constexpr std::size_t kOwnBlocks = 6;
    for (std::size_t own = 0; own < kOwnBlocks; ++own) {
      hashes[hashes.size() - 1 - own] = (i * kOwnBlocks + own) * 0x9E3779B97F4A7C15;
    }
    const PickHints hints{.prefix = hashes, .tokens = 6000};
    EndpointLoad& load =
        picker.pick(world.endpoints(), {world.random(), world.now(), hints}).load();
    auto& [oldest, tokens] = reading[i % reading.size()];
    if (oldest != nullptr) oldest->reads(-tokens);
    load.reads(load.expected);
    oldest = &load;
    tokens = load.expected;
  }
  state.counters["index_bytes"] = static_cast<double>(picker.index().bytes());
}
BENCHMARK(pick_with_prompts)->Arg(150)->Arg(15'000);

void pick_with_session_and_adapter(benchmark::State& state) {
  PickWorld world(kEndpoints, {});
  report_all(world);
  ModelBalancer picker({});
  uint64_t i = 0;
  for (auto _ : state) {
    const std::string session = cat("session-", i++ % 1000);
    const PickHints hints{.adapter = "sql", .session = session};
    benchmark::DoNotOptimize(&picker.pick(world.endpoints(), {world.random(), world.now(), hints}));
  }
}
BENCHMARK(pick_with_session_and_adapter);

// Of 100 endpoints without connections, each with a report.
void state_of_endpoints(benchmark::State& state) {
  std::size_t bytes = 0;
  for (auto _ : state) {
    const std::size_t before = mallinfo2().uordblks;
    PickWorld world(kEndpoints, {});
    report_all(world);
    bytes = mallinfo2().uordblks - before;
  }
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(state_of_endpoints)->Iterations(3);

void read_report(benchmark::State& state) {
  Random random(1);
  const std::string text = write_orca_text(orca_of(report_of(random)));
  for (auto _ : state) benchmark::DoNotOptimize(server_report_of(*read_orca_text(text)));
}
BENCHMARK(read_report);

void write_report(benchmark::State& state) {
  ServerLoad load;
  for (int i = 0; i < 100; ++i) load.answered(4, 10ms);
  for (auto _ : state) benchmark::DoNotOptimize(write_orca_text(orca_of(load.report(TimePoint()))));
}
BENCHMARK(write_report);

void scan_metrics(benchmark::State& state) {
  std::string page;
  while (page.size() < 200'000) {
    page += cat("vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.", page.size(),
                "\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 0.0\n");
    page += "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 3.0\n";
  }
  for (auto _ : state) {
    EngineScanner scanner(Engine::kVllm);
    scanner.feed(page);
    benchmark::DoNotOptimize(scanner.finish().waiting);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * page.size()));
}
BENCHMARK(scan_metrics);

}  // namespace
}  // namespace glia

BENCHMARK_MAIN();
