#include "proxy/net/loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/base/task.h"
#include "proxy/net/libevent_backend.h"
#include "test/sim/virtual_time.h"

namespace glia {
namespace {

std::unique_ptr<EventLoop> real_loop() {
  return std::make_unique<EventLoop>(std::make_unique<LibeventBackend>());
}

// A loop in virtual time: every turn waits until the next timer is due, at no cost.
struct VirtualLoop {
  VirtualTime* time = new VirtualTime();
  EventLoop loop{std::unique_ptr<LoopBackend>(time)};
  void turn() { loop.turn(1h); }
};

TEST(Timer, FiresInTheOrderOfTheirMomentsAndOfTheirStart) {
  VirtualLoop t;
  std::string fired;
  CallbackTimer a(t.loop, [&] { fired += 'a'; });
  CallbackTimer b(t.loop, [&] { fired += 'b'; });
  CallbackTimer c(t.loop, [&] { fired += 'c'; });
  CallbackTimer d(t.loop, [&] { fired += 'd'; });
  d.start(30ms);
  c.start(20ms);
  b.start(10ms);
  a.start(20ms);
  while (d.running()) t.turn();
  EXPECT_EQ(fired, "bcad");
}

TEST(EventLoop, SharesTheFullReadsOfATurnAmongAsManyAsThereWereInTheLast) {
  VirtualLoop t;
  EXPECT_EQ(t.loop.full_reads(), EventLoop::kFullReadsPerTurn);
  t.loop.turn(Duration(0));
  EXPECT_EQ(t.loop.full_reads(), EventLoop::kFullReadsPerTurn);
  EXPECT_EQ(t.loop.full_reads(), EventLoop::kFullReadsPerTurn);
  t.loop.turn(Duration(0));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(t.loop.full_reads(), EventLoop::kFullReadsPerTurn / 2);
  t.loop.turn(Duration(0));
  EXPECT_EQ(t.loop.full_reads(), 1);
  t.loop.turn(Duration(0));
  EXPECT_EQ(t.loop.full_reads(), EventLoop::kFullReadsPerTurn);
}

TEST(Timer, AThousandRandomTimersFireInOrder) {
  VirtualLoop t;
  Random random(7);
  std::vector<TimePoint> fired;
  std::vector<std::unique_ptr<CallbackTimer>> timers;
  for (int i = 0; i < 1000; ++i) {
    timers.push_back(
        std::make_unique<CallbackTimer>(t.loop, [&] { fired.push_back(t.loop.now()); }));
    timers.back()->start(Duration(1 + random.below(1'000'000)));
  }
  for (int i = 0; i < 1000; i += 3) timers[i]->stop();
  for (int i = 1; i < 1000; i += 3) timers[i]->start(Duration(1 + random.below(1'000'000)));
  for (int i = 0; i < 1000; i += 9) timers[i].reset();
  for (int turns = 0; turns < 2000; ++turns) t.loop.turn(1ms);
  EXPECT_EQ(fired.size(), 666u);
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
}

TEST(Timer, RestartingMovesTheMoment) {
  VirtualLoop t;
  int fired = 0;
  CallbackTimer timer(t.loop, [&] { ++fired; });
  const TimePoint began = t.loop.now();
  timer.start(10ms);
  timer.start(50ms);
  t.turn();
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(t.loop.now() - began, 50ms);
}

TEST(Timer, OneThatIsStoppedByAnotherOfTheSameMomentDoesNotFire) {
  VirtualLoop t;
  int fired = 0;
  CallbackTimer second(t.loop, [&] { ++fired; });
  CallbackTimer first(t.loop, [&] { second.stop(); });
  first.start(10ms);
  second.start(10ms);
  t.turn();
  t.turn();
  EXPECT_EQ(fired, 0);
}

TEST(Timer, ThatRestartsItselfWithoutDelayFiresOncePerTurn) {
  VirtualLoop t;
  int fired = 0;
  CallbackTimer* self = nullptr;
  CallbackTimer timer(t.loop, [&] {
    ++fired;
    self->start(Duration(0));
  });
  self = &timer;
  timer.start(Duration(0));
  t.turn();
  EXPECT_EQ(fired, 1);
  t.turn();
  EXPECT_EQ(fired, 2);
}

TEST(Timer, MayBeDestroyedWhileItRuns) {
  VirtualLoop t;
  auto timer = std::make_unique<CallbackTimer>(t.loop, [] { FAIL(); });
  timer->start(1ms);
  timer.reset();
  t.loop.turn(10ms);
}

Task<void> sleep_three_times(EventLoop& loop, int& slept) {
  for (int i = 0; i < 3; ++i) {
    co_await sleep_for(loop, 10ms);
    ++slept;
  }
}

TEST(SleepFor, ResumesTheTaskAndIsCancelledWithIt) {
  VirtualLoop t;
  int slept = 0;
  Task<void> task = sleep_three_times(t.loop, slept);
  task.start();
  t.turn();
  EXPECT_EQ(slept, 1);
  task.cancel();
  t.turn();
  EXPECT_EQ(slept, 1);
}

// A connection that writes down when it produces and flushes.
struct Recorder : Flushable {
  Recorder(std::string& log, char name) : log(log), name(name) {}
  void produce() override {
    log += {'p', name, ' '};
    if (loop_to_mark != nullptr) std::exchange(loop_to_mark, nullptr)->mark(*to_mark);
  }
  void flush() override { log += {'f', name, ' '}; }
  std::string& log;
  char name;
  EventLoop* loop_to_mark = nullptr;
  Recorder* to_mark = nullptr;
};

TEST(Flush, EveryConnectionProducesBeforeAnyWrites) {
  VirtualLoop t;
  std::string log;
  Recorder a(log, 'a'), b(log, 'b');
  t.loop.mark(a);
  t.loop.mark(b);
  t.loop.mark(a);
  t.turn();
  EXPECT_EQ(log, "pa pb fa fb ");
}

TEST(Flush, MarkingWhileProducingIsServedInTheSameTurn) {
  VirtualLoop t;
  std::string log;
  Recorder a(log, 'a'), b(log, 'b');
  a.loop_to_mark = &t.loop;
  a.to_mark = &b;
  t.loop.mark(a);
  t.turn();
  EXPECT_EQ(log, "pa fa pb fb ");
}

TEST(Flush, AConnectionThatMarksItselfForEverLeavesTimeForTimers) {
  struct Greedy : Flushable {
    explicit Greedy(EventLoop& loop) : loop(loop) {}
    void produce() override {
      ++produced;
      loop.mark(*this);
    }
    void flush() override {}
    EventLoop& loop;
    int produced = 0;
  };
  VirtualLoop t;
  Greedy greedy(t.loop);
  t.loop.mark(greedy);
  t.turn();
  EXPECT_EQ(greedy.produced, EventLoop::kRoundsPerTurn);
  const TimePoint before = t.loop.now();
  t.turn();  // Does not sleep, because there is work left.
  EXPECT_EQ(t.loop.now(), before);
  EXPECT_EQ(greedy.produced, 2 * EventLoop::kRoundsPerTurn);
}

TEST(Flush, OneThatIsDestroyedWhileMarkedIsForgotten) {
  VirtualLoop t;
  std::string log;
  Recorder a(log, 'a');
  auto b = std::make_unique<Recorder>(log, 'b');
  t.loop.mark(a);
  t.loop.mark(*b);
  b.reset();
  t.turn();
  EXPECT_EQ(log, "pa fa ");
}

TEST(Reap, DestroysAtTheEndOfTheTurnAndAlsoWhatThatReaps) {
  struct Doomed : Reapable {
    Doomed(EventLoop& loop, std::string& log, int depth) : loop(loop), log(log), depth(depth) {}
    ~Doomed() override {
      log += static_cast<char>('0' + depth);
      if (depth > 0) loop.reap(std::make_unique<Doomed>(loop, log, depth - 1));
    }
    EventLoop& loop;
    std::string& log;
    int depth;
  };
  VirtualLoop t;
  std::string log;
  t.loop.post([&] {
    t.loop.reap(std::make_unique<Doomed>(t.loop, log, 2));
    log += "posted ";
  });
  t.turn();
  EXPECT_EQ(log, "posted 210");
}

TEST(ReadBlock, IsGivenOutAgainUnlessASliceLooksAtIt) {
  VirtualLoop t;
  Block& first = t.loop.read_block(16 * 1024);
  EXPECT_GE(first.capacity(), 16u * 1024);
  EXPECT_EQ(&t.loop.read_block(16 * 1024), &first);
  const Slice held(&first, first.data(), 10);
  EXPECT_NE(&t.loop.read_block(16 * 1024), &first);
  EXPECT_NE(&t.loop.read_block(64 * 1024), &first);
}

TEST(ReadBlock, OneThatIsHeldSurvivesTheLoopsInterest) {
  VirtualLoop t;
  std::vector<Slice> held;
  for (int i = 0; i < 20; ++i) {
    Block& block = t.loop.read_block(4096);
    block.data()[0] = static_cast<char>('a' + i);
    held.emplace_back(&block, block.data(), 1);
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(held[i].view()[0], 'a' + i);
}

TEST(EventLoop, PostedWorkRunsInOrderAndMayPostMore) {
  const auto loop = real_loop();
  std::string log;
  loop->post([&] {
    log += 'a';
    loop->post([&] {
      log += 'c';
      loop->stop();
    });
  });
  loop->post([&] { log += 'b'; });
  loop->run();
  EXPECT_EQ(log, "abc");
}

TEST(EventLoop, StopBeforeRunMakesRunReturnAtOnce) {
  const auto loop = real_loop();
  loop->stop();
  loop->run();
}

TEST(EventLoop, WaitsForATimerInRealTime) {
  const auto loop = real_loop();
  CallbackTimer timer(*loop, [&] { loop->stop(); });
  timer.start(3ms);
  const TimePoint before = loop->clock().now();
  loop->run();
  EXPECT_GE(loop->clock().now() - before, 3ms);
}

// The hand-over between threads; worth most under ThreadSanitizer.
TEST(EventLoop, TakesPostsOfManyThreadsEachInItsOrder) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  const auto loop = real_loop();
  std::vector<int> last(kThreads, -1);
  int left = kThreads * kPosts;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        loop->post([&, t, i] {
          EXPECT_EQ(last[t], i - 1);
          last[t] = i;
          if (--left == 0) loop->stop();
        });
      }
    });
  }
  loop->run();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(left, 0);
}

TEST(EventLoop, StopFromAnotherThreadEndsAWaitWithoutLimit) {
  for (int i = 0; i < 200; ++i) {
    const auto loop = real_loop();
    std::thread other([&] { loop->stop(); });
    loop->run();
    other.join();
  }
}

}  // namespace
}  // namespace glia
