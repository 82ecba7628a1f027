// Who is picked, with simulated engines behind: time to the first token and prefix hits in virtual time,
// with reports as fresh as they can be. ./dev bench models does the same with real sidecars.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <unordered_set>

#include "proxy/mesh/balancer_test_support.h"
#include "proxy/mesh/hot_cold.h"
#include "proxy/mesh/model_balancer.h"
#include "test/pool/engine.h"

namespace glia {
namespace {

constexpr int kServers = 8;
constexpr uint64_t kTokensPerHash = 64;  // proxy/model/prefix.h

struct Prompt {
  double due = 0;  // seconds
  uint64_t group = 0, shared = 0, unique = 0;
  uint32_t output = 1;
};

struct Seen {
  double mean = 0, p99 = 0;  // Of the time to the first token, seconds.
  double hits = 0;           // To those of an oracle.
};

std::vector<uint64_t> chain_of(const Prompt& prompt, uint64_t number, uint64_t block) {
  std::vector<uint64_t> chain;
  for (uint64_t at = block; at <= prompt.shared + prompt.unique; at += block) {
    const uint64_t owner = at <= prompt.shared ? prompt.group : number + (uint64_t{1} << 32);
    chain.push_back((owner * 1'000'003 + at) * 0x9E3779B97F4A7C15);
  }
  return chain;
}

class Placement {
 public:
  using Pick = std::function<std::size_t(Placement&, const PickHints&)>;
  explicit Placement(Pick pick) : pick_(std::move(pick)), world_(kServers, config()) {
    for (int i = 0; i < kServers; ++i) {
      engines_.push_back(std::make_unique<SimEngine>(EngineConfig()));
      loads_.push_back(std::make_unique<ServerLoad>());
      waiting_.emplace_back();
    }
  }

  Seen run(const std::vector<Prompt>& prompts) {
    std::unordered_set<uint64_t> seen;
    double possible = 0, hits = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const Prompt& prompt = prompts[i];
      if (prompt.shared > 0 && !seen.insert(prompt.group).second) {
        possible += static_cast<double>(prompt.shared / 16 * 16);
      }
      send(prompt, i);
    }
    for (std::size_t server = 0; server < engines_.size(); ++server) {
      while (const auto next = engines_[server]->next()) collect(server, *next);
      hits += static_cast<double>(engines_[server]->prefix_hits());
      EXPECT_EQ(world_.endpoint(server).load().reading(), 0);
    }
    std::ranges::sort(first_);
    Seen result;
    for (const double first : first_) result.mean += first / static_cast<double>(first_.size());
    result.p99 = first_[first_.size() * 99 / 100];
    result.hits = possible > 0 ? hits / possible : 0;
    return result;
  }

  PickWorld& world() { return world_; }
  void slow(std::size_t server, double slowness) { engines_[server]->slowness(slowness, now_); }
  // Those that `balancer` wants to be asked answer from what their sidecars know.
  void answer_probes(Balancer& balancer) {
    for (Endpoint* const asked : balancer.to_probe()) {
      const auto at = std::ranges::find(world_.endpoints(), asked) - world_.endpoints().begin();
      balancer.probed(*asked, loads_[static_cast<std::size_t>(at)]->report(world_.now()),
                      world_.now());
      ++probes_;
    }
  }
  uint64_t probes() const { return probes_; }
  Random& random() { return random_; }
  std::size_t in_flight(std::size_t server) const {
    return engines_[server]->waiting() + engines_[server]->running();
  }
  std::size_t turn() { return turn_++ % kServers; }

 private:
  struct Waiting {
    TimePoint since;
    float tokens;
    uint32_t with;  // ServerLoad::begin()
  };
  static ClusterConfig config() {
    ClusterConfig config;
    config.balancing.policy = Balancing::Policy::kModel;
    return config;
  }

  void send(const Prompt& prompt, std::size_t number) {
    const TimePoint now{Duration(static_cast<int64_t>(prompt.due * 1e9))};
    world_.advance(now - now_);
    now_ = now;
    for (std::size_t server = 0; server < engines_.size(); ++server) {
      collect(server, now);
      ServerReport report;
      report.in_flight = static_cast<float>(in_flight(server));
      report.kv_use = static_cast<float>(engines_[server]->kv_use());
      report.reading = world_.endpoint(server).load().reading();
      world_.report(server, report);
    }
    const auto hashes = chain_of(prompt, number, kTokensPerHash);
    const std::size_t at = pick_(
        *this, {.prefix = hashes, .tokens = static_cast<float>(prompt.shared + prompt.unique)});
    EndpointLoad& load = world_.endpoint(at).load();
    load.reads(load.expected);
    const auto id =
        engines_[at]->add({.chain = chain_of(prompt, number, 16),
                           .prompt_tokens = static_cast<uint32_t>(prompt.shared + prompt.unique),
                           .output_tokens = prompt.output,
                           .tokens_an_event = prompt.output},
                          now);
    waiting_[at].emplace(id, Waiting{now, load.expected, loads_[at]->begin()});
  }

  void collect(std::size_t server, TimePoint until) {
    engines_[server]->advance(until);
    for (const SimEngine::Event& event : engines_[server]->events()) {
      if (event.last) loads_[server]->end();
      const auto found = waiting_[server].find(event.id);
      if (found == waiting_[server].end()) continue;
      first_.push_back(to_seconds(event.at - found->second.since));
      loads_[server]->answered(found->second.with, event.at - found->second.since);
      world_.endpoint(server).load().reads(-found->second.tokens);
      waiting_[server].erase(found);
    }
  }

  Pick pick_;
  PickWorld world_;
  Random random_{5};
  TimePoint now_{};
  std::size_t turn_ = 0;
  uint64_t probes_ = 0;
  std::vector<std::unique_ptr<SimEngine>> engines_;
  std::vector<std::unique_ptr<ServerLoad>> loads_;
  std::vector<std::unordered_map<SimEngine::Id, Waiting>> waiting_;
  std::vector<double> first_;
};

Seen composed(const std::vector<Prompt>& prompts) {
  ModelBalancer balancer({});
  return Placement(
             [&](Placement& t, const PickHints& hints) { return t.world().pick(balancer, hints); })
      .run(prompts);
}

Seen round_robin(const std::vector<Prompt>& prompts) {
  return Placement([](Placement& t, const PickHints&) { return t.turn(); }).run(prompts);
}

// As Envoy's least request: the better of two drawn at random.
Seen least_request(const std::vector<Prompt>& prompts) {
  return Placement([](Placement& t, const PickHints&) {
           const std::size_t a = t.random().below(kServers), b = t.random().below(kServers);
           return t.in_flight(a) <= t.in_flight(b) ? a : b;
         })
      .run(prompts);
}

void arrive(std::vector<Prompt>& prompts, double rate, Random& random) {
  double now = 0;
  for (Prompt& prompt : prompts) {
    prompt.due = now += -std::log(1 - random.unit()) / rate;
  }
}

void say(const char* what, const Seen& seen) {
  std::printf("%-14s mean %.3f s  p99 %.3f s  hits %.3f\n", what, seen.mean, seen.p99, seen.hits);
}

// Issue 6, proof 1: mean TTFT at most 0.1 x round robin, 0.95 of an oracle's hits.
TEST(PlacementTest, KeepsPromptsWithTheSameBeginningTogether) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Random random(seed);
    std::vector<Prompt> prompts;
    for (uint64_t i = 0; i < 750; ++i) {
      prompts.push_back({.group = i / 5 + 1, .shared = 6000, .unique = 1200, .output = 100});
    }
    for (std::size_t i = prompts.size() - 1; i > 0; --i) {
      std::swap(prompts[i], prompts[random.below(i + 1)]);
    }
    arrive(prompts, 30, random);
    const Seen ours = composed(prompts), turns = round_robin(prompts);
    say("composed", ours);
    say("round robin", turns);
    EXPECT_LT(ours.mean, 0.1 * turns.mean);
    EXPECT_GT(ours.hits, 0.95);
  }
}

TEST(PlacementTest, IsNoWorseThanLeastRequestWherePromptsShareNothing) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Random random(seed);
    std::vector<Prompt> prompts(4000, {.unique = 1600, .output = 64});
    arrive(prompts, 0.7 * kServers * 10, random);
    const Seen ours = composed(prompts), theirs = least_request(prompts);
    say("composed", ours);
    say("least request", theirs);
    EXPECT_LT(ours.mean, theirs.mean);
  }
}

double bounded_pareto(Random& random, double shape, double least, double most) {
  return least / std::pow(1 - random.unit() * (1 - std::pow(least / most, shape)), 1 / shape);
}

// Prompts and answers of which few are very long, that use so much of the servers.
std::vector<Prompt> heavy_tails(double use, uint64_t seed) {
  Random random(seed);
  std::vector<Prompt> prompts(4000);
  double sum = 0;
  for (Prompt& prompt : prompts) {
    prompt.unique = static_cast<uint64_t>(bounded_pareto(random, 1.1, 64, 16'000));
    prompt.output = static_cast<uint32_t>(bounded_pareto(random, 1.3, 8, 1'000));
    sum += static_cast<double>(prompt.unique);
  }
  arrive(prompts, use * kServers * 16'000 * 4000 / sum, random);
  return prompts;
}

// Issue 6, proof 2: p99 of TTFT at most 0.6 x least request.
TEST(PlacementTest, KeepsShortPromptsFromBehindLongOnes) {
  for (const double use : {0.7, 0.85, 0.95}) {
    double ours = 0, theirs = 0;
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      const std::vector<Prompt> prompts = heavy_tails(use, seed);
      const Seen composed_seen = composed(prompts), least_seen = least_request(prompts);
      say("composed", composed_seen);
      say("least request", least_seen);
      ours += composed_seen.p99;
      theirs += least_seen.p99;
    }
    std::printf("at %.0f %%: %.2f\n", use * 100, ours / theirs);
    EXPECT_LT(ours, 0.6 * theirs) << "at use " << use;
  }
}

// P2C with the tokens that servers have still to read among its signals, and without: prompts and answers
// with heavy tails.
TEST(PlacementTest, TokensToReadKeepTwoChoicesFromQueuesBehindLongPrompts) {
  const auto seen = [](const std::vector<Prompt>& prompts, bool tokens) {
    LeastLoaded balancer({.picker = ModelBalancing::Picker::kLeastLoadedOfTwo});
    return Placement([&](Placement& t, const PickHints& hints) {
             PickHints told = hints;
             if (!tokens) told.tokens = 0;
             return t.world().pick(balancer, told);
           })
        .run(prompts);
  };
  for (const double use : {0.7, 0.85, 0.95}) {
    double with = 0, without = 0;
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      const std::vector<Prompt> prompts = heavy_tails(use, seed);
      const Seen ours = seen(prompts, true), requests = seen(prompts, false);
      say("P2C, tokens", ours);
      say("P2C", requests);
      with += ours.p99 / 3, without += requests.p99 / 3;
    }
    std::printf("p99 at %.0f %%: %.2f s with tokens, %.2f s without\n", use * 100, with, without);
    EXPECT_LT(with, 0.9 * without) << "at use " << use;
  }
}

// Prequal with its probes: prompts of the same size that share nothing, for servers of which one is four
// times as slow. What is in flight at each server is known to P2C here without any delay, from all callers
// together, which no sidecar knows.
TEST(PlacementTest, ProbesFindTheFastServers) {
  const auto seen = [](const Placement::Pick& pick, double use, uint64_t seed) {
    Random random(seed);
    std::vector<Prompt> prompts(4000, {.unique = 1600, .output = 16});
    arrive(prompts, use * (kServers - 0.75) * 10, random);
    Placement t(pick);
    t.slow(0, 4);
    return t.run(prompts);
  };
  for (const double use : {0.5, 0.7, 0.85}) {
    double probed = 0, two = 0, turns = 0;
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      HotCold balancer({.picker = ModelBalancing::Picker::kHotCold});
      const Seen ours = seen(
          [&](Placement& t, const PickHints& hints) {
            const std::size_t at = t.world().pick(balancer, hints);
            t.answer_probes(balancer);
            return at;
          },
          use, seed);
      const Seen least = seen(
          [](Placement& t, const PickHints&) {
            const std::size_t a = t.random().below(kServers), b = t.random().below(kServers);
            return t.in_flight(a) <= t.in_flight(b) ? a : b;
          },
          use, seed);
      const Seen turn = seen([](Placement& t, const PickHints&) { return t.turn(); }, use, seed);
      say("probed", ours);
      say("P2C", least);
      say("round robin", turn);
      probed += ours.p99 / 3, two += least.p99 / 3, turns += turn.p99 / 3;
    }
    std::printf("p99 at %.0f %%: probed %.2f s, P2C %.2f s, round robin %.2f s\n", use * 100,
                probed, two, turns);
    EXPECT_LT(probed, two) << "at use " << use;
    EXPECT_LT(probed, 0.5 * turns) << "at use " << use;
  }
}

}  // namespace
}  // namespace glia
