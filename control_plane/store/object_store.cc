#include "control_plane/store/object_store.h"

#include <set>
#include <utility>

#include "proxy/base/text.h"

namespace glia {
namespace {

// Version 1. Times are seconds since 1970. Of a text that was not there, `had` is 0.
constexpr const char* kCreateTables = R"(
  CREATE TABLE objects (
    kind TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL,
    version INTEGER NOT NULL, PRIMARY KEY (kind, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE versions (
    number INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    bytes INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE changes (
    version INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    had_before INTEGER NOT NULL, text_before TEXT NOT NULL, source_before TEXT NOT NULL,
    had_after INTEGER NOT NULL,
    PRIMARY KEY (version, kind, name)
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = 1;
)";

int64_t seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

Error not_kept(int64_t version, int64_t oldest, int64_t newest) {
  if (newest == 0) return invalid("nothing was ever applied here, so there is no way back");
  return invalid(cat("version ", version, " is not kept; the history has ", oldest, " to ", newest,
                     " (glia history shows them)"));
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> ObjectStore::open(const std::string& path) {
  std::unique_ptr<ObjectStore> store(new ObjectStore);
  TRY_VOID(store->database_.open(path, "to start with no objects but those of --mesh"));
  TRY_VOID(store->database_.set_up(kCreateTables, kSchemaVersion));
  return store;
}

Result<std::vector<ObjectStore::Object>> ObjectStore::objects() const {
  std::vector<Object> all;
  TRY(Statement ask,
      database_.prepare(
          "SELECT kind, name, text, source, version FROM objects ORDER BY kind, name"));
  while (true) {
    TRY(const bool found, ask.step());
    if (!found) return all;
    all.push_back({ask.text(0), ask.text(1), ask.text(2), ask.text(3), ask.number(4)});
  }
}

Result<int64_t> ObjectStore::newest() const {
  TRY(Statement ask, database_.prepare("SELECT coalesce(max(number), 0) FROM versions"));
  TRY_VOID(ask.step());
  return ask.number(0);
}

Result<int64_t> ObjectStore::write(const std::vector<Change>& changes, const Author& author,
                                   int64_t most_bytes) {
  TRY(Transaction transaction, Transaction::begin(database_));
  TRY(const int64_t last, newest());
  const int64_t version = last + 1;
  for (const Change& change : changes) TRY_VOID(write_one(change, version));
  {
    TRY(Statement insert,
        database_.prepare(
            "INSERT INTO versions (number, at, who, what, bytes) VALUES (?1, ?2, ?3, ?4, "
            "(SELECT coalesce(sum(length(text_before)), 0) FROM changes WHERE version = ?1))"));
    insert.bind(1, version).bind(2, seconds(author.at)).bind(3, author.who).bind(4, author.what);
    TRY_VOID(insert.step());
  }
  TRY_VOID(forget_old(version, most_bytes));
  TRY_VOID(transaction.commit());
  return version;
}

Result<void> ObjectStore::write_one(const Change& change, int64_t version) {
  TRY(Statement note,
      database_.prepare(
          "INSERT INTO changes SELECT ?1, ?2, ?3, count(*), coalesce(max(text), ''), "
          "coalesce(max(source), ''), ?4 FROM objects WHERE kind = ?2 AND name = ?3"));
  note.bind(1, version).bind(2, change.kind).bind(3, change.name);
  TRY_VOID(note.bind(4, static_cast<int64_t>(change.text.has_value())).step());
  if (!change.text) {
    TRY(Statement erase, database_.prepare("DELETE FROM objects WHERE kind = ?1 AND name = ?2"));
    TRY_VOID(erase.bind(1, change.kind).bind(2, change.name).step());
    return {};
  }
  TRY(Statement put, database_.prepare("INSERT OR REPLACE INTO objects "
                                       "(kind, name, text, source, version) "
                                       "VALUES (?1, ?2, ?3, ?4, ?5)"));
  put.bind(1, change.kind).bind(2, change.name).bind(3, *change.text).bind(4, change.source);
  TRY_VOID(put.bind(5, version).step());
  return {};
}

Result<void> ObjectStore::forget_old(int64_t newest, int64_t most_bytes) {
  int64_t first = newest - kMostVersions + 1, bytes = 0;
  {
    TRY(Statement ask, database_.prepare("SELECT number, bytes FROM versions WHERE number >= ?1 "
                                         "ORDER BY number DESC"));
    ask.bind(1, first);
    while (true) {
      TRY(const bool found, ask.step());
      if (!found) break;
      bytes += ask.number(1);
      // The newest stays, however large.
      if (bytes > most_bytes && ask.number(0) < newest) {
        first = ask.number(0) + 1;
        break;
      }
    }
  }
  for (const char* sql :
       {"DELETE FROM versions WHERE number < ?1", "DELETE FROM changes WHERE version < ?1"}) {
    TRY(Statement erase, database_.prepare(sql));
    TRY_VOID(erase.bind(1, first).step());
  }
  return {};
}

Result<std::vector<ObjectStore::Version>> ObjectStore::history(int64_t most) const {
  std::vector<Version> all;
  TRY(Statement ask, database_.prepare("SELECT number, at, who, what FROM versions "
                                       "ORDER BY number DESC LIMIT ?1"));
  ask.bind(1, most);
  while (true) {
    TRY(const bool found, ask.step());
    if (!found) break;
    Version version;
    version.number = ask.number(0);
    version.author = {ask.text(2), ask.text(3), WallTime(std::chrono::seconds(ask.number(1)))};
    TRY(Statement touched,
        database_.prepare("SELECT kind, name, had_before, had_after FROM changes "
                          "WHERE version = ?1 ORDER BY kind, name"));
    touched.bind(1, version.number);
    while (true) {
      TRY(const bool more, touched.step());
      if (!more) break;
      version.touched.push_back(
          {touched.text(0), touched.text(1), touched.number(2) != 0, touched.number(3) != 0});
    }
    all.push_back(std::move(version));
  }
  return all;
}

Result<std::vector<ObjectStore::Change>> ObjectStore::back_to(int64_t version) const {
  TRY(Statement ends, database_.prepare("SELECT coalesce(min(number), 0), "
                                        "coalesce(max(number), 0) FROM versions"));
  TRY_VOID(ends.step());
  // What stood before the oldest change that is kept can be had back, too.
  const int64_t oldest = ends.number(0) - 1, newest = ends.number(1);
  if (version < oldest || version > newest || newest == 0) {
    return not_kept(version, oldest, newest);
  }
  // The first change of an object after that version knows what the object was then.
  TRY(Statement ask, database_.prepare("SELECT kind, name, had_before, text_before, source_before "
                                       "FROM changes WHERE version > ?1 ORDER BY version"));
  ask.bind(1, version);
  std::vector<Change> changes;
  std::set<std::pair<std::string, std::string>> seen;
  while (true) {
    TRY(const bool found, ask.step());
    if (!found) return changes;
    if (!seen.emplace(ask.text(0), ask.text(1)).second) continue;
    Change change{ask.text(0), ask.text(1), {}, ask.text(4)};
    if (ask.number(2) != 0) change.text = ask.text(3);
    changes.push_back(std::move(change));
  }
}

}  // namespace glia
