// TLS over any stream, with BoringSSL. Records go through memory: the socket is read in large
// pieces and written once a turn, however many records that makes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/time.h"
#include "proxy/net/stream.h"

namespace glia {

// How the value of a name in a certificate is matched (Envoy's StringMatcher, without regex).
struct SanMatch {
  enum class Kind { kExact, kPrefix, kSuffix, kContains };
  enum class Type { kUri, kDns, kIp, kEmail };
  Type type = Type::kUri;
  Kind kind = Kind::kExact;
  std::string value;
  friend bool operator==(const SanMatch&, const SanMatch&) = default;
};

struct TlsOptions {
  // PEM. A chain, leaf first, and its key; both empty for a client without a certificate.
  std::string certificate_chain;
  std::string private_key;
  // PEM of the authorities that the peer's chain must end in. Empty: the peer is not verified.
  std::string trusted_ca;
  // Server: ask for a client certificate; refuse the handshake without one if required.
  bool request_client_certificate = false;
  bool require_client_certificate = false;
  // The peer's certificate must carry a name that one of these matches; empty: any.
  std::vector<SanMatch> peer_sans;
  std::vector<std::string> alpn;  // In order of preference, "h2", "http/1.1".
  std::string server_name;        // Client: SNI; empty sends none.
  int minimum_version = 0x0303;   // Wire version, 0x0303 = TLS 1.2.
  int maximum_version = 0x0304;
  std::vector<std::string> cipher_suites;  // TLS 1.2 names as BoringSSL knows them; empty: ours.
  std::vector<std::string> groups;         // "X25519"; empty: X25519MLKEM768, X25519, P-256.
  // Server: tickets are given out, and live so long.
  bool tickets = true;
  Duration ticket_lifetime = 3600s;
  // Server: the listener and chain. A ticket of another one means a whole handshake, although its
  // configuration may be the same.
  std::string ticket_scope;
  // Client: sessions kept for one endpoint on one worker; 0: every handshake is a whole one.
  uint32_t sessions = 4;
};

// A connection whose peer's certificate has run out since the handshake goes on for this long.
inline constexpr Duration kExpiredGrace = 60s;
// How often live connections are looked at for that, and how long one that must end may finish
// what it carries. Together less than a minute.
inline constexpr Duration kPeerCheck = 10s;
inline constexpr Duration kUnwantedTime = 45s;

class TlsSessions;
class VerifiedChains;

// Counts of one cluster or listener on one worker.
struct TlsStats {
  uint64_t handshakes = 0, resumed = 0;  // That succeeded; of these.
  uint64_t failed = 0;
};

// What the owner of a stream lends to it; outlives it.
struct TlsLoan {
  TlsStats* stats = nullptr;
  TlsSessions* sessions = nullptr;     // Client.
  VerifiedChains* verified = nullptr;  // Of one worker.
};

// A finished, immutable TLS configuration: keys parsed, stores built. Shared by all workers.
class TlsContext {
 public:
  enum class Side { kServer, kClient };
  // Errors name what is wrong with which PEM.
  static Result<std::shared_ptr<const TlsContext>> create(Side side, const TlsOptions& options);
  virtual ~TlsContext() = default;

  // Wraps `under`. The stream opens when the handshake ends, and breaks if it fails or takes longer
  // than `handshake_limit`.
  virtual std::unique_ptr<Stream> wrap(class EventLoop& loop, std::unique_ptr<Stream> under,
                                       Duration handshake_limit, const TlsLoan& loan) const = 0;
  std::unique_ptr<Stream> wrap(class EventLoop& loop, std::unique_ptr<Stream> under,
                               Duration handshake_limit) const {
    return wrap(loop, std::move(under), handshake_limit, {});
  }
  // Whether every peer that `earlier` let in would still be let in. If not, connections from its
  // time must end: an authority has left the bundle, or the rules have become stricter.
  virtual bool accepts_all_of(const TlsContext& earlier) const = 0;
  // What /certs shows of our own certificate.
  struct CertificateInfo {
    std::string subject, serial;
    std::vector<std::string> uri_sans, dns_sans;
    WallTime not_before, not_after;
  };
  virtual std::optional<CertificateInfo> own_certificate() const = 0;
  virtual std::vector<CertificateInfo> trusted_certificates() const = 0;
};

}  // namespace glia
