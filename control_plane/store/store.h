// Store: what a control plane must not forget: the authority's key, join tokens, issued
// certificates.
//
// One SQLite file in write-ahead mode, mode 0600 because the key stands in it. Tokens are kept as
// hashes only, so that the file does not let its reader join. A file that is damaged, too new or
// not writable is an error and is left as it is: losing the key means that every sidecar must join
// again. Everything belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "control_plane/store/database.h"
#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

class Store {
 public:
  // The newest layout of the tables that this build knows.
  static constexpr int kSchemaVersion = 1;
  // Join tokens that wait to be used, at most; a loop that makes tokens cannot fill the disk.
  static constexpr int64_t kMostOpenTokens = 10'000;
  // Used-up tokens and expired certificates are kept this long for people who look into the file.
  static constexpr Duration kKeepExpired = 7 * 24h;

  // Makes the file (0600) if there is none. What has expired kKeepExpired before `now` is thrown out,
  // here and wherever something is added.
  static Result<std::unique_ptr<Store>> open(const std::string& path, WallTime now);

  struct Root {
    std::string certificate;  // PEM
    std::string private_key;  // PEM, a secret
  };
  // The certificate authority; nothing before the first save_root().
  Result<std::optional<Root>> root() const;
  // Refuses to replace one that is there.
  Result<void> save_root(const Root& root, WallTime now);

  struct Token {
    std::string workload;  // "namespace/name"
    WallTime expires;
    std::optional<WallTime> used;
    std::string used_by_key;  // Hash of the public key that used it; "" while unused.
  };
  // `hash`: see hash_of_token. kOverflow at kMostOpenTokens.
  Result<void> add_token(std::string_view hash, std::string_view workload, WallTime expires,
                         WallTime now);
  Result<std::optional<Token>> token(std::string_view hash) const;

  struct Certificate {
    std::string serial;  // Lower-case hex.
    std::string spiffe_id;
    std::string workload;
    WallTime not_after;
  };
  // Remembers a certificate; with `token_hash` also marks that token as used by `key_hash`, both or
  // neither. kDenied if the token was used by another key in the meantime.
  Result<void> add_certificate(const Certificate& certificate, WallTime now,
                               std::string_view token_hash = {}, std::string_view key_hash = {});
  Result<std::optional<Certificate>> certificate(std::string_view serial) const;

 private:
  Store() = default;
  // At start and with whatever is added, so that the file does not grow with the age of the process.
  Result<void> forget_expired(WallTime now);

  mutable Database database_;
};

// Lower-case hex of SHA-256.
std::string sha256_hex(std::string_view bytes);
// 256 random bits, "glia-" and lower-case hex: what stands in a join file.
std::string make_token();
// How a token is kept. Plain SHA-256 is enough for 256 random bits.
inline std::string hash_of_token(std::string_view token) { return sha256_hex(token); }

}  // namespace glia
