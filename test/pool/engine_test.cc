// The simulated engine against queueing theory, in its own time and from seeds, and its prefix cache.
#include "test/pool/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "proxy/base/random.h"

namespace glia {
namespace {

Duration seconds(double value) { return Duration(static_cast<int64_t>(value * 1e9)); }

// One class of requests at moments of a Poisson process.
struct Load {
  double rate;  // a second
  uint32_t prompt_tokens = 1;
  double mean_output = 1;  // Exponential above 1.
  int requests = 200'000;
};

struct Outcome {
  double wait;     // Seconds in the queue, mean.
  double sojourn;  // Seconds until the last token, mean.
};

Outcome run(const EngineConfig& config, const Load& load) {
  SimEngine engine(config);
  Random random(7);
  TimePoint now{};
  std::unordered_map<SimEngine::Id, TimePoint> arrived;
  double sojourn = 0;
  const auto count = [&] {
    for (const SimEngine::Event& event : engine.events()) {
      if (event.last) sojourn += to_seconds(event.at - arrived.at(event.id));
    }
  };
  for (int i = 0; i < load.requests; ++i) {
    now += seconds(-std::log(1 - random.unit()) / load.rate);
    SimEngine::Ask ask;
    ask.prompt_tokens = load.prompt_tokens;
    if (load.mean_output > 1) {
      ask.output_tokens =
          1 + static_cast<uint32_t>(-std::log(1 - random.unit()) * load.mean_output);
      ask.tokens_an_event = ask.output_tokens;
    }
    arrived.emplace(engine.add(std::move(ask), now), now);
    count();
  }
  while (const auto next = engine.next()) {
    engine.advance(*next);
    count();
  }
  EXPECT_EQ(engine.ended(), static_cast<uint64_t>(load.requests));
  EXPECT_EQ(engine.kv_use(), 0);
  return {to_seconds(engine.waited()) / load.requests, sojourn / load.requests};
}

void expect_near(double measured, double theory, double tolerance, const char* what) {
  std::printf("%s: %.4f s, theory %.4f s\n", what, measured, theory);
  EXPECT_NEAR(measured, theory, tolerance * theory) << what;
}

// Pollaczek-Khinchine with constant service: rho / (2 mu (1 - rho)).
TEST(EngineTest, PromptsOfOneSizeWaitAsInMD1) {
  EngineConfig config;
  config.slots = 100'000;
  for (const double rho : {0.5, 0.8, 0.9}) {
    const double service = 1600 / config.prefill_rate;
    const Outcome seen = run(config, {.rate = rho / service, .prompt_tokens = 1600});
    expect_near(seen.wait, rho * service / (2 * (1 - rho)), 0.05, "M/D/1");
    EXPECT_NEAR(seen.sojourn, seen.wait + service, 1e-6);
  }
}

// Erlang's C: the share that waits, and how long.
double erlang_wait(double servers, double rho, double service) {
  const double offered = servers * rho;
  double term = 1, sum = 0;  // offered^n / n!
  for (int n = 0; n < static_cast<int>(servers); ++n) {
    sum += term;
    term *= offered / (n + 1);
  }
  const double waits = term / (1 - rho) / (sum + term / (1 - rho));
  return waits * service / (servers * (1 - rho));
}

TEST(EngineTest, SlotsAreTheServersOfMMc) {
  EngineConfig config;
  config.slots = 4;
  config.prefill_rate = 1e12;
  config.decode_each = 1000;
  config.decode_all = 1e9;
  config.blocks = 10'000;
  for (const double rho : {0.6, 0.85}) {
    const Outcome seen = run(config, {.rate = 4 * rho, .mean_output = 1000});
    expect_near(seen.wait, erlang_wait(4, rho, 1), 0.06, "M/M/4");
  }
}

// M/M/1 with processor sharing: service / (1 - rho), however long the queue.
TEST(EngineTest, AnswersShareTheDecodeRateFairly) {
  EngineConfig config;
  config.slots = 100'000;
  config.prefill_rate = 1e12;
  config.decode_each = 1e9;
  config.decode_all = 1000;
  config.blocks = 200'000;
  const Outcome seen = run(config, {.rate = 0.8, .mean_output = 1000});
  expect_near(seen.sojourn, 1 / (1 - 0.8), 0.06, "M/M/1-PS");
}

SimEngine::Ask prompt(std::vector<uint64_t> chain, uint32_t tokens, uint32_t output = 1) {
  return {.chain = std::move(chain), .prompt_tokens = tokens, .output_tokens = output};
}

int64_t ms_to_next(const SimEngine& engine, TimePoint now) {
  return std::llround(to_seconds(*engine.next() - now) * 1e3);
}

TEST(EngineTest, ReadsOnlyWhatThePrefixCacheDoesNotKnow) {
  SimEngine engine({.prefill_rate = 1000});
  TimePoint now{};
  engine.add(prompt({1, 2, 3}, 50), now);
  EXPECT_EQ(ms_to_next(engine, now), 50);
  engine.advance(now += 1s);
  engine.add(prompt({1, 2, 4}, 50), now);  // 32 of its tokens are known.
  EXPECT_EQ(ms_to_next(engine, now), 18);
  engine.advance(now += 1s);
  engine.add(prompt({1, 2, 3}, 48), now);  // All are, but one has to be read.
  EXPECT_EQ(ms_to_next(engine, now), 1);
  engine.advance(now += 1s);
  EXPECT_EQ(engine.prefix_queries(), 148u);
  EXPECT_EQ(engine.prefix_hits(), 79u);
}

TEST(EngineTest, ForgetsThePrefixThatWasUsedLongestAgo) {
  SimEngine engine({.blocks = 6});
  TimePoint now{};
  const auto ask = [&](std::vector<uint64_t> chain) {
    const uint64_t before = engine.prefix_hits();
    engine.add(prompt(std::move(chain), 33), now);  // Three blocks, one of them not whole.
    engine.advance(now += 1s);
    return engine.prefix_hits() - before;
  };
  EXPECT_EQ(ask({1, 2}), 0u);
  EXPECT_EQ(ask({3, 4}), 0u);
  EXPECT_EQ(ask({1, 2}), 32u);
  EXPECT_EQ(ask({5, 6}), 0u);  // Takes the place of 3 and 4.
  EXPECT_EQ(ask({1, 2}), 32u);
  EXPECT_EQ(ask({3, 4}), 0u);
}

TEST(EngineTest, WaitsForBlocksAndTellsHowManyAreUsed) {
  SimEngine engine({.prefill_rate = 1000, .decode_each = 100, .blocks = 10});
  const TimePoint now{};
  engine.add(prompt({}, 80, 16), now);  // 6 blocks
  engine.add(prompt({}, 80), now);
  EXPECT_EQ(engine.running(), 1u);
  EXPECT_EQ(engine.waiting(), 1u);
  EXPECT_NEAR(engine.kv_use(), 0.6, 1e-9);
  engine.advance(now + 200ms);  // The first writes, the second has no blocks.
  EXPECT_EQ(engine.waiting(), 1u);
  engine.advance(now + 10s);
  EXPECT_EQ(engine.ended(), 2u);
  EXPECT_EQ(engine.kv_use(), 0);
  EXPECT_FALSE(engine.fits(150, 11));
}

TEST(EngineTest, WhoLeavesMakesRoom) {
  SimEngine engine({.slots = 1, .prefill_rate = 1000, .decode_each = 10});
  const TimePoint now{};
  const auto first = engine.add(prompt({}, 100, 1000), now);
  const auto second = engine.add(prompt({}, 100, 1), now);
  engine.add(prompt({}, 100, 1), now);
  engine.advance(now + 1s);
  EXPECT_EQ(engine.waiting(), 2u);
  engine.remove(second, now + 1s);
  EXPECT_EQ(engine.waiting(), 1u);
  engine.remove(first, now + 2s);
  EXPECT_EQ(engine.waiting(), 0u);
  engine.advance(now + 3s);
  EXPECT_EQ(engine.ended(), 1u);
  EXPECT_EQ(engine.running(), 0u);
}

TEST(EngineTest, ASlowEngineTakesItsTimeFromThatMomentOn) {
  SimEngine engine({.prefill_rate = 1000, .decode_each = 100});
  const TimePoint now{};
  engine.add(prompt({}, 100, 2), now);
  engine.slowness(4, now + 50ms);
  EXPECT_EQ(ms_to_next(engine, now), 250);
  engine.advance(now + 250ms);
  EXPECT_EQ(ms_to_next(engine, now), 290);
}

}  // namespace
}  // namespace glia
