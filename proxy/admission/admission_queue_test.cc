#include "proxy/admission/admission_queue.h"

#include <gtest/gtest.h>

#include <list>
#include <string>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using State = AdmissionQueue::State;
using End = AdmissionQueue::End;

class AdmissionQueueTest : public testing::Test {
 protected:
  struct Asked : AdmissionQueue::Ticket {
    std::string name;
  };
  AdmissionQueueTest() {
    config_.concurrency = 1;
    config_.queue = 4;
  }
  AdmissionQueue& queue() {
    if (!queue_) queue_.emplace(config_);
    return *queue_;
  }
  Asked& ask(std::string name, AdmissionAsk ask) {
    Asked& asked = tickets_.emplace_back();
    asked.name = std::move(name);
    queue().ask(asked, ask, now_);
    return asked;
  }
  Asked& ask(std::string tenant, uint64_t cost = 1, int64_t priority = 0) {
    return ask(tenant, {.tenant = tenant, .priority = priority, .cost = cost});
  }
  void end(Asked& asked) { queue().end(asked, End::kDone, now_); }
  // The names of those that were decided meanwhile, in order.
  std::string decided() {
    std::string names;
    while (AdmissionQueue::Ticket* ticket = queue().take_decided()) {
      names +=
          cat(static_cast<Asked*>(ticket)->name, ticket->state() == State::kRefused ? "! " : " ");
    }
    return names;
  }
  // Ends each that is at work until none waits; who came, in order.
  std::string drain(Asked* at_work) {
    std::string names;
    while (at_work != nullptr) {
      now_ += 1s;
      end(*at_work);
      at_work = static_cast<Asked*>(queue().take_decided());
      if (at_work != nullptr) names += cat(at_work->name, " ");
    }
    return names;
  }

  AdmissionConfig config_;
  TimePoint now_ = TimePoint() + 1h;
  std::list<Asked> tickets_;
  std::optional<AdmissionQueue> queue_;
};

TEST_F(AdmissionQueueTest, LetsSoManyInAndTheOthersWait) {
  config_.concurrency = 2;
  Asked& a = ask("a");
  Asked& b = ask("b");
  Asked& c = ask("c");
  EXPECT_EQ(a.state(), State::kAtWork);
  EXPECT_EQ(b.state(), State::kAtWork);
  EXPECT_EQ(c.state(), State::kWaiting);
  EXPECT_EQ(queue().at_work(), 2u);
  EXPECT_EQ(queue().waiting(), 1u);
  now_ += 2s;
  end(a);
  EXPECT_EQ(decided(), "c ");
  EXPECT_EQ(c.state(), State::kAtWork);
  EXPECT_EQ(c.waited(), 2s);
  end(b);
  end(c);
  EXPECT_EQ(queue().at_work(), 0u);
  EXPECT_EQ(queue().cost_at_work(), 0u);
}

TEST_F(AdmissionQueueTest, BeginsNoneWhileThoseAtWorkCostAsMuchAsIsAllowed) {
  config_.concurrency = 10;
  config_.cost_at_once = 100;
  Asked& a = ask("a", 99);
  Asked& b = ask("b", 500);  // One may pass the limit.
  Asked& c = ask("c", 1);
  EXPECT_EQ(b.state(), State::kAtWork);
  EXPECT_EQ(c.state(), State::kWaiting);
  end(a);
  EXPECT_EQ(c.state(), State::kWaiting);
  end(b);
  EXPECT_EQ(decided(), "c ");
}

TEST_F(AdmissionQueueTest, OneThatLeavesIsGoneAtOnce) {
  Asked& a = ask("a");
  Asked& b = ask("b");
  Asked& c = ask("c");
  queue().end(b, End::kAbandoned, now_);
  EXPECT_EQ(queue().waiting(), 1u);
  end(a);
  // Decided, and gone before it was told.
  queue().end(c, End::kAbandoned, now_);
  EXPECT_EQ(decided(), "");
  EXPECT_EQ(queue().at_work(), 0u);
}

TEST_F(AdmissionQueueTest, TenantsTakeTurnsByCost) {
  config_.queue = 100;
  Asked& first = ask("x");
  for (int i = 0; i < 6; ++i) ask(cat("big", i), {.tenant = "big", .cost = 300});
  for (int i = 0; i < 6; ++i) ask(cat("small", i), {.tenant = "small", .cost = 100});
  // Three small ones cost as much as a big one.
  const std::string order = drain(&first);
  EXPECT_LT(order.find("small5"), order.find("big3")) << order;
  EXPECT_LT(order.find("big0"), order.find("small4")) << order;
}

TEST_F(AdmissionQueueTest, UrgentOnesGoFirstButNotAlways) {
  config_.queue = 100;
  Asked& first = ask("x");
  for (int i = 0; i < 3; ++i) ask("p", 1, 1);
  for (int i = 0; i < 3; ++i) ask("n", 1, 0);
  for (int i = 0; i < 16; ++i) ask("u", 1, -5);
  EXPECT_EQ(drain(&first), "u u u u u u u n u u u u u u u n u u n p p p ");
}

TEST_F(AdmissionQueueTest, AFullQueueRefusesWhoHasTheMostWaiting) {
  Asked& first = ask("noisy");
  for (int i = 0; i < 4; ++i) ask("noisy");
  Asked& more = ask("noisy");
  ASSERT_EQ(more.state(), State::kRefused);
  EXPECT_EQ(more.refusal().why, AdmissionWhy::kQueueFull);  // It is alone.
  EXPECT_EQ(more.refusal().waiting, 4u);
  EXPECT_EQ(more.refusal().come_again, 1s);  // Nothing is known yet.
  // Another one gets the place of its youngest.
  Asked& other = ask("other");
  EXPECT_EQ(other.state(), State::kWaiting);
  EXPECT_EQ(decided(), "noisy! ");
  Asked& again = ask("noisy");
  EXPECT_EQ(again.refusal().why, AdmissionWhy::kShare);
  EXPECT_EQ(again.refusal().of_tenant, 3u);
  // Not for as much as the other has itself.
  ask("other");
  EXPECT_EQ(decided(), "noisy! ");
  EXPECT_EQ(ask("other").refusal().why, AdmissionWhy::kQueueFull);
  EXPECT_EQ(queue().waiting(), 4u);
  EXPECT_EQ(drain(&first), "noisy other noisy other ");
}

TEST_F(AdmissionQueueTest, AFullQueueGivesThePlacesOfTheLeastUrgent) {
  ask("a");
  Asked& patient = ask("p", 1, 1);
  for (int i = 0; i < 3; ++i) ask("n");
  Asked& urgent = ask("u", 1, -1);
  EXPECT_EQ(urgent.state(), State::kWaiting);
  EXPECT_EQ(patient.state(), State::kRefused);
  EXPECT_EQ(patient.refusal().why, AdmissionWhy::kUrgent);
  // A patient one finds nobody that is less urgent.
  EXPECT_EQ(ask("p", 1, 1).refusal().why, AdmissionWhy::kQueueFull);
}

TEST_F(AdmissionQueueTest, RefusesAtOnceWhatCannotEndInTime) {
  Asked& a = ask("a", {.tenant = "a", .cost = 10});
  now_ += 10s;
  end(a);  // A unit takes a second.
  Asked& b = ask("b", {.tenant = "b", .cost = 5});
  ask("c", {.tenant = "c", .cost = 3});
  Asked& late = ask("d", {.tenant = "d", .cost = 2, .deadline = now_ + 3900ms});
  ASSERT_EQ(late.state(), State::kRefused);
  EXPECT_EQ(late.refusal().why, AdmissionWhy::kDeadline);
  EXPECT_EQ(late.refusal().wait, 2s);  // As much of c's as its own cost; then its own.
  EXPECT_EQ(late.refusal().work, 2s);
  EXPECT_EQ(late.refusal().left, 3900ms);
  EXPECT_EQ(late.refusal().come_again, 2s);
  EXPECT_EQ(ask("d", {.tenant = "d", .cost = 2, .deadline = now_ + 4s}).state(), State::kWaiting);
  (void)b;
}

TEST_F(AdmissionQueueTest, RefusesWhenItsTurnComesTooLate) {
  Asked& a = ask("a", {.tenant = "a", .cost = 10});
  now_ += 10s;
  end(a);
  Asked& b = ask("b", {.tenant = "b", .cost = 1});
  Asked& c = ask("c", {.tenant = "c", .cost = 2, .deadline = now_ + 4s});
  ask("d");
  now_ += 3s;  // b took longer than it should have.
  end(b);
  EXPECT_EQ(decided(), "c! d ");
  EXPECT_EQ(c.refusal().why, AdmissionWhy::kDeadline);
  EXPECT_EQ(c.refusal().wait, 3s);
  EXPECT_EQ(c.refusal().left, 1s);
}

TEST_F(AdmissionQueueTest, AsksAnIdleApplicationWhateverItLearned) {
  Asked& a = ask("a");
  now_ += 100s;
  end(a);
  EXPECT_EQ(ask("b", {.tenant = "b", .deadline = now_ + 1s}).state(), State::kAtWork);
}

TEST_F(AdmissionQueueTest, RefusesAtOnceWhoWouldWaitTooLong) {
  config_.wait = 5s;
  Asked& a = ask("a", 10);
  now_ += 10s;
  end(a);
  ask("a", 10);
  ask("a", 6);
  const Asked& c = ask("a", 1);
  ASSERT_EQ(c.state(), State::kRefused);
  EXPECT_EQ(c.refusal().why, AdmissionWhy::kWait);
  EXPECT_EQ(c.refusal().wait, 6s);
}

TEST_F(AdmissionQueueTest, RefusesWhoHasWaitedTooLong) {
  ask("a");
  Asked& b = ask("b");
  now_ += 30s;
  queue().wait_over(b, now_);
  EXPECT_EQ(decided(), "b! ");
  EXPECT_EQ(b.refusal().why, AdmissionWhy::kWait);
  EXPECT_EQ(b.refusal().wait, 30s);
  queue().wait_over(b, now_);  // Too late to matter.
  EXPECT_EQ(decided(), "");
}

TEST_F(AdmissionQueueTest, ARaisedLimitLetsThoseInThatWait) {
  ask("a");
  ask("b");
  ask("c");
  config_.concurrency = 3;
  queue().limits(config_);
  queue().go_on(now_);
  EXPECT_EQ(decided(), "b c ");
}

TEST_F(AdmissionQueueTest, AbsurdCostsNeitherOverflowNorShutOthersOut) {
  config_.queue = 100;
  Asked& first = ask("x", ~uint64_t{0});
  EXPECT_EQ(first.cost(), AdmissionQueue::kMostCost);
  for (int i = 0; i < 3; ++i) ask("huge", ~uint64_t{0});
  for (int i = 0; i < 3; ++i) ask("small", 0);
  EXPECT_EQ(drain(&first).substr(0, 12), "small small ");
}

// Whatever happens, the counts are those of the tickets.
TEST_F(AdmissionQueueTest, CountsAreExactAfterAnythingHappened) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    AdmissionConfig config;
    config.concurrency = static_cast<uint32_t>(random.below(4));
    config.queue = 8;
    config.cost_at_once = random.below(2) * 50;
    AdmissionQueue queue(config);
    std::list<AdmissionQueue::Ticket> tickets;
    TimePoint now;
    for (int step = 0; step < 5000; ++step) {
      now += Duration(static_cast<int64_t>(random.below(1'000'000'000)));
      if (random.below(3) != 0 && tickets.size() < 60) {
        AdmissionAsk ask{.tenant = std::string_view("abcdef").substr(random.below(6), 1),
                         .priority = static_cast<int64_t>(random.below(3)) - 1,
                         .cost = random.below(40)};
        if (random.below(2) == 0) ask.deadline = now + 1s * static_cast<int>(random.below(20));
        queue.ask(tickets.emplace_back(), ask, now);
      } else if (!tickets.empty()) {
        auto ticket = tickets.begin();
        std::advance(ticket, random.below(tickets.size()));
        if (random.below(4) == 0) {
          queue.wait_over(*ticket, now);
        } else {
          queue.end(*ticket, random.below(4) == 0 ? End::kAbandoned : End::kDone, now);
          tickets.erase(ticket);
        }
      }
      if (random.below(5) == 0) queue.take_decided();
      uint32_t at_work = 0, waiting = 0;
      uint64_t cost = 0;
      for (const auto& ticket : tickets) {
        at_work += ticket.state() == State::kAtWork;
        waiting += ticket.state() == State::kWaiting;
        cost += ticket.state() == State::kAtWork ? ticket.cost() : 0;
      }
      ASSERT_EQ(queue.at_work(), at_work) << "seed " << seed;
      ASSERT_EQ(queue.waiting(), waiting) << "seed " << seed;
      ASSERT_EQ(queue.cost_at_work(), cost) << "seed " << seed;
      ASSERT_LE(waiting, 8u);
      // Nobody waits for an idle application.
      ASSERT_TRUE(waiting == 0 || at_work > 0) << "seed " << seed;
    }
    for (auto& ticket : tickets) queue.end(ticket, End::kDone, now);
    EXPECT_EQ(queue.at_work() + queue.waiting(), 0u);
  }
}

}  // namespace
}  // namespace glia
