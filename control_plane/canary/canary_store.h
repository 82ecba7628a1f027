// CanaryStore: how far every canary is, in a SQLite file of its own beside the control plane's other
// one: losing it sends canaries back to their first stage and nothing worse, so unlike that one it is
// made anew if it is missing. Belongs to one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control_plane/canary/canary_run.h"
#include "control_plane/store/database.h"

namespace glia {

class CanaryStore {
 public:
  static constexpr int kSchemaVersion = 1;

  // Makes the file (0600) if there is none.
  static Result<std::unique_ptr<CanaryStore>> open(const std::string& path);

  // What this build cannot read (the word of a phase) is left out.
  Result<std::vector<CanaryState>> load() const;
  Result<void> save(const CanaryState& state);
  Result<void> forget(std::string_view name);

 private:
  CanaryStore() = default;
  mutable Database database_;
};

}  // namespace glia
