// More requests with deadlines than simulated engines can answer, behind admission queues with learned
// limits, in virtual time: what becomes of the urgent ones. ./dev bench models does the same with real
// sidecars (overload-120, overload-174).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "proxy/admission/admission_queue.h"
#include "proxy/base/random.h"
#include "test/pool/engine.h"

namespace glia {
namespace {

constexpr std::size_t kServers = 8;
constexpr uint32_t kPrompt = 1600, kOutput = 64;  // tokens; 10 prompts a second and server
constexpr double kCapacity = 10 * kServers;       // requests a second
constexpr Duration kPatience = 2s;
constexpr double kUrgent = 0.2;

struct Outcome {
  double asked = 0, refused = 0, late = 0, in_time = 0;
  std::vector<double> took;  // seconds
  double p99() {
    std::ranges::sort(took);
    return took[took.size() * 99 / 100];
  }
};

class Overload {
 public:
  // Each request goes where the fewest are.
  void run(double use, std::size_t requests, uint64_t seed) {
    Random random(seed);
    for (std::size_t i = 0; i < requests; ++i) {
      const double gap = -std::log(1 - random.unit()) / (use * kCapacity);
      seconds_ += gap;
      now_ += Duration(static_cast<int64_t>(gap * 1e9));
      for (Server& server : servers_) collect(server);
      Server* best = &servers_[random.below(kServers)];
      for (Server& server : servers_) {
        if (server.works.size() < best->works.size()) best = &server;
      }
      ask(*best, random.unit() < kUrgent);
    }
  }
  Outcome& urgent() { return outcomes_[1]; }
  Outcome& others() { return outcomes_[0]; }
  // Of what the servers could have done.
  double goodput() const {
    return (outcomes_[0].in_time + outcomes_[1].in_time) / (kCapacity * seconds_);
  }

 private:
  struct Work : AdmissionQueue::Ticket {
    bool urgent = false;
    TimePoint asked;
    std::list<Work>::iterator place;
  };
  struct Server {
    SimEngine engine{EngineConfig()};
    AdmissionQueue queue{AdmissionConfig()};
    std::list<Work> works;
    std::unordered_map<SimEngine::Id, Work*> running;
  };

  void ask(Server& server, bool urgent) {
    Work& work = server.works.emplace_back();
    work.place = std::prev(server.works.end());
    work.urgent = urgent;
    work.asked = now_;
    ++outcomes_[urgent].asked;
    server.queue.ask(work,
                     {.tenant = "a",
                      .priority = urgent ? -1 : 0,
                      .cost = kPrompt + kOutput,
                      .deadline = now_ + kPatience},
                     now_);
    follow(server, work, now_);
    take_decided(server, now_);
  }
  void follow(Server& server, Work& work, TimePoint now) {
    if (work.state() == AdmissionQueue::State::kAtWork) {
      const auto id = server.engine.add({.chain = {},
                                         .prompt_tokens = kPrompt,
                                         .output_tokens = kOutput,
                                         .tokens_an_event = kOutput},
                                        now);
      server.running.emplace(id, &work);
    }
    if (work.state() != AdmissionQueue::State::kRefused) return;
    ++outcomes_[work.urgent].refused;
    server.queue.end(work, AdmissionQueue::End::kDone, now);
    server.works.erase(work.place);
  }
  void take_decided(Server& server, TimePoint now) {
    while (auto* const ticket = server.queue.take_decided()) {
      follow(server, *static_cast<Work*>(ticket), now);
    }
  }
  void collect(Server& server) {
    for (auto next = server.engine.next(); next && *next <= now_; next = server.engine.next()) {
      server.engine.advance(*next);
      for (const SimEngine::Event& event : server.engine.events()) {
        if (event.last) finish(server, event);
      }
    }
    server.engine.advance(now_);
  }
  void finish(Server& server, const SimEngine::Event& event) {
    const auto found = server.running.find(event.id);
    Work& work = *found->second;
    server.running.erase(found);
    Outcome& outcome = outcomes_[work.urgent];
    outcome.took.push_back(to_seconds(event.at - work.asked));
    ++(event.at - work.asked <= kPatience ? outcome.in_time : outcome.late);
    server.queue.end(work, AdmissionQueue::End::kDone, event.at);
    server.works.erase(work.place);
    take_decided(server, event.at);
  }

  TimePoint now_ = TimePoint() + 1h;
  double seconds_ = 0;
  std::array<Server, kServers> servers_;
  std::array<Outcome, 2> outcomes_;
};

class UrgentUnderOverload : public testing::TestWithParam<double> {};

// Issue 6, proof 4: 99 of 100 urgent ones are answered in time, whatever becomes of the others.
TEST_P(UrgentUnderOverload, AreAnsweredInTime) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Overload calm, crowd;
    calm.run(0.6, 20'000, seed);
    crowd.run(GetParam(), 40'000, seed);
    Outcome &urgent = crowd.urgent(), &others = crowd.others();
    std::printf(
        "load %.2f: urgent p99 %.2f s (calm %.2f), refused %.2f %%, late %.2f %%; others "
        "refused %.1f %%, late %.2f %%; goodput %.3f\n",
        GetParam(), urgent.p99(), calm.urgent().p99(), 100 * urgent.refused / urgent.asked,
        100 * urgent.late / urgent.asked, 100 * others.refused / others.asked,
        100 * others.late / others.asked, crowd.goodput());
    EXPECT_LT(urgent.refused + urgent.late, 0.005 * urgent.asked);
    EXPECT_LT(urgent.p99(), to_seconds(kPatience));
    EXPECT_GT(others.refused, 0.8 * (1 - 1 / GetParam()) * others.asked);
    EXPECT_LT(others.late, 0.01 * others.asked);
    EXPECT_GT(crowd.goodput(), 0.95);
  }
}

INSTANTIATE_TEST_SUITE_P(Loads, UrgentUnderOverload, testing::Values(1.2, 1.74));

}  // namespace
}  // namespace glia
