#include "proxy/base/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "proxy/base/waiter.h"

namespace glia {
namespace {

Task<int> one() { co_return 1; }

Task<long> sum_of(int count) {
  long sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await one();
  co_return sum;
}

// The day-one test: with textbook symmetric transfer this overflows the stack under g++ below -O2
// and under AddressSanitizer.
TEST(Task, AMillionAwaitsThatFinishAtOnceUseNoStack) {
  Task<long> task = sum_of(1'000'000);
  task.start();
  ASSERT_TRUE(task.done());
  EXPECT_EQ(task.take(), 1'000'000);
}

Task<int> after(WaitSlot& slot, int value) {
  co_await wait_in(slot);
  co_return value;
}

Task<void> add_after(WaitSlot& slot, int count, int& sum) {
  for (int i = 0; i < count; ++i) sum += co_await after(slot, 1);
}

TEST(Task, AMillionAwaitsThatSleepUseNoStack) {
  WaitSlot slot;
  ReadyQueue ready;
  int sum = 0;
  Task<void> task = add_after(slot, 1'000'000, sum);
  task.start();
  while (!task.done()) {
    slot.wake(ready);
    ready.run();
  }
  EXPECT_EQ(sum, 1'000'000);
}

TEST(Task, DoesNothingBeforeItIsStarted) {
  bool ran = false;
  auto work = [](bool& flag) -> Task<void> {
    flag = true;
    co_return;
  };
  Task<void> task = work(ran);
  EXPECT_FALSE(ran);
  task.start();
  EXPECT_TRUE(ran);
}

struct CountsDown {
  explicit CountsDown(int& alive) : alive_(alive) { ++alive_; }
  ~CountsDown() { --alive_; }
  int& alive_;
};

Task<int> holds(WaitSlot& slot, int& alive) {
  CountsDown inner(alive);
  co_return co_await after(slot, 1);
}

Task<int> holds_deeper(WaitSlot& slot, int& alive) {
  CountsDown outer(alive);
  co_return co_await holds(slot, alive);
}

TEST(Task, DestroyingASleepingTaskDestroysAllItsFramesAndLeavesTheSlotEmpty) {
  WaitSlot slot;
  ReadyQueue ready;
  int alive = 0;
  {
    Task<int> task = holds_deeper(slot, alive);
    task.start();
    EXPECT_EQ(alive, 2);
    EXPECT_TRUE(slot.waiting());
  }
  EXPECT_EQ(alive, 0);
  EXPECT_FALSE(slot.waiting());
  slot.wake(ready);
  EXPECT_TRUE(ready.empty());
}

TEST(Task, DestroyingATaskThatIsReadyToRunTakesItOutOfTheQueue) {
  WaitSlot slot;
  ReadyQueue ready;
  int alive = 0;
  Task<int> task = holds_deeper(slot, alive);
  task.start();
  slot.wake(ready);
  EXPECT_FALSE(ready.empty());
  task.cancel();
  EXPECT_TRUE(ready.empty());
  EXPECT_EQ(alive, 0);
}

TEST(Task, CarriesValuesThatOnlyMove) {
  auto make = []() -> Task<std::unique_ptr<std::string>> {
    co_return std::make_unique<std::string>("value");
  };
  Task<std::unique_ptr<std::string>> task = make();
  task.start();
  EXPECT_EQ(*task.take(), "value");
}

}  // namespace
}  // namespace glia
