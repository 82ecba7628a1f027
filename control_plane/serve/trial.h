// Trial: a change at a few sidecars before all the others get it: who is asked, and what follows from
// what they say.
//
// A sidecar that refuses (NACK) shows a mistake that no check of ours found, so a refusal stops the
// change and everybody has the old one again. But each sidecar belongs to somebody, and a machine can
// be at fault alone (a port that is taken, an old version), so one identity by itself does not stop
// what two others have accepted: it keeps what it had, as it is shown. One vote an identity, for who
// holds one certificate can speak for every workload that has it. Silence stops nothing: the trial
// ends after kWait, and who was silent is not asked again for kLatePause.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"

namespace glia {

class Trial {
 public:
  static constexpr Duration kWait = 500ms;  // Until all the others get the change.
  // Identities that are asked, of one namespace and in all: sidecars of a namespace get nearly the
  // same, those of others may not.
  static constexpr std::size_t kOfNamespace = 3;
  static constexpr std::size_t kMost = 30;
  static constexpr std::size_t kOverrule = 2;   // So many accept what one alone refuses.
  static constexpr Duration kLatePause = 1min;  // For a sidecar that has let a trial wait.

  enum class Word : uint8_t { kNothing, kAccepted, kRefused };
  struct Voter {
    std::string workload, ns, identity;  // "namespace/name", "namespace", SPIFFE id.
    Word word = Word::kNothing;
    std::string sentence = {};  // What it refuses and why.
  };
  enum class Outcome : uint8_t { kOpen, kPassed, kStopped };

  explicit Trial(TimePoint now) : ends_(now + kWait) {}

  bool full() const { return voters_.size() == kMost; }
  // Is there room for a sidecar of that namespace, and has its identity no vote yet?
  bool wants(std::string_view ns, std::string_view identity) const;
  void add(Voter voter) { voters_.push_back(std::move(voter)); }
  std::vector<Voter>& voters() { return voters_; }
  const std::vector<Voter>& voters() const { return voters_; }
  TimePoint ends() const { return ends_; }
  Outcome outcome(TimePoint now) const;

 private:
  std::size_t count(Word word, std::string_view ns = {}) const;

  const TimePoint ends_;
  std::vector<Voter> voters_;
};

}  // namespace glia
