#include "control_plane/store/store.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

// Version 1. Times are seconds since 1970.
constexpr const char* kCreateTables = R"(
  CREATE TABLE root (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    certificate TEXT NOT NULL, private_key TEXT NOT NULL, created INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE tokens (
    hash TEXT PRIMARY KEY, workload TEXT NOT NULL, created INTEGER NOT NULL,
    expires INTEGER NOT NULL, used INTEGER, used_by_key TEXT
  ) STRICT;
  CREATE TABLE certificates (
    serial TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, workload TEXT NOT NULL,
    not_after INTEGER NOT NULL, issued INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX certificates_by_end ON certificates (not_after);
  PRAGMA user_version = 1;
)";

int64_t seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}
WallTime from_seconds(int64_t count) { return WallTime(std::chrono::seconds(count)); }

}  // namespace

std::string sha256_hex(std::string_view bytes) {
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), digest);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string make_token() {
  char secret[32];
  CHECK(RAND_bytes(reinterpret_cast<uint8_t*>(secret), sizeof secret) == 1);
  return cat("glia-", sha256_hex({secret, sizeof secret}));
}

Result<std::unique_ptr<Store>> Store::open(const std::string& path, WallTime now) {
  std::unique_ptr<Store> store(new Store);
  TRY_VOID(store->database_.open(
      path, "to start a new certificate authority (every sidecar must then join again)"));
  TRY_VOID(store->database_.set_up(kCreateTables, kSchemaVersion));
  TRY_VOID(store->forget_expired(now));
  return store;
}

Result<void> Store::forget_expired(WallTime now) {
  const int64_t before = seconds(now - kKeepExpired);
  for (const char* sql :
       {"DELETE FROM tokens WHERE expires < ?1", "DELETE FROM certificates WHERE not_after < ?1"}) {
    TRY(Statement statement, database_.prepare(sql));
    TRY_VOID(statement.bind(1, before).step());
  }
  return {};
}

Result<std::optional<Store::Root>> Store::root() const {
  TRY(Statement ask, database_.prepare("SELECT certificate, private_key FROM root"));
  TRY(const bool found, ask.step());
  if (!found) return std::optional<Root>();
  return std::optional<Root>(Root{ask.text(0), ask.text(1)});
}

Result<void> Store::save_root(const Root& root, WallTime now) {
  TRY(Statement statement,
      database_.prepare("INSERT INTO root (id, certificate, private_key, created) "
                        "VALUES (1, ?1, ?2, ?3)"));
  statement.bind(1, root.certificate).bind(2, root.private_key).bind(3, seconds(now));
  TRY_VOID(statement.step());
  return {};
}

Result<void> Store::add_token(std::string_view hash, std::string_view workload, WallTime expires,
                              WallTime now) {
  TRY_VOID(forget_expired(now));
  TRY(Statement ask,
      database_.prepare("SELECT count(*) FROM tokens WHERE used IS NULL AND expires >= ?1"));
  TRY_VOID(ask.bind(1, seconds(now)).step());
  if (ask.number(0) >= kMostOpenTokens) {
    return Error(ErrorKind::kOverflow, Fault::kSelf,
                 cat("there are already ", kMostOpenTokens,
                     " unused join tokens; wait until some "
                     "expire"));
  }
  TRY(Statement statement,
      database_.prepare("INSERT INTO tokens (hash, workload, created, expires) "
                        "VALUES (?1, ?2, ?3, ?4)"));
  statement.bind(1, hash).bind(2, workload).bind(3, seconds(now)).bind(4, seconds(expires));
  TRY_VOID(statement.step());
  return {};
}

Result<std::optional<Store::Token>> Store::token(std::string_view hash) const {
  TRY(Statement ask,
      database_.prepare(
          "SELECT workload, expires, coalesce(used, 0), coalesce(used_by_key, '') FROM tokens "
          "WHERE hash = ?1"));
  TRY(const bool found, ask.bind(1, hash).step());
  if (!found) return std::optional<Token>();
  Token token{ask.text(0), from_seconds(ask.number(1)), {}, ask.text(3)};
  if (ask.number(2) != 0) token.used = from_seconds(ask.number(2));
  return std::optional<Token>(std::move(token));
}

Result<void> Store::add_certificate(const Certificate& certificate, WallTime now,
                                    std::string_view token_hash, std::string_view key_hash) {
  TRY(Transaction transaction, Transaction::begin(database_));
  TRY_VOID(forget_expired(now));
  TRY(Statement insert,
      database_.prepare("INSERT INTO certificates (serial, spiffe_id, workload, not_after, issued) "
                        "VALUES (?1, ?2, ?3, ?4, ?5)"));
  insert.bind(1, certificate.serial).bind(2, certificate.spiffe_id).bind(3, certificate.workload);
  insert.bind(4, seconds(certificate.not_after)).bind(5, seconds(now));
  TRY_VOID(insert.step());
  if (!token_hash.empty()) {
    TRY(Statement use, database_.prepare("UPDATE tokens SET used = ?1, used_by_key = ?2 "
                                         "WHERE hash = ?3 AND (used IS NULL OR used_by_key = ?2)"));
    TRY_VOID(use.bind(1, seconds(now)).bind(2, key_hash).bind(3, token_hash).step());
    if (database_.changes() != 1) {
      return Error(ErrorKind::kDenied, Fault::kDownstream, "the join token was used already");
    }
  }
  return transaction.commit();
}

Result<std::optional<Store::Certificate>> Store::certificate(std::string_view serial) const {
  TRY(Statement ask,
      database_.prepare(
          "SELECT spiffe_id, workload, not_after FROM certificates WHERE serial = ?1"));
  TRY(const bool found, ask.bind(1, serial).step());
  if (!found) return std::optional<Certificate>();
  return std::optional<Certificate>(
      Certificate{std::string(serial), ask.text(0), ask.text(1), from_seconds(ask.number(2))});
}

}  // namespace glia
