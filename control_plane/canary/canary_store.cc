#include "control_plane/canary/canary_store.h"

#include "proxy/base/text.h"

namespace glia {

namespace {

// Times are milliseconds, points of time since 1970.
constexpr const char* kCreateTable = R"(
  CREATE TABLE canaries (
    name TEXT PRIMARY KEY, versions TEXT NOT NULL, phase TEXT NOT NULL, stage INTEGER NOT NULL,
    looks INTEGER NOT NULL, spent INTEGER NOT NULL, stage_spent INTEGER NOT NULL,
    touched INTEGER NOT NULL, began INTEGER NOT NULL, changed INTEGER NOT NULL,
    reason TEXT NOT NULL
  ) STRICT;
  PRAGMA user_version = 1;
)";

int64_t ms_of(WallTime time) { return to_ms(time.time_since_epoch()); }
WallTime from_ms(int64_t count) { return WallTime(std::chrono::milliseconds(count)); }

}  // namespace

Result<std::unique_ptr<CanaryStore>> CanaryStore::open(const std::string& path) {
  std::unique_ptr<CanaryStore> store(new CanaryStore);
  TRY_VOID(store->database_.open(path, "to begin every canary anew"));
  TRY_VOID(store->database_.set_up(kCreateTable, kSchemaVersion));
  return store;
}

Result<std::vector<CanaryState>> CanaryStore::load() const {
  TRY(Statement ask,
      database_.prepare("SELECT name, versions, phase, stage, looks, spent, stage_spent, touched, "
                        "began, changed, reason FROM canaries"));
  std::vector<CanaryState> states;
  for (;;) {
    TRY(const bool found, ask.step());
    if (!found) return states;
    const std::optional<CanaryPhase> phase = canary_phase(ask.text(2));
    if (!phase) continue;
    states.push_back({.name = ask.text(0),
                      .versions = ask.text(1),
                      .phase = *phase,
                      .stage = static_cast<uint32_t>(ask.number(3)),
                      .looks = static_cast<uint32_t>(ask.number(4)),
                      .spent = std::chrono::milliseconds(ask.number(5)),
                      .stage_spent = std::chrono::milliseconds(ask.number(6)),
                      .touched = static_cast<uint64_t>(ask.number(7)),
                      .began = from_ms(ask.number(8)),
                      .changed = from_ms(ask.number(9)),
                      .reason = ask.text(10)});
  }
}

Result<void> CanaryStore::save(const CanaryState& state) {
  TRY(Statement put, database_.prepare("INSERT OR REPLACE INTO canaries VALUES "
                                       "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"));
  put.bind(1, state.name).bind(2, state.versions).bind(3, name_of(state.phase));
  put.bind(4, int64_t{state.stage}).bind(5, int64_t{state.looks});
  put.bind(6, to_ms(state.spent)).bind(7, to_ms(state.stage_spent));
  put.bind(8, static_cast<int64_t>(state.touched));
  put.bind(9, ms_of(state.began)).bind(10, ms_of(state.changed)).bind(11, state.reason);
  TRY_VOID(put.step());
  return {};
}

Result<void> CanaryStore::forget(std::string_view name) {
  TRY(Statement statement, database_.prepare("DELETE FROM canaries WHERE name = ?1"));
  TRY_VOID(statement.bind(1, name).step());
  return {};
}

}  // namespace glia
