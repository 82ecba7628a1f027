// CanaryRun: one canary on its way from the first stage to promotion or back. A state machine without
// clock and sockets: it is told what was observed and which time has passed.
//
// What must survive a restart is CanaryState. What was observed does not: after a restart a stage
// begins to count anew, but its looks do not, so that a restart gives nobody a second chance.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control_plane/canary/assess.h"
#include "control_plane/canary/confirmations.h"
#include "proxy/base/result.h"

namespace glia {

enum class CanaryPhase : uint8_t {
  kProgressing,
  kPaused,      // By a person; still judged, and taken back if it is bad.
  kPassed,      // A stage that wants to be resumed, or promoted, is passed; still judged.
  kFailed,      // Bad, but spec.onFailure is Hold.
  kPromoted,    // All requests go to the candidate.
  kRolledBack,  // None do.
};
std::string_view name_of(CanaryPhase phase);  // "progressing", "rolled back", ...
std::optional<CanaryPhase> canary_phase(std::string_view name);

struct CanaryState {
  std::string name;      // "namespace/name"
  std::string versions;  // What is replaced by what; another text is another canary.
  CanaryPhase phase = CanaryPhase::kProgressing;
  uint32_t stage = 0;
  uint32_t looks = 0;           // In this stage.
  Duration spent{0};            // Progressing, in all; what spec.timeLimit limits.
  Duration stage_spent{0};      // Progressing, in this stage; what a step's pause wants.
  uint64_t touched = 0;         // Requests that the candidate answered.
  WallTime began{}, changed{};  // The canary; its phase or stage.
  std::string reason;           // Why it is where it is, in a sentence.
  bool operator==(const CanaryState&) const = default;
};

enum class CanaryCommand : uint8_t { kPromote, kAbort, kPause, kResume };
std::string_view name_of(CanaryCommand command);  // "promote", ...
std::optional<CanaryCommand> canary_command(std::string_view name);

class CanaryRun {
 public:
  struct Stage {
    uint32_t weight = 0, shadow = 0;
    Duration pause{0};
    bool until_resumed = false;
    bool operator==(const Stage&) const = default;
  };
  // What came since the observation before.
  struct Observation {
    Duration passed{0};
    WallTime now{};
    Observed stable, candidate;
    // Of the metrics that come from outside, in their order, since the observation before.
    std::vector<OutsideValue> outside = {};
  };
  // So many answers in a row must agree before a metric from outside decides anything.
  static constexpr uint32_t kAgreeing = 3;

  // So long sidecars may still report of what was in force before.
  static constexpr Duration kAftermath = 10s;

  // Begins anew, or where `state` is, if that is of the same versions.
  CanaryRun(const Canary& canary, WallTime now, const CanaryState* state = nullptr);

  // The YAML has changed, the versions have not. What was seen in the stage counts on as long as the
  // stage is the same, and copies are compared as before; a verdict only as long as it is judged by
  // the same. The looks count on in any case. True if the verdict of before
  // is forgotten.
  bool edit(const Canary& canary, WallTime now);
  void observe(const Observation& observation);
  Result<void> command(CanaryCommand command, WallTime now);

  // Would it go on if spec.confirm agreed? Then what to ask, as JSON.
  bool asks() const { return asks_; }
  std::string question() const;
  // Left alone if it does not ask any more.
  void confirm(const Confirmation& confirmation, WallTime now);

  const CanaryState& state() const { return state_; }
  const Canary::Spec& spec() const { return spec_; }
  const std::vector<Stage>& stages() const { return stages_; }
  Canary::Split split() const;
  // Is it still judged by what is observed?
  bool is_open() const;
  // Are its requests still counted? Also for kAftermath after it was taken back, for what was under
  // way then, or not yet reported; and of one that failed and is held.
  bool is_counted(WallTime now) const;
  // The newest look; empty before the first.
  const Assessment& assessment() const { return assessment_; }
  const Observed& stable() const { return stable_; }
  const Observed& candidate() const { return candidate_; }

  static std::string versions_of(const Canary& canary);

 private:
  const Stage& stage() const { return stages_[state_.stage]; }
  bool in_shadow() const { return stage().weight == 0; }
  void judge(WallTime now);
  // Why nothing can be said yet; "" if something can.
  std::string missing() const;
  std::string incomplete() const;
  void look();
  void pass(WallTime now);
  void enter(uint32_t stage, WallTime now);
  void fail(std::string reason, WallTime now);
  void set_phase(CanaryPhase phase, std::string reason, WallTime now);
  void forget_observed();
  void forget_verdict();
  void hear_outside(const std::vector<OutsideValue>& values);
  // Puts what sidecars and others tell together.
  void combine();

  // What a metric from outside was told last, and how often in a row it came out so.
  struct Told {
    Finding finding;
    uint32_t times = 0;
  };

  Canary::Spec spec_;
  std::vector<Stage> stages_;
  CanaryState state_;
  Observed stable_, candidate_;  // In this stage.
  Assessment looked_;            // The newest look at what sidecars told.
  std::vector<Told> outside_;
  Assessment assessment_;  // Of both.
  bool asks_ = false;
  std::string not_confirmed_;  // Why it asks again.
  uint64_t looked_at_ = 0;     // The smaller sample at the newest look.
  Duration unheard_{0};        // What is reported in it may be of other rules of comparison.
};

}  // namespace glia
