// An overloaded model server behind an AdmissionQueue, in virtual time and from a seed: what tenants,
// urgent requests and the server itself have of it, beside the same server without.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <list>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "proxy/admission/admission_queue.h"
#include "proxy/base/random.h"

namespace glia {
namespace {

constexpr int kSlots = 16;
constexpr double kMeanSeconds = 1;  // Of work.
constexpr double kTokensASecond = 100;
constexpr Duration kPatience = 6s;  // In which an answer is worth something.

Duration seconds(double number) { return Duration(static_cast<int64_t>(number * 1e9)); }

struct Stream {
  std::string tenant;
  double rate;  // requests a second
  int64_t priority = 0;
};

struct Outcome {
  std::vector<double> took;  // seconds, of answers; in order of the streams that asked
  uint64_t asked = 0, refused = 0, in_time = 0;
  double work_in_time = 0;  // seconds of work
  double p99() const {
    std::vector<double> sorted = took;
    std::ranges::sort(sorted);
    return sorted.empty() ? 0 : sorted[sorted.size() * 99 / 100];
  }
};

// How long work takes, and what is known of it ahead.
enum class Lengths {
  kEven,   // From 0.2 to 1.8 times the mean; at most twice as much is asked for.
  kHeavy,  // Lognormal with a spread of 1, and nothing is known: each request costs the same.
};

// A server with kSlots that works on requests one by one in each; more than those wait inside of it,
// first come, first served, as in vLLM.
class Simulation {
 public:
  // Without a queue: everything goes to the server at once.
  Simulation(std::optional<AdmissionConfig> config, uint64_t seed, Lengths lengths = Lengths::kEven)
      : random_(seed), lengths_(lengths) {
    if (config) queue_.emplace(*config);
  }

  std::vector<Outcome> run(const std::vector<Stream>& streams, double length) {
    outcomes_.assign(streams.size(), {});
    for (std::size_t i = 0; i < streams.size(); ++i) arrive_later(i, streams[i].rate);
    const TimePoint end = now_ + seconds(length);
    while (!events_.empty() && events_.top().at < end) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      if (event.request != nullptr) {
        finish(*event.request);
      } else {
        arrive(event.stream, streams[event.stream]);
        arrive_later(event.stream, streams[event.stream].rate);
      }
      if (queue_) take_decided();
    }
    return outcomes_;
  }

 private:
  struct Work : AdmissionQueue::Ticket {
    std::size_t stream;
    TimePoint asked;
    double seconds;
    std::list<Work>::iterator place;
  };
  struct Event {
    TimePoint at;
    uint64_t order;
    std::size_t stream;
    Work* request;
    bool operator<(const Event& other) const {
      return std::tie(at, order) > std::tie(other.at, other.order);
    }
  };

  double exponential(double mean) { return -mean * std::log(1 - random_.unit()); }
  void arrive_later(std::size_t stream, double rate) {
    events_.push({now_ + seconds(exponential(1 / rate)), ++order_, stream, nullptr});
  }
  void arrive(std::size_t stream, const Stream& from) {
    Work& work = works_.emplace_back();
    work.place = std::prev(works_.end());
    work.stream = stream;
    work.asked = now_;
    work.seconds = kMeanSeconds * length();
    ++outcomes_[stream].asked;
    if (!queue_) return start(work);
    const double tokens = lengths_ == Lengths::kHeavy
                              ? kTokensASecond
                              : work.seconds * kTokensASecond * (1 + random_.unit());
    queue_->ask(work,
                {.tenant = from.tenant,
                 .priority = from.priority,
                 .cost = static_cast<uint64_t>(tokens),
                 .deadline = now_ + kPatience},
                now_);
    follow(work);
  }
  double length() {
    if (lengths_ == Lengths::kEven) return 0.2 + 1.6 * random_.unit();
    const double normal =
        std::sqrt(-2 * std::log(1 - random_.unit())) * std::cos(2 * M_PI * random_.unit());
    return std::exp(normal - 0.5);
  }
  void take_decided() {
    while (auto* ticket = queue_->take_decided()) follow(*static_cast<Work*>(ticket));
  }
  void follow(Work& work) {
    if (work.state() == AdmissionQueue::State::kAtWork) start(work);
    if (work.state() == AdmissionQueue::State::kRefused) {
      ++outcomes_[work.stream].refused;
      queue_->end(work, AdmissionQueue::End::kDone, now_);
      works_.erase(work.place);
    }
  }
  void start(Work& work) {
    if (busy_ == kSlots) return inside_.push_back(&work);
    ++busy_;
    events_.push({now_ + seconds(work.seconds), ++order_, 0, &work});
  }
  void finish(Work& work) {
    --busy_;
    Outcome& outcome = outcomes_[work.stream];
    outcome.took.push_back(to_seconds(now_ - work.asked));
    if (now_ - work.asked <= kPatience) {
      ++outcome.in_time;
      outcome.work_in_time += work.seconds;
    }
    if (!inside_.empty()) {
      Work& next = *inside_.front();
      inside_.pop_front();
      start(next);
    }
    if (queue_) queue_->end(work, AdmissionQueue::End::kDone, now_);
    works_.erase(work.place);
  }

  Random random_;
  const Lengths lengths_;
  std::optional<AdmissionQueue> queue_;
  TimePoint now_ = TimePoint() + 1h;
  uint64_t order_ = 0;
  std::list<Work> works_;
  std::priority_queue<Event> events_;
  std::deque<Work*> inside_;
  int busy_ = 0;
  std::vector<Outcome> outcomes_;
};

AdmissionConfig usual(uint32_t concurrency = kSlots) {
  AdmissionConfig config;
  config.concurrency = concurrency;
  return config;
}

constexpr double kCapacity = kSlots / kMeanSeconds;  // requests a second

// The share of what the server could have done that somebody had something of.
double goodput(const std::vector<Outcome>& outcomes, double length) {
  double work = 0;
  for (const Outcome& outcome : outcomes) work += outcome.work_in_time;
  return work / (kSlots * length);
}

TEST(AdmissionSim, ATenantAtAHundredTimesItsShareBarelySlowsTheOthers) {
  for (uint64_t seed : {1, 2, 3}) {
    // Ten tenants, each with a tenth of 80 % of the capacity.
    std::vector<Stream> streams;
    const double share = 0.08 * kCapacity;
    for (int i = 0; i < 9; ++i) streams.push_back({"t" + std::to_string(i), share});
    const auto without = Simulation(usual(), seed).run(streams, 2000);
    streams.push_back({"noisy", 100 * share});
    const auto with = Simulation(usual(), seed).run(streams, 2000);
    double worst_without = 0, worst = 0;
    for (int i = 0; i < 9; ++i) {
      worst_without = std::max(worst_without, without[i].p99());
      worst = std::max(worst, with[i].p99());
      EXPECT_LE(with[i].p99(), 1.5 * without[i].p99()) << "seed " << seed << " tenant " << i;
      EXPECT_GE(static_cast<double>(with[i].in_time), 0.99 * static_cast<double>(with[i].asked));
    }
    // Without anybody in front of the server they have nothing of it.
    const auto plain = Simulation({}, seed).run(streams, 200);
    EXPECT_LT(plain[0].in_time, plain[0].asked / 5);
    std::printf("seed %d: p99 of the others %.2f s alone, %.2f s beside the noisy one\n",
                static_cast<int>(seed), worst_without, worst);
  }
}

class AdmissionOverload : public testing::TestWithParam<double> {};

TEST_P(AdmissionOverload, AnswersInTimeAsMuchAsTheServerCanWhereAPlainQueueCollapses) {
  const std::vector<Stream> streams = {{"a", GetParam() * kCapacity}};
  const double with = goodput(Simulation(usual(), 5).run(streams, 2000), 2000);
  const double plain = goodput(Simulation({}, 5).run(streams, 2000), 2000);
  AdmissionConfig learning = usual(0);
  const double learned = goodput(Simulation(learning, 5).run(streams, 2000), 2000);
  std::printf("load %.2f: goodput %.3f, with a learned limit %.3f, without admission %.3f\n",
              GetParam(), with, learned, plain);
  EXPECT_GE(with, 0.95);
  EXPECT_GE(learned, 0.95);
  EXPECT_LT(plain, 0.1);
}

// Some of it is longer than anybody's patience, and of none it is known: what is let in may be lost. A
// tenth of all that is done is in answers that nobody waits for.
TEST_P(AdmissionOverload, AnswersMostInTimeWhereNothingIsKnownAhead) {
  const std::vector<Stream> streams = {{"a", GetParam() * kCapacity}};
  const auto in_time = [&](std::optional<AdmissionConfig> config) {
    const auto outcomes = Simulation(config, 5, Lengths::kHeavy).run(streams, 4000);
    return static_cast<double>(outcomes[0].in_time) / (kCapacity * 4000);
  };
  const double with = in_time(usual()), plain = in_time({});
  std::printf(
      "load %.2f, heavy tail: answers in time %.3f of the capacity, without admission %.3f\n",
      GetParam(), with, plain);
  EXPECT_GE(with, 0.9);
  EXPECT_LT(plain, 0.1);
}

TEST_P(AdmissionOverload, UrgentRequestsKeepTheirP99) {
  const double urgent = 0.3 * kCapacity;
  const std::vector<Stream> alone = {{"a", urgent, -1}, {"b", 0.3 * kCapacity, 0}};
  const std::vector<Stream> crowd = {{"a", urgent, -1}, {"b", (GetParam() - 0.3) * kCapacity, 0}};
  const auto calm = Simulation(usual(), 9).run(alone, 2000);
  const auto busy = Simulation(usual(), 9).run(crowd, 2000);
  std::printf("load %.2f: p99 of urgent ones %.2f s in calm, %.2f s in the crowd, goodput %.3f\n",
              GetParam(), calm[0].p99(), busy[0].p99(), goodput(busy, 2000));
  EXPECT_LE(busy[0].p99(), 1.2 * calm[0].p99());
  EXPECT_EQ(busy[0].refused, 0u);
  EXPECT_GE(goodput(busy, 2000), 0.95);
}

INSTANTIATE_TEST_SUITE_P(Loads, AdmissionOverload, testing::Values(1.2, 1.4, 1.74));

TEST(AdmissionSim, WhoCallsEverythingUrgentDoesNotShutTheOthersOut) {
  const auto outcomes =
      Simulation(usual(), 3)
          .run({{"urgent", 2 * kCapacity, -1}, {"usual", 0.1 * kCapacity, 0}}, 1000);
  // Every eighth turn is more than they ask for.
  EXPECT_GE(static_cast<double>(outcomes[1].in_time),
            0.95 * static_cast<double>(outcomes[1].asked));
}

}  // namespace
}  // namespace glia
