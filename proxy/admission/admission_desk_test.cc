// One queue for the threads of a process: run under ThreadSanitizer, too.
#include "proxy/admission/admission_desk.h"

#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <thread>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"

namespace glia {
namespace {

using Desk = std::shared_ptr<const AdmissionDesk>;

constexpr uint32_t kLimit = 3;
constexpr int kRequests = 3000, kThreads = 3, kAtOnce = 20;

struct Tally {
  std::atomic<int> at_work{0}, most{0}, admitted{0}, refused{0}, left{0};
};

// What is between its construction and its destruction is at work.
class AtWork {
 public:
  explicit AtWork(Tally& tally) : tally_(tally) {
    const int now = ++tally.at_work;
    for (int most = tally.most; now > most && !tally.most.compare_exchange_weak(most, now);) {
    }
    ++tally.admitted;
  }
  AtWork(const AtWork&) = delete;
  ~AtWork() { --tally_.at_work; }

 private:
  Tally& tally_;
};

// Asks, and holds what it gets for some turns of its loop.
Task<void> one(Desk desk, EventLoop& loop, Tally& tally, uint64_t seed, int& running) {
  Random random(seed);
  AdmissionPlace place(desk, loop);
  const std::string tenant = cat("t", random.below(4));
  place.ask({.tenant = tenant,
             .priority = static_cast<int64_t>(random.below(3)) - 1,
             .cost = 1 + random.below(10)},
            random.below(20) == 0 ? Duration(1us) : Duration(10s));
  co_await place.decision();
  if (place.admitted()) {
    {
      const AtWork at_work(tally);
      if (random.below(2) == 0) co_await sleep_for(loop, 0us);  // Until the next turn.
    }
    if (random.below(2) == 0) place.end(AdmissionQueue::End::kDone);
  } else {
    ++tally.refused;
  }
  --running;
}

void work(Desk desk, Tally& tally, uint64_t seed) {
  EventLoop loop(std::make_unique<LibeventBackend>());
  Random random(seed);
  std::list<Task<void>> tasks;
  int running = 0, begun = 0;
  while (begun < kRequests || !tasks.empty()) {
    while (begun < kRequests && running < kAtOnce) {
      ++begun, ++running;
      tasks.push_back(one(desk, loop, tally, random.next(), running));
      tasks.back().start();
    }
    loop.turn(1ms);
    for (auto task = tasks.begin(); task != tasks.end();) {
      // Some clients leave.
      const bool leaves = !task->done() && random.below(200) == 0;
      if (leaves) ++tally.left, --running;
      task = task->done() || leaves ? tasks.erase(task) : std::next(task);
    }
  }
}

TEST(AdmissionDesk, ThreadsShareOneLimit) {
  const auto desk = std::make_shared<const AdmissionDesk>();
  AdmissionConfig config;
  config.concurrency = kLimit;
  config.queue = 50;
  desk->limits(config);
  Tally tally;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { work(desk, tally, static_cast<uint64_t>(i + 1)); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(tally.most, static_cast<int>(kLimit));
  EXPECT_EQ(tally.at_work, 0);
  EXPECT_GT(tally.admitted, 0);
  EXPECT_GT(tally.refused, 0);
  const AdmissionDesk::Figures figures = desk->figures();
  EXPECT_EQ(figures.at_work, 0u);
  EXPECT_EQ(figures.cost_at_work, 0u);
  EXPECT_EQ(figures.waiting[0] + figures.waiting[1] + figures.waiting[2], 0u);
}

TEST(AdmissionDesk, OneFilterTellsWhatIsCountedAndItsSuccessorAfterIt) {
  const Teller teller;
  int first, second, third;
  EXPECT_TRUE(teller.tells(&first));
  EXPECT_FALSE(teller.tells(&second));
  teller.replace(&second, &third);
  EXPECT_TRUE(teller.tells(&first));
  teller.replace(&first, &third);
  teller.leave(&first);
  EXPECT_TRUE(teller.tells(&third));
  teller.leave(&third);
  EXPECT_TRUE(teller.tells(&second));
}

}  // namespace
}  // namespace glia
