#include "control_plane/canary/canary_run.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/base/text.h"

namespace glia {

namespace {

constexpr std::array<std::pair<CanaryPhase, std::string_view>, 6> kPhases = {
    {{CanaryPhase::kProgressing, "progressing"},
     {CanaryPhase::kPaused, "paused"},
     {CanaryPhase::kPassed, "waiting"},
     {CanaryPhase::kFailed, "failed"},
     {CanaryPhase::kPromoted, "promoted"},
     {CanaryPhase::kRolledBack, "rolled back"}}};
constexpr std::array<std::pair<CanaryCommand, std::string_view>, 4> kCommands = {
    {{CanaryCommand::kPromote, "promote"},
     {CanaryCommand::kAbort, "abort"},
     {CanaryCommand::kPause, "pause"},
     {CanaryCommand::kResume, "resume"}}};

template <class Table, class Value>
std::string_view word_of(const Table& table, Value value) {
  for (const auto& [known, word] : table) {
    if (known == value) return word;
  }
  return "";
}
template <class Value, class Table>
std::optional<Value> value_of(const Table& table, std::string_view word) {
  for (const auto& [value, known] : table) {
    if (known == word) return value;
  }
  return {};
}

std::vector<CanaryRun::Stage> stages_of(const Canary::Spec& spec) {
  std::vector<CanaryRun::Stage> stages;
  if (spec.shadow) stages.push_back({.weight = 0, .shadow = spec.shadow->percent});
  for (const Canary::Step& step : spec.steps) {
    stages.push_back({.weight = step.weight,
                      .pause = step.pause.value_or(0s),
                      .until_resumed = step.until_resumed});
  }
  return stages;
}

std::string text_of(const Canary::Version& version, std::string_view usual) {
  if (!version.service.empty()) return cat("Service ", version.service);
  std::string out;
  for (const auto& [key, value] : version.labels) {
    out += cat(out.empty() ? "" : ",", key, "=", value);
  }
  return out.empty() ? std::string(usual) : out;
}

std::string seconds_text(Duration time) {
  const int64_t seconds = to_ms(time) / 1000;
  if (seconds >= 3600 && seconds % 3600 == 0) return cat(seconds / 3600, "h");
  if (seconds >= 60 && seconds % 60 == 0) return cat(seconds / 60, "m");
  return cat(seconds, "s");
}

// Why some are not heard; "" if all are.
std::string lies(const Observed& version) {
  if (version.disbelieved == 0) return "";
  return cat("; ", version.disbelieved, " reported what cannot be true");
}

Error wrong_moment(const CanaryState& state, CanaryCommand command) {
  return invalid(cat("canary ", state.name, " is ", name_of(state.phase),
                     ", so there is nothing to ", name_of(command)));
}

}  // namespace

std::string_view name_of(CanaryPhase phase) { return word_of(kPhases, phase); }
std::optional<CanaryPhase> canary_phase(std::string_view name) {
  return value_of<CanaryPhase>(kPhases, name);
}
std::string_view name_of(CanaryCommand command) { return word_of(kCommands, command); }
std::optional<CanaryCommand> canary_command(std::string_view name) {
  return value_of<CanaryCommand>(kCommands, name);
}

std::string CanaryRun::versions_of(const Canary& canary) {
  const Canary::Spec& spec = canary.spec;
  return cat(
      "Service ", spec.target_ref.name, ": ",
      text_of(spec.stable, canary.by_labels() ? "the rest" : cat("Service ", spec.target_ref.name)),
      " -> ", text_of(spec.candidate, ""));
}

CanaryRun::CanaryRun(const Canary& canary, WallTime now, const CanaryState* state)
    : spec_(canary.spec), stages_(stages_of(canary.spec)) {
  const std::string versions = versions_of(canary);
  if (state != nullptr && state->versions == versions) {
    state_ = *state;
    state_.stage = std::min<uint32_t>(state_.stage, uint32_t(stages_.size()) - 1);
    return;
  }
  state_.name = canary.metadata.key();
  state_.versions = versions;
  state_.began = now;
  enter(0, now);
}

bool CanaryRun::edit(const Canary& canary, WallTime now) {
  const std::vector<Stage> before = std::exchange(stages_, stages_of(canary.spec));
  const Canary::Spec spec = std::exchange(spec_, canary.spec);
  const bool same_stage =
      state_.stage < stages_.size() && stages_[state_.stage] == before[state_.stage];
  const bool same_copies = !same_stage || !in_shadow() || spec_.shadow->compares_as(*spec.shadow);
  const bool same_questions = spec_.analysis.judges_as(spec.analysis);
  if (same_stage && same_copies && same_questions) return false;
  state_.stage = std::min<uint32_t>(state_.stage, uint32_t(stages_.size()) - 1);
  if (!same_copies) unheard_ = kAftermath;
  if (same_stage && same_copies) {
    forget_verdict();
  } else {
    forget_observed();
  }
  // It was passed by what is not asked any more.
  if (state_.phase == CanaryPhase::kPassed) {
    set_phase(CanaryPhase::kProgressing, "its stage or analysis was edited", now);
  }
  return true;
}

Canary::Split CanaryRun::split() const {
  switch (state_.phase) {
    case CanaryPhase::kPromoted: return {.weight = 100, .open = true};
    case CanaryPhase::kRolledBack: return {};
    default: return {.weight = stage().weight, .shadow = stage().shadow, .open = true};
  }
}

bool CanaryRun::is_open() const {
  return state_.phase == CanaryPhase::kProgressing || state_.phase == CanaryPhase::kPaused ||
         state_.phase == CanaryPhase::kPassed;
}

bool CanaryRun::is_counted(WallTime now) const {
  if (state_.phase == CanaryPhase::kRolledBack) return now - state_.changed < kAftermath;
  return state_.phase != CanaryPhase::kPromoted;
}

void CanaryRun::observe(const Observation& observation) {
  state_.touched += observation.candidate.requests;
  if (!is_open()) return;
  if (state_.phase == CanaryPhase::kProgressing) {
    state_.spent += observation.passed;
    state_.stage_spent += observation.passed;
  }
  if (unheard_ > 0s) {
    unheard_ -= observation.passed;
    return;
  }
  stable_.add(observation.stable);
  candidate_.add(observation.candidate);
  hear_outside(observation.outside);
  judge(observation.now);
}

std::string CanaryRun::missing() const {
  if (stable_.forgotten || candidate_.forgotten) return "more was reported than can be kept";
  if (candidate_.sidecars == 0) return cat("no sidecar reports of the candidate", lies(candidate_));
  if (!in_shadow() && stable_.sidecars == 0) {
    return cat("no sidecar reports of the stable version", lies(stable_));
  }
  const uint64_t least = spec_.analysis.minimum_requests;
  if (in_shadow()) {
    if (candidate_.shadow.sent >= least) return "";
    return cat(candidate_.shadow.sent, " of at least ", least, " copies were answered");
  }
  if (candidate_.requests < least) {
    return cat("the candidate has had ", candidate_.requests, " of at least ", least, " requests");
  }
  if (stable_.requests < least) {
    return cat("the stable version has had ", stable_.requests, " of at least ", least,
               " requests");
  }
  return "";
}

// What is known is enough to take it back, but not to go on.
std::string CanaryRun::incomplete() const {
  const uint32_t late = std::max(stable_.late, candidate_.late);
  if (late > 0) {
    return cat(late, late == 1 ? " sidecar has" : " sidecars have", " not reported in time");
  }
  for (const Observed* version : {&candidate_, &stable_}) {
    if (version->disbelieved == 0 || version->disbelieved < version->sidecars) continue;
    return cat("only ", version->sidecars, " of ", version->sidecars + version->disbelieved,
               " sidecars can be believed", lies(*version));
  }
  return "";
}

// A sample that has hardly grown says nothing new.
void CanaryRun::look() {
  const uint64_t sample =
      in_shadow() ? candidate_.shadow.sent : std::min(candidate_.requests, stable_.requests);
  if (static_cast<double>(sample) < kLookGrowth * static_cast<double>(looked_at_)) return;
  looked_at_ = sample;
  ++state_.looks;
  looked_ =
      assess(spec_.analysis, stable_, candidate_,
             {.number = state_.looks, .stages = uint32_t(stages_.size()), .shadow = in_shadow()});
}

void CanaryRun::hear_outside(const std::vector<OutsideValue>& values) {
  static const OutsideValue kNothing{.why = "nobody was asked yet"};
  std::vector<Told> before = std::exchange(outside_, {});
  for (const Canary::Metric& metric : spec_.analysis.metrics) {
    if (!metric.prometheus) continue;
    const std::size_t place = outside_.size();
    Told told{assess_outside(metric, place < values.size() ? values[place] : kNothing)};
    const bool again =
        place < before.size() && before[place].finding.verdict == told.finding.verdict;
    if (told.finding.verdict != Verdict::kHold) told.times = again ? before[place].times + 1 : 1;
    outside_.push_back(std::move(told));
  }
}

void CanaryRun::combine() {
  assessment_ = looked_;
  if (outside_.empty()) return;
  const bool alone = outside_.size() == spec_.analysis.metrics.size() && !in_shadow();
  if (alone) assessment_ = {.verdict = Verdict::kAdvance, .reason = "", .findings = {}};
  for (const Told& told : outside_) {
    Finding finding = told.finding;
    if (finding.verdict != Verdict::kHold && told.times < kAgreeing) {
      finding.verdict = Verdict::kHold;
      finding.sentence += cat("; ", told.times, " of ", kAgreeing, " answers in a row");
    }
    const Verdict decided = assessment_.verdict;
    const bool worse = finding.verdict == Verdict::kRollBack ? decided != Verdict::kRollBack
                       : finding.verdict == Verdict::kHold   ? decided == Verdict::kAdvance
                                                             : assessment_.reason.empty() && alone;
    if (worse) {
      assessment_.verdict = finding.verdict;
      assessment_.reason = finding.sentence;
    }
    assessment_.findings.push_back(std::move(finding));
  }
}

void CanaryRun::judge(WallTime now) {
  asks_ = false;
  const std::string gap = missing();
  if (gap.empty()) look();
  combine();
  if (assessment_.verdict == Verdict::kRollBack) return fail(assessment_.reason, now);
  if (stable_.forgotten || candidate_.forgotten) forget_observed();
  if (state_.phase != CanaryPhase::kProgressing) return;
  const std::string late = incomplete();
  state_.reason = !gap.empty() ? gap : !late.empty() ? late : assessment_.reason;
  const bool good = gap.empty() && late.empty() && assessment_.verdict == Verdict::kAdvance;
  if (good && state_.stage_spent >= stage().pause) {
    if (!spec_.confirm) return pass(now);
    asks_ = true;
    state_.reason = cat("waits for the word of ", spec_.confirm->url,
                        not_confirmed_.empty() ? "" : ", which did not answer: ", not_confirmed_);
  }
  if (state_.spent < spec_.time_limit) return;
  fail(cat("no verdict within ", seconds_text(spec_.time_limit), ": ", state_.reason), now);
}

std::string CanaryRun::question() const {
  const bool last = state_.stage + 1 == stages_.size();
  std::string name, versions, reason;
  append_json_escaped(name, state_.name);
  append_json_escaped(versions, state_.versions);
  append_json_escaped(reason, assessment_.reason);
  return cat("{\"canary\": \"", name, "\", \"versions\": \"", versions,
             "\", \"from\": ", stage().weight,
             ", \"to\": ", last ? 100 : stages_[state_.stage + 1].weight, ", \"reason\": \"",
             reason, "\"}");
}

void CanaryRun::confirm(const Confirmation& confirmation, WallTime now) {
  if (!std::exchange(asks_, false)) return;
  not_confirmed_.clear();
  switch (confirmation.answer) {
    case Confirmation::Answer::kYes: return pass(now);
    case Confirmation::Answer::kNo:
      return fail(cat(spec_.confirm->url, " said no: ", confirmation.why), now);
    case Confirmation::Answer::kNone: not_confirmed_ = confirmation.why; return;
  }
}

void CanaryRun::pass(WallTime now) {
  const bool last = state_.stage + 1 == stages_.size();
  if (stage().until_resumed || (last && spec_.on_success == Canary::OnSuccess::kWait)) {
    return set_phase(CanaryPhase::kPassed, assessment_.reason, now);
  }
  if (last) return set_phase(CanaryPhase::kPromoted, assessment_.reason, now);
  const std::string reason = assessment_.reason;
  enter(state_.stage + 1, now);
  const Stage& passed = stages_[state_.stage - 1];
  state_.reason = passed.weight == 0 ? cat("passed copies of ", passed.shadow, " %: ", reason)
                                     : cat("passed ", passed.weight, " %: ", reason);
}

void CanaryRun::enter(uint32_t stage, WallTime now) {
  state_.phase = CanaryPhase::kProgressing;
  state_.stage = stage;
  state_.looks = 0;
  state_.stage_spent = 0s;
  state_.changed = now;
  state_.reason = "it has just begun";
  forget_observed();
}

void CanaryRun::fail(std::string reason, WallTime now) {
  const bool hold = spec_.on_failure == Canary::OnFailure::kHold;
  set_phase(hold ? CanaryPhase::kFailed : CanaryPhase::kRolledBack, std::move(reason), now);
}

void CanaryRun::set_phase(CanaryPhase phase, std::string reason, WallTime now) {
  asks_ = false;
  state_.phase = phase;
  state_.reason = std::move(reason);
  state_.changed = now;
}

void CanaryRun::forget_observed() {
  stable_ = {};
  candidate_ = {};
  forget_verdict();
}

void CanaryRun::forget_verdict() {
  looked_ = assessment_ = {};
  outside_.clear();
  asks_ = false;
  not_confirmed_.clear();
  looked_at_ = 0;
}

Result<void> CanaryRun::command(CanaryCommand command, WallTime now) {
  const CanaryPhase phase = state_.phase;
  switch (command) {
    case CanaryCommand::kPromote:
      if (phase == CanaryPhase::kPromoted) return wrong_moment(state_, command);
      set_phase(CanaryPhase::kPromoted, "promoted by a person", now);
      return {};
    case CanaryCommand::kAbort:
      if (phase == CanaryPhase::kRolledBack) return wrong_moment(state_, command);
      set_phase(CanaryPhase::kRolledBack, "taken back by a person", now);
      return {};
    case CanaryCommand::kPause:
      if (phase != CanaryPhase::kProgressing) return wrong_moment(state_, command);
      set_phase(CanaryPhase::kPaused, "paused by a person", now);
      return {};
    case CanaryCommand::kResume: break;
  }
  switch (phase) {
    case CanaryPhase::kPaused:
      set_phase(CanaryPhase::kProgressing, "resumed by a person", now);
      return {};
    case CanaryPhase::kPassed:
      if (state_.stage + 1 < stages_.size()) {
        enter(state_.stage + 1, now);
      } else {
        set_phase(CanaryPhase::kPromoted, "promoted by a person", now);
      }
      return {};
    case CanaryPhase::kFailed: enter(state_.stage, now); return {};
    case CanaryPhase::kRolledBack:  // From the start, as if it were new.
      state_.spent = 0s;
      state_.touched = 0;
      state_.began = now;
      enter(0, now);
      return {};
    default: return wrong_moment(state_, command);
  }
}

}  // namespace glia
