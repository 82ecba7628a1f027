// Storm: connections one after the other, each for one HTTP/1.1 request. Over mutual TLS the handshake
// is a full one or a resumed one, as asked; the same in clear text is what is taken away from it, so
// that what is left is the handshake alone.
//
// Our own client keeps no sessions, so this speaks to BoringSSL itself. The answer proves that the
// proxy accepted our certificate; in TLS 1.3 a client's own end of the handshake does not.
#pragma once

#include <openssl/base.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/net/x509.h"

namespace glia {

enum class Handshake : uint8_t { kNone, kFull, kResumed };

struct StormReport {
  uint64_t asked = 0, answered = 0, errors = 0;
  std::string first_error;
  double seconds = 0;
};

class Storm {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // From the top of the loop; the owner destroys the storm later.
    virtual void on_storm_over(const StormReport& report) = 0;
  };
  static constexpr std::size_t kAtOnce = 8;  // connections
  static constexpr Duration kPatience = 60s;

  // A client's TLS with a certificate; only TLS 1.3, X25519 and ALPN http/1.1. The proxy is not
  // verified: that is the client's work, and not measured.
  static Result<std::shared_ptr<SSL_CTX>> make_context(const Identity& identity);

  // Begins at once. `context` is null exactly for Handshake::kNone.
  Storm(EventLoop& loop, Network& network, Address to, Handshake handshake, uint64_t count,
        std::shared_ptr<SSL_CTX> context, Owner& owner);
  ~Storm();

 private:
  class Visit;
  void visit();
  void finished(Visit& visit, const std::string& error);
  void settle();
  // Whether the next visit may come without a session: those that fetch the first sessions.
  bool priming() const { return handshake_ == Handshake::kResumed && primed_ < kAtOnce; }

  EventLoop& loop_;
  Network& network_;
  const Address to_;
  const Handshake handshake_;
  const std::shared_ptr<SSL_CTX> context_;
  Owner& owner_;
  StormReport report_;
  uint64_t begun_ = 0;
  std::size_t primed_ = 0;
  std::vector<bssl::UniquePtr<SSL_SESSION>> sessions_;  // Each is used once.
  std::vector<std::unique_ptr<Visit>> visits_;
  TimePoint started_;
  CallbackTimer settled_;
  CallbackTimer patience_;
};

}  // namespace glia
