// What asking an admission costs: when there is room, when the queue is full, and how long the line of a
// tenant that waits makes either.
#include <benchmark/benchmark.h>

#include <list>
#include <string>
#include <vector>

#include "proxy/admission/admission_desk.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr uint32_t kQueue = 512;
const TimePoint kNow = TimePoint() + std::chrono::hours(1);

// One at work, and `waiting` in the queue, of `tenants`.
class Line {
 public:
  Line(uint32_t waiting, int tenants) : queue_(config()) {
    for (uint32_t i = 0; i <= waiting; ++i) {
      const std::string tenant = cat("tenant-", i % static_cast<uint32_t>(tenants));
      queue_.ask(tickets_.emplace_back(), {.tenant = tenant, .cost = 100 + i % 7}, kNow);
    }
  }
  static AdmissionConfig config() {
    AdmissionConfig config;
    config.concurrency = 1;
    config.queue = kQueue;
    return config;
  }
  AdmissionQueue& queue() { return queue_; }

 private:
  AdmissionQueue queue_;
  std::list<AdmissionQueue::Ticket> tickets_;
};

void room(benchmark::State& state) {
  AdmissionQueue queue(Line::config());
  for (auto _ : state) {
    AdmissionQueue::Ticket ticket;
    queue.ask(ticket, {.tenant = "a", .cost = 100}, kNow);
    queue.end(ticket, AdmissionQueue::End::kDone, kNow);
  }
}
BENCHMARK(room)->Name("admission/let in and out");

void full(benchmark::State& state) {
  Line line(kQueue, static_cast<int>(state.range(0)));
  for (auto _ : state) {
    AdmissionQueue::Ticket ticket;
    line.queue().ask(ticket, {.tenant = "tenant-0", .cost = 10'000}, kNow);
    if (ticket.state() != AdmissionQueue::State::kRefused) state.SkipWithError("not refused");
    line.queue().end(ticket, AdmissionQueue::End::kDone, kNow);
  }
}
BENCHMARK(full)->Name("admission/full queue refuses, tenants")->Arg(1)->Arg(16)->Arg(512);

void wait_and_leave(benchmark::State& state) {
  Line line(kQueue - 1, static_cast<int>(state.range(0)));
  for (auto _ : state) {
    AdmissionQueue::Ticket ticket;
    line.queue().ask(ticket, {.tenant = "tenant-0", .cost = 100}, kNow);
    line.queue().end(ticket, AdmissionQueue::End::kAbandoned, kNow);
  }
}
BENCHMARK(wait_and_leave)->Name("admission/wait and leave, tenants")->Arg(1)->Arg(16)->Arg(512);

}  // namespace
}  // namespace glia
