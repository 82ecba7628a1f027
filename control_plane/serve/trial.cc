#include "control_plane/serve/trial.h"

#include <algorithm>

namespace glia {

bool Trial::wants(std::string_view ns, std::string_view identity) const {
  if (full()) return false;
  const auto same = [&](const Voter& voter) { return voter.identity == identity; };
  if (std::ranges::any_of(voters_, same)) return false;
  return std::ranges::count(voters_, ns, &Voter::ns) < static_cast<std::ptrdiff_t>(kOfNamespace);
}

std::size_t Trial::count(Word word, std::string_view ns) const {
  return static_cast<std::size_t>(std::ranges::count_if(voters_, [&](const Voter& voter) {
    return voter.word == word && (ns.empty() || voter.ns == ns);
  }));
}

Trial::Outcome Trial::outcome(TimePoint now) const {
  const std::size_t refused = count(Word::kRefused);
  if (refused >= 2) return Outcome::kStopped;
  const bool overruled = refused == 0 || count(Word::kAccepted) >= kOverrule;
  // Who is slow holds nobody up where others of the namespace have spoken.
  const bool open = std::ranges::any_of(voters_, [this](const Voter& voter) {
    return voter.word == Word::kNothing && count(Word::kAccepted, voter.ns) < kOverrule;
  });
  if (now < ends_ && (open || (!overruled && count(Word::kNothing) > 0))) return Outcome::kOpen;
  return overruled ? Outcome::kPassed : Outcome::kStopped;
}

}  // namespace glia
