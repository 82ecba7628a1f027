// AdmissionDesk: the one AdmissionQueue of a process for one application, and the places that requests
// of all workers have in it.
//
// The application is one, so its queue is one: with a queue a worker, half of what the application can
// do would stand empty whenever most requests come over connections of one worker, and nobody's share
// would be told right. Workers take a lock for well under a microsecond to ask and to end, which a
// request to a model never feels; they sleep and wake on their own loops.
//
// Kept from drawing to drawing (xds/freeze.h), so what is at work stays counted.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/admission/admission_config.h"
#include "proxy/admission/admission_queue.h"
#include "proxy/admission/teller.h"
#include "proxy/base/shared.h"
#include "proxy/base/task.h"
#include "proxy/net/loop.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

class AdmissionPlace;

// What has happened at a desk, whatever drawing it was under.
struct AdmissionCounts {
  struct Tenant {
    uint64_t admitted = 0, refused = 0, cost = 0;
  };
  // Tenants that are counted by name; the others are counted together, as kOthers.
  static constexpr std::size_t kTenantsCounted = 64;
  static constexpr std::string_view kOthers = "(others)";

  uint64_t admitted = 0, left = 0;  // left: the client went while it waited.
  uint64_t begun_early = 0;         // Streams whose head went out while they waited.
  uint64_t refused[kAdmissionWhys] = {};
  Histogram wait;  // Of those that had to.
  std::map<std::string, Tenant, std::less<>> tenants;

  Tenant& tenant(std::string_view name);
};

class AdmissionDesk {
 public:
  AdmissionDesk() : queue_(AdmissionConfig()) {}
  // The limits from now on, for all workers.
  void limits(const AdmissionConfig& config) const;

  struct Figures {
    uint32_t limit = 0, at_work = 0;
    uint64_t cost_at_work = 0;
    uint32_t waiting[AdmissionQueue::kBands] = {};
  };
  Figures figures() const;

  template <class Count>  // count(AdmissionCounts&)
  void count(Count count) const {
    counts_.with(count);
  }
  AdmissionCounts counts() const {
    return counts_.with([](const AdmissionCounts& counts) { return counts; });
  }
  // Of the filters of all workers, one tells what the process has counted.
  const Teller& teller() const { return teller_; }

 private:
  friend class AdmissionPlace;
  // Wakes those of `here` that were decided, and has the other loops wake theirs.
  void tell(AdmissionQueue& queue, EventLoop& here) const;

  SharedOne<AdmissionQueue> queue_;
  SharedOne<AdmissionCounts> counts_;
  Teller teller_;
};

// What one request has: a place in the line, then at the application. Destroying it gives that back, at
// any moment. Belongs to one loop, which outlives it.
class AdmissionPlace final : private AdmissionQueue::Ticket, private Timer {
 public:
  AdmissionPlace(std::shared_ptr<const AdmissionDesk> desk, EventLoop& loop)
      : Timer(loop), desk_(std::move(desk)) {}
  ~AdmissionPlace() override { end(AdmissionQueue::End::kAbandoned); }

  // May decide at once; else at the latest when `longest` is over.
  void ask(const AdmissionAsk& ask, Duration longest);
  bool decided() const { return decided_; }
  // co_await place.decision()
  Task<void> decision();

  // When decided.
  bool admitted() const { return state() == AdmissionQueue::State::kAtWork; }
  using Ticket::cost;
  using Ticket::refusal;
  using Ticket::waited;

  // The answer is over. Once.
  void end(AdmissionQueue::End how);

 private:
  friend class AdmissionDesk;
  void fire() override;
  void told();

  const std::shared_ptr<const AdmissionDesk> desk_;
  WaitSlot slot_;
  bool decided_ = false;  // As this loop knows; the ticket may be ahead of it.
  bool asked_ = false;
  bool called_ = false;  // Its loop was asked to look. Under the lock.
};

}  // namespace glia
