#include "control_plane/canary/canaries.h"

#include <algorithm>
#include <set>
#include <utility>

#include "control_plane/translate/canary.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

std::string key_of(std::string_view name) {
  return name.find('/') == name.npos ? cat("default/", name) : std::string(name);
}

// One event, for people and for programs: key=value, the reason last and in quotes.
void log_event(const CanaryRun& run) {
  const CanaryState& state = run.state();
  std::string reason;
  append_json_escaped(reason, state.reason);
  const std::string line =
      cat("canary=", state.name, " phase=\"", name_of(state.phase), "\" stage=", state.stage + 1,
          "/", run.stages().size(), " weight=", run.split().weight, " requests=", state.touched,
          " reason=\"", reason, "\"");
  const bool bad = state.phase == CanaryPhase::kRolledBack || state.phase == CanaryPhase::kFailed;
  if (bad) {
    LOG(warning, line);
  } else {
    LOG(info, line);
  }
}

// Of several clusters: the ports of one version, each told of by the same sidecars.
void add_beside(const Observed& part, Observed& all) {
  const uint32_t sidecars = std::max(all.sidecars, part.sidecars);
  const uint32_t late = std::max(all.late, part.late);
  const uint32_t disbelieved = std::max(all.disbelieved, part.disbelieved);
  all.add(part);
  all.sidecars = sidecars;
  all.late = late;
  all.disbelieved = disbelieved;
}

}  // namespace

Result<std::unique_ptr<Canaries>> Canaries::open(const Clock& clock, Observations& observations,
                                                 Confirmations& confirmations,
                                                 MetricQueries& queries, CanaryStore& store,
                                                 Publish publish) {
  std::unique_ptr<Canaries> canaries(
      new Canaries(clock, observations, confirmations, queries, store, std::move(publish)));
  TRY(std::vector<CanaryState> states, store.load());
  for (CanaryState& state : states) {
    const std::string name = state.name;
    canaries->remembered_.emplace(name, std::move(state));
  }
  return canaries;
}

void Canaries::take(const ObjectSet& objects) {
  std::set<std::string, std::less<>> names;
  for (const Canary& canary : objects.canaries) {
    const std::string name = canary.metadata.key();
    names.insert(name);
    const auto known = entries_.find(name);
    if (known != entries_.end() &&
        known->second.run.state().versions == CanaryRun::versions_of(canary)) {
      // A word on the verdict of before would be taken for one on the next.
      if (known->second.run.edit(canary, clock_.wall_now())) {
        known->second.question = known->second.round = 0;
        known->second.outside.clear();
      }
      name_clusters(objects, canary, known->second);
      continue;
    }
    if (known != entries_.end()) entries_.erase(known);
    begin(objects, canary);
  }
  // Of canaries that are gone since the last start.
  for (const auto& [name, state] : remembered_) forget(name);
  remembered_.clear();
  const auto gone = [&](const auto& entry) { return !names.contains(entry.first); };
  for (const auto& [name, entry] : entries_) {
    if (!names.contains(name)) forget(name);
  }
  std::erase_if(entries_, gone);
  settle();
}

void Canaries::forget(const std::string& name) {
  const Result<void> forgotten = store_.forget(name);
  if (!forgotten) LOG(error, forgotten.error().message());
}

void Canaries::begin(const ObjectSet& objects, const Canary& canary) {
  const auto remembered = remembered_.find(canary.metadata.key());
  const CanaryState* state = remembered == remembered_.end() ? nullptr : &remembered->second;
  Entry entry{.run = CanaryRun(canary, clock_.wall_now(), state),
              .observed_until = clock_.now(),
              .saved_at = clock_.now()};
  if (state != nullptr) entry.saved = *state;
  name_clusters(objects, canary, entry);
  entries_.emplace(canary.metadata.key(), std::move(entry));
  if (remembered != remembered_.end()) remembered_.erase(remembered);
}

void Canaries::name_clusters(const ObjectSet& objects, const Canary& canary, Entry& entry) {
  entry.stable.clear();
  entry.candidate.clear();
  const MeshService* target = objects.service(canary.metadata.ns, canary.spec.target_ref.name);
  for (const MeshService::Port& port : target->spec.ports) {
    VersionClusters clusters = version_clusters(objects, canary, port.port);
    entry.stable.push_back(std::move(clusters.stable));
    entry.candidate.push_back(std::move(clusters.candidate));
  }
}

void Canaries::tick() {
  for (auto& [name, entry] : entries_) {
    const bool open = entry.run.is_open();
    if (open && entry.round == 0) query(entry);
    const Duration interval = open ? entry.run.spec().analysis.interval : kTick;
    if (entry.run.is_counted(clock_.wall_now()) &&
        clock_.now() - entry.observed_until >= interval) {
      observe(entry);
      if (entry.run.is_open()) query(entry);
      if (entry.run.asks() && entry.question == 0) ask(entry);
    }
  }
  settle();
}

void Canaries::ask(Entry& entry) {
  const std::string& name = entry.run.state().name;
  entry.question = ++questions_;
  confirmations_.ask(*entry.run.spec().confirm, entry.run.question(),
                     [this, name, question = entry.question](const Confirmation& confirmation) {
                       answered(name, question, confirmation);
                     });
}

void Canaries::query(Entry& entry) {
  const std::string& name = entry.run.state().name;
  const uint64_t round = ++questions_;
  entry.round = round;
  entry.outside.clear();
  for (const Canary::Metric& metric : entry.run.spec().analysis.metrics) {
    if (!metric.prometheus) continue;
    const std::size_t place = entry.outside.size();
    const std::string& url = metric.prometheus->url;
    entry.outside.push_back({.why = cat(url, " has not answered in time")});
    using Number = std::optional<double> OutsideValue::*;
    const auto take = [&](Number which) -> MetricQueries::Answered {
      return [this, name, round, place, url, which](const Result<double>& told) {
        OutsideValue* value = outside(name, round, place);
        if (value == nullptr) return;
        if (told) {
          value->*which = *told;
        } else {
          value->why = cat(url, ": ", told.error().message());
        }
      };
    };
    queries_.ask(*metric.prometheus, metric.prometheus->candidate, take(&OutsideValue::candidate));
    if (metric.prometheus->stable.empty()) continue;
    queries_.ask(*metric.prometheus, metric.prometheus->stable, take(&OutsideValue::stable));
  }
}

OutsideValue* Canaries::outside(const std::string& name, uint64_t round, std::size_t place) {
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.round != round) return nullptr;
  return place < found->second.outside.size() ? &found->second.outside[place] : nullptr;
}

void Canaries::answered(const std::string& name, uint64_t question,
                        const Confirmation& confirmation) {
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.question != question) return;
  found->second.question = 0;
  found->second.run.confirm(confirmation, clock_.wall_now());
  settle();
}

Observed Canaries::sum(const std::vector<std::string>& clusters, TimePoint from,
                       TimePoint to) const {
  Observed all;
  for (const std::string& cluster : clusters) {
    add_beside(observations_.between(cluster, from, to), all);
  }
  return all;
}

void Canaries::observe(Entry& entry) {
  const TimePoint now = clock_.now(), from = std::exchange(entry.observed_until, now);
  entry.run.observe({.passed = now - from,
                     .now = clock_.wall_now(),
                     .stable = sum(entry.stable, from, now),
                     .candidate = sum(entry.candidate, from, now),
                     .outside = std::exchange(entry.outside, {})});
}

Result<void> Canaries::command(std::string_view name, CanaryCommand command) {
  const auto found = entries_.find(key_of(name));
  if (found == entries_.end()) return unknown(name);
  Entry& entry = found->second;
  const bool was_open = entry.run.is_open();
  TRY_VOID(entry.run.command(command, clock_.wall_now()));
  // What came while nobody looked belongs to no stage.
  if (!was_open) entry.observed_until = clock_.now();
  settle();
  return {};
}

void Canaries::settle() {
  for (auto& [name, entry] : entries_) save(entry);
  want();
  CanarySplits now = splits();
  if (published_ == now) return;
  published_ = now;
  publish_(now);
}

void Canaries::save(Entry& entry) {
  const CanaryState& state = entry.run.state();
  if (state == entry.saved) return;
  const CanaryState& saved = entry.saved;
  const bool event = state.phase != saved.phase || state.stage != saved.stage ||
                     state.versions != saved.versions || state.changed != saved.changed;
  const bool looked = state.looks != saved.looks;
  if (!event && !looked && clock_.now() - entry.saved_at < kSaveEvery) return;
  if (event) log_event(entry.run);
  entry.saved = state;
  entry.saved_at = clock_.now();
  const Result<void> kept = store_.save(state);
  if (!kept)
    LOG(error, "canary ", state.name, " would not survive a restart: ", kept.error().message());
}

void Canaries::want() {
  std::set<std::string> clusters;
  for (const auto& [name, entry] : entries_) {
    if (!entry.run.is_counted(clock_.wall_now())) continue;
    clusters.insert(entry.stable.begin(), entry.stable.end());
    clusters.insert(entry.candidate.begin(), entry.candidate.end());
  }
  std::vector<std::string> wanted(clusters.begin(), clusters.end());
  if (wanted == wanted_) return;
  wanted_ = wanted;
  observations_.want(std::move(wanted));
}

CanarySplits Canaries::splits() const {
  CanarySplits splits;
  for (const auto& [name, entry] : entries_) splits.emplace(name, entry.run.split());
  return splits;
}

Error Canaries::unknown(std::string_view name) const {
  std::string known;
  for (const auto& [other, entry] : entries_) known += cat(known.empty() ? "" : ", ", other);
  return invalid(
      cat("there is no canary ", name, known.empty() ? "; there are none" : "; there is ", known));
}

std::vector<const CanaryRun*> Canaries::list() const {
  std::vector<const CanaryRun*> runs;
  for (const auto& [name, entry] : entries_) runs.push_back(&entry.run);
  return runs;
}

const CanaryRun* Canaries::find(std::string_view name) const {
  const auto found = entries_.find(key_of(name));
  return found == entries_.end() ? nullptr : &found->second.run;
}

}  // namespace glia
