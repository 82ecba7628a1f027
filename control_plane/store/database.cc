#include "control_plane/store/database.h"

#include <sqlite3.h>

#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)) {}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int parameter, std::string_view text) {
  CHECK(sqlite3_bind_text64(statement_, parameter, text.data(), text.size(), SQLITE_TRANSIENT,
                            SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(int parameter, int64_t number) {
  CHECK(sqlite3_bind_int64(statement_, parameter, number) == SQLITE_OK);
  return *this;
}

Result<bool> Statement::step() {
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW: return true;
    case SQLITE_DONE: return false;
    default: return database_.failure("use");
  }
}

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (bytes == nullptr) return "";
  return std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}

int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_, column); }

Database::~Database() { sqlite3_close(handle_); }

Result<void> Database::open(const std::string& path) {
  CHECK(handle_ == nullptr);
  path_ = path;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr) != SQLITE_OK) return failure("open");
  sqlite3_busy_timeout(handle_, kBusyTimeoutMs);
  // SQLite falls back to reading only; we would notice much later, at the first join.
  if (sqlite3_db_readonly(handle_, "main") == 1) {
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat("cannot write ", path,
                     ": the file is read-only for this user; give it to the "
                     "user that runs glia-control, or use another --state-dir"));
  }
  return {};
}

Result<void> Database::execute(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return failure("use");
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) const {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr) !=
      SQLITE_OK) {
    return failure("use");
  }
  return Statement(*this, statement);
}

int64_t Database::changes() const { return sqlite3_changes64(handle_); }

Error Database::failure(std::string_view doing) const {
  const int code = handle_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(handle_) & 0xff;
  const char* why = handle_ == nullptr ? "out of memory" : sqlite3_errmsg(handle_);
  std::string fix;
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
    fix =
        "; the file is damaged and was left as it is: restore it from a backup, or move it away "
        "to start a new certificate authority (every sidecar must then join again)";
  } else if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
    fix = "; another process holds it: is a second glia-control running with this --state-dir?";
  } else if (code == SQLITE_READONLY || code == SQLITE_PERM || code == SQLITE_CANTOPEN) {
    fix = "; check that the directory and the file are writable for this user";
  } else if (code == SQLITE_FULL) {
    fix = "; free some space";
  }
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot ", doing, " ", path_, ": ", why, fix));
}

Result<Transaction> Transaction::begin(Database& database) {
  TRY_VOID(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)) {}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  const Result<void> undone = database_->execute("ROLLBACK");
  if (!undone) LOG(error, undone.error().message());
}

Result<void> Transaction::commit() {
  TRY_VOID(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace glia
