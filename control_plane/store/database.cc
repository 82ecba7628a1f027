#include "control_plane/store/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
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

namespace {

constexpr int kMode = 0600;

Error trouble(std::string message) {
  return Error(ErrorKind::kInternal, Fault::kSelf, std::move(message));
}

// SQLite would take an empty file for a new database. One that we did not just make may have been a
// database that lost its content, so it is for a person to decide.
Result<void> make_or_check_file(const std::string& path, std::string_view if_lost) {
  const int file = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, kMode);
  if (file >= 0) {
    ::close(file);
    return {};
  }
  if (errno != EEXIST) {
    return trouble(cat("cannot create ", path, ": ", std::strerror(errno)));
  }
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) {
    return trouble(cat("cannot look at ", path, ": ", std::strerror(errno)));
  }
  if (!S_ISREG(status.st_mode)) return trouble(cat(path, " is not a file; move it away"));
  if (status.st_size == 0) {
    return trouble(cat(path, " is empty: restore it from a backup, or delete it ", if_lost));
  }
  if ((status.st_mode & 077) != 0 && ::chmod(path.c_str(), kMode) == 0) {
    LOG(warning, path,
        " could be read by others although it may hold secrets; its mode is 0600 now");
  }
  return {};
}

}  // namespace

Result<void> Database::open(const std::string& path, std::string_view if_lost) {
  CHECK(handle_ == nullptr);
  path_ = path;
  if_lost_ = if_lost;
  TRY_VOID(make_or_check_file(path, if_lost));
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

Result<void> Database::set_up(const char* create, int known) {
  // Reads the first page, so a file that is no database is found here, before anything is written.
  TRY_VOID(execute("PRAGMA schema_version"));
  int64_t version = 0;
  {
    TRY(Statement ask, prepare("PRAGMA user_version"));
    TRY(const bool found, ask.step());
    if (found) version = ask.number(0);
  }
  if (version > known) {
    return trouble(cat(path_, " was written by a newer glia-control (layout ", version,
                       ", this one knows ", known,
                       "); run that version, or use another --state-dir"));
  }
  if (version == known) {
    // A damaged page should be found at start, not when it is needed.
    TRY(Statement check, prepare("PRAGMA quick_check(1)"));
    TRY(const bool found, check.step());
    if (found && check.text(0) != "ok") {
      return trouble(cat(path_, " is damaged (", check.text(0),
                         ") and was left as it is: restore it from a backup"));
    }
  } else {
    TRY(Transaction transaction, Transaction::begin(*this));
    TRY_VOID(execute(create));
    TRY_VOID(transaction.commit());
  }
  return execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
}

int64_t Database::changes() const { return sqlite3_changes64(handle_); }

Error Database::failure(std::string_view doing) const {
  const int code = handle_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(handle_) & 0xff;
  const char* why = handle_ == nullptr ? "out of memory" : sqlite3_errmsg(handle_);
  std::string fix;
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
    fix = cat(
        "; the file is damaged and was left as it is: restore it from a backup, or move it away ",
        if_lost_);
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
