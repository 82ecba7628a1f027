// AdmissionQueue: which requests an application works on, which wait, and which are refused at once
// because nothing good would come of their waiting.
//
// Requests at work are bounded, by number and by cost. The others wait in lines, one a tenant, in three
// bands by urgency. Tenants of a band share by deficit round robin over cost (Shreedhar, Varghese
// 1995), so that who asks for a hundred times its share waits for itself. A more urgent band goes first,
// but leaves every eighth turn to the next one that waits: who calls everything urgent cannot shut the
// others out. From how long work takes it is told ahead when a request would begin and end; one that
// cannot end by its deadline, or would wait too long, is refused when it asks, and again when its turn
// comes. A full queue gives the place of the least urgent, of the tenant with the most, to who has less.
//
// Pure: moments and costs in, decisions out; it reads no clock, takes no lock and wakes nobody. Tickets
// are linked where they lie, so that who leaves is gone at once.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/admission/admission_config.h"
#include "proxy/admission/learned_limit.h"
#include "proxy/base/time.h"

namespace glia {

enum class AdmissionWhy : uint8_t {
  kQueueFull,  // And all that wait are as urgent, or more.
  kShare,      // Full, and nobody has more waiting than this tenant.
  kUrgent,     // Full, and its place was given to a more urgent request.
  kDeadline,   // It could not end in time.
  kWait,       // Its turn did not come, or will not come, within the longest wait.
};
inline constexpr int kAdmissionWhys = 5;

// The numbers behind a refusal.
struct AdmissionRefusal {
  AdmissionWhy why = AdmissionWhy::kQueueFull;
  bool waited = false;     // Until now; else it was refused when it asked.
  uint32_t waiting = 0;    // All that wait.
  uint32_t of_tenant = 0;  // Those of the same tenant and urgency.
  Duration wait{0};        // What it would wait, or waited.
  Duration work{0};        // What the work would take.
  Duration left{0};        // Until its deadline.
  Duration come_again{0};  // When there may be room.
};

struct AdmissionAsk {
  std::string_view tenant;
  int64_t priority = 0;  // Below zero: urgent, above: patient.
  uint64_t cost = 1;
  std::optional<TimePoint> deadline;  // Of the whole answer.
};

class AdmissionQueue {
  struct Line;
  class Tickets;

 public:
  static constexpr int kBands = 3;
  static constexpr uint32_t kTurns = 8;  // Every so many-th turn of a band goes to the next one.
  static constexpr uint64_t kMostCost = 1u << 30;
  static constexpr Duration kLongestComeAgain = 60s;

  enum class State : uint8_t { kNew, kWaiting, kAtWork, kRefused, kOver };
  enum class End : uint8_t {
    kDone,       // How long it took says how long such work takes.
    kAbandoned,  // It says nothing: the client left, or the application failed.
  };

  // One request's place. Lives from before ask() until after end(), wherever its owner likes.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    State state() const { return state_; }
    const AdmissionRefusal& refusal() const { return refusal_; }  // If kRefused.
    Duration waited() const { return begun_ - asked_; }           // If kAtWork.
    uint64_t cost() const { return cost_; }

   private:
    friend class AdmissionQueue;
    State state_ = State::kNew;
    uint64_t cost_ = 1;
    TimePoint asked_, begun_;
    std::optional<TimePoint> deadline_;
    Line* line_ = nullptr;   // While it waits.
    Tickets* in_ = nullptr;  // The list that it is in.
    Ticket *next_ = nullptr, *previous_ = nullptr;
    AdmissionRefusal refusal_;
  };

  explicit AdmissionQueue(const AdmissionConfig& config) { limits(config); }
  AdmissionQueue(const AdmissionQueue&) = delete;
  AdmissionQueue& operator=(const AdmissionQueue&) = delete;

  // From now on; those that wait are not asked again.
  void limits(const AdmissionConfig& config);
  // Decides at once, or leaves the ticket in the queue: see its state.
  void ask(Ticket& ticket, const AdmissionAsk& ask, TimePoint now);
  // It has waited for so long that it is refused, if it still waits.
  void wait_over(Ticket& ticket, TimePoint now);
  // Gives back whatever the ticket has; also that of one that still waits, or was never decided.
  void end(Ticket& ticket, End how, TimePoint now);
  // One that waited and was decided by somebody else's call, oldest first; null if there is none.
  Ticket* take_decided();
  // Those of them for which take(Ticket&) is true.
  template <class Take>
  void take_decided_if(Take take) {
    for (Ticket* ticket = decided_.first(); ticket != nullptr;) {
      Ticket* const next = ticket->next_;
      if (take(*ticket)) decided_.remove(*ticket);
      ticket = next;
    }
  }

  // Begins what has room; needs to be called only after limits().
  void go_on(TimePoint now);

  uint32_t limit() const;
  uint32_t at_work() const { return at_work_; }
  uint64_t cost_at_work() const { return cost_at_work_; }
  uint32_t waiting() const { return waiting_; }
  uint32_t waiting(int band) const { return bands_[band].waiting; }
  static int band_of(int64_t priority) { return priority < 0 ? 0 : priority == 0 ? 1 : 2; }

 private:
  // Tickets in order, linked where they lie.
  class Tickets {
   public:
    Ticket* first() const { return first_; }
    Ticket* last() const { return last_; }
    void push(Ticket& ticket);
    void remove(Ticket& ticket);

   private:
    Ticket *first_ = nullptr, *last_ = nullptr;
  };
  // What waits of one tenant in one band; never empty.
  struct Line {
    std::string tenant;
    int band = 0;
    Tickets tickets;
    uint64_t cost = 0;
    uint32_t waiting = 0;
    uint64_t credit = 0;  // The deficit of the round robin.
  };
  struct Band {
    std::list<Line> lines;  // In the order of their turns.
    std::map<std::string, std::list<Line>::iterator, std::less<>> by_tenant;
    uint64_t cost = 0;
    uint32_t waiting = 0;
    uint32_t turns = 0;  // Taken while a less urgent one waited, since that had one.
  };

  bool room() const;
  Duration work(uint64_t cost) const;
  Duration work_at_most(uint64_t cost) const;
  Duration work_in_band(int band, uint64_t cost) const;
  void learn(double seconds, double cost);
  Duration wait_behind(uint64_t cost) const;
  uint64_t cost_ahead(int band, const Line* line, uint64_t cost) const;
  Line* line_of(int band, std::string_view tenant);
  // Why the one that asks may not wait, if it may not.
  std::optional<AdmissionWhy> no_hope(const AdmissionRefusal& facts, bool has_deadline) const;
  std::optional<AdmissionWhy> make_room(int band, const Line* line, uint64_t cost, TimePoint now);
  void enqueue(Ticket& ticket, int band, Line* line, std::string_view tenant);
  void leave_line(Ticket& ticket);
  Band& band_in_turn();
  Ticket& ticket_in_turn();
  void begin(Ticket& ticket, TimePoint now);
  void give_up(Ticket& ticket, AdmissionWhy why, TimePoint now);

  AdmissionConfig config_;
  LearnedLimit learned_{1000};
  Band bands_[kBands];
  uint32_t at_work_ = 0, waiting_ = 0;
  uint64_t cost_at_work_ = 0;
  // Of what ended, older ones counting less: seconds, cost, and how far the seconds were from what was
  // expected. Their ratios are how long a unit takes, and how much that varies.
  double seconds_ = 0, units_ = 0, off_ = 0;
  double mean_cost_ = 0;  // Of those that asked.
  Tickets decided_;
};

}  // namespace glia
