// Configuration: what the proxy runs with, on the main thread: the draft, its drawing, and what was
// refused. Whoever brings resources (ADS, the identity client, the translator of a standalone mesh)
// calls it; workers get the drawings.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/loop.h"
#include "proxy/xds/draft.h"
#include "proxy/xds/file.h"
#include "proxy/xds/freeze.h"

namespace glia {

struct Push {
  ResourceKind kind;
  std::string version;
  std::vector<std::string_view> resources;  // Borrowed.
  // Nothing: state of the world, as Draft::apply() has it; else as Draft::change().
  std::optional<DeltaPart> delta = {};
  std::set<std::string> unsaid = {};  // Of a state of the world: see Draft::apply().
};

class Configuration {
 public:
  // `publish` is called from the top of the loop, at most once a turn, with a drawing that differs
  // from the one before; the first time after start().
  Configuration(EventLoop& loop, Bootstrap bootstrap, std::function<void(SnapshotRef)> publish);

  // `check` says whether this process can run a drawing; what it cannot run is refused like what is wrong in
  // itself. Called for all that comes after it is set.
  void check_with(Freezer::Check check) { check_ = std::move(check); }

  // Draws the static resources.
  Result<void> start();
  // One push, whole or not at all; the error is the sentence for the NACK.
  Result<void> push(ResourceKind kind, const std::string& version,
                    const std::vector<std::string_view>& resources);
  // Pushes of several kinds, in an order in which each could be applied; all of them or none.
  Result<void> push(const std::vector<Push>& pushes);
  // The same for what an earlier run has kept: nobody waits for an answer to that, so a failure is no
  // refusal.
  Result<void> restore(const std::vector<Push>& pushes) { return adopt_with(pushes); }
  // Forgets dynamic resources whose time is over; the error says why they must stay.
  Result<void> expire(ResourceKind kind, const std::set<std::string>& names);
  // A secret that the proxy holds itself; TLS contexts that use it are made anew.
  Result<void> set_secret(SecretResource secret);

  const Bootstrap& bootstrap() const { return bootstrap_; }
  const Draft& draft() const { return draft_; }
  const SnapshotRef& snapshot() const { return freezer_.current(); }
  const std::vector<std::string>& warming() const { return freezer_.warming(); }

  // The newest push of a kind that was refused, until one is accepted.
  struct Refusal {
    std::string version, sentence;
    WallTime when;
  };
  const std::optional<Refusal>& refusal(ResourceKind kind) const {
    return refusals_[static_cast<std::size_t>(kind)];
  }

 private:
  // Draws `draft` and, if that goes well, keeps it.
  Result<void> adopt(Draft draft);
  Result<void> adopt_with(const std::vector<Push>& pushes);

  Bootstrap bootstrap_;  // Its draft was moved to draft_.
  Draft draft_;
  Freezer freezer_;
  std::optional<Refusal> refusals_[5];
  std::function<void(SnapshotRef)> publish_;
  Freezer::Check check_;
  SnapshotRef published_;
  EventLoop& loop_;
  CallbackTimer publishing_;
};

}  // namespace glia
