// What a TLS configuration becomes: BoringSSL's context and the rules for peers. Private to
// net/tls.
#pragma once

#include <openssl/ssl.h>

#include <string>
#include <vector>

#include "proxy/net/certificate.h"
#include "proxy/net/tls.h"

namespace glia {

class TlsStream;

// Streams share the ownership: a configuration that was replaced lives as long as its last
// connection.
class BoringContext final : public TlsContext, public std::enable_shared_from_this<BoringContext> {
 public:
  static Result<std::shared_ptr<const TlsContext>> make(Side side, const TlsOptions& options);

  using TlsContext::wrap;
  std::unique_ptr<Stream> wrap(EventLoop& loop, std::unique_ptr<Stream> under,
                               Duration handshake_limit, const TlsLoan& loan) const override;
  bool accepts_all_of(const TlsContext& earlier) const override;
  std::optional<CertificateInfo> own_certificate() const override;
  std::vector<CertificateInfo> trusted_certificates() const override;

  SSL_CTX* raw() const { return context_.get(); }
  Side side() const { return side_; }
  const TlsOptions& options() const { return options_; }
  const std::vector<std::string>& own_uri_sans() const { return own_uri_sans_; }
  bool verifies_peer() const { return !trusted_.empty(); }

 private:
  BoringContext(Side side, const TlsOptions& options) : side_(side), options_(options) {}
  Result<void> load_own_certificate();
  Result<void> load_trusted();
  Result<void> set_protocol();
  Result<void> set_alpn();
  void name_authorities();
  void set_resumption();
  void set_tickets();
  static ssl_select_cert_result_t scope_tickets(const SSL_CLIENT_HELLO* hello);
  static int select_alpn(SSL* ssl, const uint8_t** out, uint8_t* out_size, const uint8_t* offered,
                         unsigned offered_size, void* self);
  // BoringSSL's callback for what the peer sent.
  static ssl_verify_result_t verify_peer(SSL* ssl, uint8_t* alert);
  // What keeps it from being accepted; "" if nothing does. `alert` is what to tell the peer.
  std::string fault_of(const SSL* ssl, TlsStream& stream, uint8_t& alert) const;
  // Of what the peer sent and all that decides whether it is good, but for the time.
  std::string digest_of(const STACK_OF(CRYPTO_BUFFER) * sent) const;

  const Side side_;
  TlsOptions options_;  // Without the private key once it is loaded.
  bssl::UniquePtr<SSL_CTX> context_;
  bssl::UniquePtr<X509_STORE> store_;  // Of trusted_.
  bssl::UniquePtr<X509> own_;
  std::vector<std::string> own_uri_sans_;
  std::vector<bssl::UniquePtr<X509>> trusted_;
  std::string peer_rules_;    // A digest of what a peer's certificate is held against.
  std::string alpn_wire_;     // RFC 7301: each name behind its length.
  std::string ticket_rules_;  // Server: a digest of what a ticket of ours stands for.
};

// What a peer sent, leaf first, parsed; empty if it sent nothing, or what is no certificate.
using PeerChain = std::vector<bssl::UniquePtr<X509>>;
PeerChain parse_peer_chain(const SSL* ssl);

// The rules beyond path validation (RFC 5280 is BoringSSL's): key strength, exactly one URI SAN,
// the rules of X509-SVID if that is a SPIFFE id, and the names that the options ask for. `chain` is
// the verified one, leaf first.
Result<void> check_peer_chain(const STACK_OF(X509) * chain, const std::vector<SanMatch>& peer_sans);

}  // namespace glia
