// Database: one SQLite file, as statements that return a Result.
//
// A thin layer so that every failure is a sentence that names the file. It knows no tables; those
// are store/store.h's. Everything belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace glia {

class Database;

// One prepared statement; borrowed from its database, which must outlive it.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Parameters count from 1, columns from 0, as SQLite has them.
  Statement& bind(int parameter, std::string_view text);
  Statement& bind(int parameter, int64_t number);
  // Whether there is a row to look at; false at the end.
  Result<bool> step();
  std::string text(int column) const;
  int64_t number(int column) const;

 private:
  friend class Database;
  Statement(const Database& database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}
  const Database& database_;
  sqlite3_stmt* statement_;
};

class Database {
 public:
  // How long another process (a backup, a person with sqlite3) may hold the file locked.
  static constexpr int kBusyTimeoutMs = 2000;

  Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // Opens the file for reading and writing, and makes it (mode 0600) if there is none. `if_lost`, for
  // sentences: what its loss means, "to start a new certificate authority (...)".
  Result<void> open(const std::string& path, std::string_view if_lost);
  // Makes the tables of layout `version` with `create` if there are none. Refuses files that are damaged
  // or of a newer layout, and leaves them as they are.
  Result<void> set_up(const char* create, int version);
  // Statements without parameters and without rows, separated by ';'.
  Result<void> execute(const char* sql);
  Result<Statement> prepare(std::string_view sql) const;
  // Rows that the last statement changed.
  int64_t changes() const;
  const std::string& path() const { return path_; }

 private:
  friend class Statement;
  Error failure(std::string_view doing) const;

  std::string path_, if_lost_;
  sqlite3* handle_ = nullptr;
};

// BEGIN IMMEDIATE ... COMMIT; rolls back when it is destroyed without commit().
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;  // Null once it is over.
};

}  // namespace glia
