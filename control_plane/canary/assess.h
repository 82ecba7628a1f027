// assess: what a candidate's requests say about it, beside those of the stable version in the same
// time. A pure function; docs/canaries.md explains it to users.
//
// Each metric is a question with three answers, by bounds on how much worse the candidate is: surely
// worse than tolerated (roll back), surely not (advance), or not yet known (hold). Because it is asked
// again and again, the k-th look may be wrong only in 6 / (pi^2 k^2) of the error that is allowed;
// these add up to all of it, so however often one looks, the promise holds (Bonferroni's inequality;
// no look needs to know how many will follow). Against taking back a good version the error is shared
// by all stages and metrics as well, since one wrong answer is enough for that. To let a bad one
// pass, all of them must err, so there each may use it whole.
//
// No sidecar alone carries a candidate on. With at least three, each in one of three parts, the same
// is asked without each part: if the others surely find it worse, it is taken back, however many
// good requests the part tells of; if only one part finds it worse and the others surely do not, it
// holds.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control_plane/canary/observed.h"
#include "control_plane/objects/canary.h"

namespace glia {

enum class Verdict : uint8_t { kAdvance, kHold, kRollBack };
std::string_view name_of(Verdict verdict);

struct Finding {
  Canary::Metric metric;
  Verdict verdict = Verdict::kHold;
  double stable = 0, candidate = 0;  // Percent, milliseconds or tokens a second.
  uint64_t stable_count = 0, candidate_count = 0;
  // How much worse the candidate is: points of percent or percent; negative: better.
  double low = 0, high = 0;
  std::string sentence;
};

struct Assessment {
  Verdict verdict = Verdict::kHold;
  std::string reason;  // The sentence of the finding that decided.
  std::vector<Finding> findings;
};

// What somebody outside tells of a metric now.
struct OutsideValue {
  std::optional<double> candidate, stable;
  std::string why;  // There is no value.
};

struct Look {
  uint32_t number = 1;  // From 1, of those in this stage.
  uint32_t stages = 1;  // Of the canary.
  bool shadow = false;  // The candidate gets copies only.
};

// Looks are taken when the smaller sample has grown by this, from minimumRequests on: more often
// would spend the error on the same requests.
inline constexpr double kLookGrowth = 1.25;

Assessment assess(const Canary::Analysis& analysis, const Observed& stable,
                  const Observed& candidate, const Look& look);

// One metric that comes from outside. Nothing is known of how many requests made such a number, so it is
// compared as it is: the caller asks more than once.
Finding assess_outside(const Canary::Metric& metric, const OutsideValue& value);

}  // namespace glia
