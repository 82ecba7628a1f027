// Canaries: the runs of all Canary objects in force.
//
// Belongs to the control plane's loop, which calls tick() once a second. It knows no transport: what
// it decides goes out through `publish`, what it must remember through CanaryStore.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control_plane/canary/canary_run.h"
#include "control_plane/canary/canary_store.h"
#include "control_plane/canary/metric_queries.h"
#include "control_plane/objects/object_set.h"

namespace glia {

class Canaries {
 public:
  static constexpr Duration kTick = 1s;
  // A state in which only the time has changed is saved so often.
  static constexpr Duration kSaveEvery = 30s;

  using Publish = std::function<void(const CanarySplits&)>;

  // All outlive it. Reads what the store remembers.
  static Result<std::unique_ptr<Canaries>> open(const Clock& clock, Observations& observations,
                                                Confirmations& confirmations,
                                                MetricQueries& queries, CanaryStore& store,
                                                Publish publish);

  // The objects that are in force from now on. Publishes if that changes a split.
  void take(const ObjectSet& objects);
  void tick();
  // `name` as in ObjectSet::workload().
  Result<void> command(std::string_view name, CanaryCommand command);

  // In order of name.
  std::vector<const CanaryRun*> list() const;
  const CanaryRun* find(std::string_view name) const;  // Null if there is none.
  // The sentence about a name that nobody has.
  Error unknown(std::string_view name) const;

 private:
  struct Entry {
    CanaryRun run;
    // Of all ports of the target.
    std::vector<std::string> stable, candidate;
    TimePoint observed_until;
    TimePoint saved_at;
    CanaryState saved{};
    uint64_t question = 0;  // That waits for its answer; 0: none.
    // Of the metrics that come from outside, what was told since they were asked for last.
    std::vector<OutsideValue> outside = {};
    uint64_t round = 0;  // Of questions about them; answers to an earlier one are late.
  };

  Canaries(const Clock& clock, Observations& observations, Confirmations& confirmations,
           MetricQueries& queries, CanaryStore& store, Publish publish)
      : clock_(clock),
        observations_(observations),
        confirmations_(confirmations),
        queries_(queries),
        store_(store),
        publish_(std::move(publish)) {}

  void begin(const ObjectSet& objects, const Canary& canary);
  void forget(const std::string& name);
  void name_clusters(const ObjectSet& objects, const Canary& canary, Entry& entry);
  void observe(Entry& entry);
  void ask(Entry& entry);
  // Asks for the metrics that come from outside, for the next observation.
  void query(Entry& entry);
  // Where the answer to one of these belongs; null if it is late.
  OutsideValue* outside(const std::string& name, uint64_t round, std::size_t place);
  void answered(const std::string& name, uint64_t question, const Confirmation& confirmation);
  Observed sum(const std::vector<std::string>& clusters, TimePoint from, TimePoint to) const;
  // What follows from a change of runs: orders, the store, the log, the splits.
  void settle();
  void save(Entry& entry);
  void want();
  CanarySplits splits() const;

  const Clock& clock_;
  Observations& observations_;
  Confirmations& confirmations_;
  MetricQueries& queries_;
  CanaryStore& store_;
  Publish publish_;
  std::map<std::string, CanaryState, std::less<>> remembered_;  // Not taken up yet.
  std::map<std::string, Entry, std::less<>> entries_;
  uint64_t questions_ = 0;
  std::vector<std::string> wanted_;
  std::optional<CanarySplits> published_;
};

}  // namespace glia
