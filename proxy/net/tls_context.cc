#include "proxy/net/tls_context.h"

#include <openssl/err.h>
#include <openssl/sha.h>

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/net/tls_stream.h"
#include "proxy/net/tls_verified.h"

namespace glia {
namespace {

// TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 4.2).
constexpr char kCiphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
// The hybrid first: what is recorded today stays secret when X25519 falls.
constexpr char kGroups[] = "X25519MLKEM768:X25519:P-256";

constexpr std::size_t kLargestCertificateMessage = 64 * 1024;  // bytes
constexpr int kLongestChain = 10;                              // certificates between leaf and root

std::string sha256(std::string_view text) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  static_assert(SHA256_DIGEST_LENGTH <= SSL_MAX_SID_CTX_LENGTH);
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(),
         reinterpret_cast<uint8_t*>(digest.data()));
  return digest;
}

std::string text_of(const std::vector<SanMatch>& matches) {
  std::string text;
  for (const SanMatch& match : matches) {
    text += cat("\n", static_cast<int>(match.type), " ", static_cast<int>(match.kind), " ",
                match.value);
  }
  return text;
}

std::string_view bytes_of(const CRYPTO_BUFFER* buffer) {
  return {reinterpret_cast<const char*>(CRYPTO_BUFFER_data(buffer)), CRYPTO_BUFFER_len(buffer)};
}

// The same certificates, ours and those of peers that come again and again, are there once.
CRYPTO_BUFFER_POOL* buffer_pool() {
  static CRYPTO_BUFFER_POOL* const pool = CRYPTO_BUFFER_POOL_new();
  return pool;
}

bssl::UniquePtr<CRYPTO_BUFFER> pooled(std::string_view der) {
  bssl::UniquePtr<CRYPTO_BUFFER> buffer(
      CRYPTO_BUFFER_new(reinterpret_cast<const uint8_t*>(der.data()), der.size(), buffer_pool()));
  CHECK(buffer != nullptr);
  return buffer;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += cat(all.empty() ? "" : ":", part);
  return all;
}

TlsContext::CertificateInfo describe(const X509* certificate) {
  SubjectNames names = subject_names(certificate);
  return {.subject = subject_text(certificate),
          .serial = serial_text(certificate),
          .uri_sans = std::move(names.uri),
          .dns_sans = std::move(names.dns),
          .not_before = not_before(certificate),
          .not_after = not_after(certificate)};
}

Result<void> check_options(TlsContext::Side side, const TlsOptions& options) {
  if (options.certificate_chain.empty() != options.private_key.empty()) {
    return invalid("a certificate chain and its private key must be given together");
  }
  if (side == TlsContext::Side::kServer && options.certificate_chain.empty()) {
    return invalid("a TLS server needs a certificate chain and its private key");
  }
  if (options.trusted_ca.empty() && options.require_client_certificate) {
    return invalid("a client certificate is required but no trusted_ca is given to verify it with");
  }
  if (options.trusted_ca.empty() && !options.peer_sans.empty()) {
    return invalid("names of the peer are matched but no trusted_ca is given to verify them with");
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::create(Side side, const TlsOptions& options) {
  return BoringContext::make(side, options);
}

Result<std::shared_ptr<const TlsContext>> BoringContext::make(Side side,
                                                              const TlsOptions& options) {
  TRY_VOID(check_options(side, options));
  std::unique_ptr<BoringContext> made(new BoringContext(side, options));
  // Without BoringSSL's own use of X.509, which keeps each peer's parsed chain with its connection.
  made->context_.reset(SSL_CTX_new(TLS_with_buffers_method()));
  CHECK(made->context_ != nullptr);
  CHECK(SSL_CTX_set_app_data(made->context_.get(), made.get()) == 1);
  SSL_CTX_set0_buffer_pool(made->context_.get(), buffer_pool());
  TRY_VOID(made->set_protocol());
  TRY_VOID(made->set_alpn());
  TRY_VOID(made->load_own_certificate());
  TRY_VOID(made->load_trusted());
  made->set_resumption();
  return std::shared_ptr<const TlsContext>(std::shared_ptr<const BoringContext>(std::move(made)));
}

Result<void> BoringContext::set_protocol() {
  SSL_CTX* context = context_.get();
  if (SSL_CTX_set_min_proto_version(context, static_cast<uint16_t>(options_.minimum_version)) !=
          1 ||
      SSL_CTX_set_max_proto_version(context, static_cast<uint16_t>(options_.maximum_version)) !=
          1 ||
      options_.minimum_version < TLS1_2_VERSION ||
      options_.maximum_version < options_.minimum_version) {
    ERR_clear_error();
    return invalid("TLS versions must be 1.2 to 1.2, 1.2 to 1.3 or 1.3 to 1.3");
  }
  const std::string ciphers =
      options_.cipher_suites.empty() ? kCiphers : joined(options_.cipher_suites);
  if (SSL_CTX_set_strict_cipher_list(context, ciphers.c_str()) != 1) {
    return invalid(cat("cipher suites \"", ciphers, "\": ", take_crypto_error()));
  }
  const std::string groups = options_.groups.empty() ? kGroups : joined(options_.groups);
  if (SSL_CTX_set1_groups_list(context, groups.c_str()) != 1) {
    return invalid(cat("groups \"", groups, "\": ", take_crypto_error()));
  }
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_max_cert_list(context, kLargestCertificateMessage);
  return {};
}

Result<void> BoringContext::set_alpn() {
  for (const std::string& protocol : options_.alpn) {
    if (protocol.empty() || protocol.size() > 255) {
      return invalid(cat("ALPN protocol \"", protocol, "\" must have 1 to 255 bytes"));
    }
    alpn_wire_ += static_cast<char>(protocol.size());
    alpn_wire_ += protocol;
  }
  if (alpn_wire_.empty()) return {};
  if (side_ == Side::kServer) {
    SSL_CTX_set_alpn_select_cb(context_.get(), select_alpn, this);
  } else {
    const auto* bytes = reinterpret_cast<const uint8_t*>(alpn_wire_.data());
    CHECK(SSL_CTX_set_alpn_protos(context_.get(), bytes, alpn_wire_.size()) == 0);
  }
  return {};
}

Result<void> BoringContext::load_own_certificate() {
  if (options_.certificate_chain.empty()) return {};
  TRY(auto chain, parse_certificates(options_.certificate_chain, "certificate_chain"));
  TRY(const auto key, parse_private_key(options_.private_key, "private_key"));
  if (X509_check_private_key(chain[0].get(), key.get()) != 1) {
    ERR_clear_error();
    return invalid("private_key does not belong to the first certificate of certificate_chain");
  }
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> buffers;
  std::vector<CRYPTO_BUFFER*> raw;
  for (const auto& one : chain) {
    raw.push_back(buffers.emplace_back(pooled(to_der(one.get()))).get());
  }
  if (SSL_CTX_set_chain_and_key(context_.get(), raw.data(), raw.size(), key.get(), nullptr) != 1) {
    return invalid(cat("certificate_chain cannot be used: ", take_crypto_error()));
  }
  own_uri_sans_ = subject_names(chain[0].get()).uri;
  own_ = std::move(chain[0]);
  options_.private_key.clear();
  return {};
}

Result<void> BoringContext::load_trusted() {
  if (!options_.trusted_ca.empty()) {
    TRY(trusted_, parse_certificates(options_.trusted_ca, "trusted_ca"));
    store_.reset(X509_STORE_new());
    CHECK(store_ != nullptr);
    for (const auto& one : trusted_) CHECK(X509_STORE_add_cert(store_.get(), one.get()) == 1);
    if (side_ == Side::kServer) name_authorities();
  }
  peer_rules_ =
      sha256(cat(static_cast<int>(side_), "\n", options_.trusted_ca, text_of(options_.peer_sans)));
  int mode = SSL_VERIFY_NONE;
  if (side_ == Side::kClient) {
    if (verifies_peer()) mode = SSL_VERIFY_PEER;
  } else if (options_.require_client_certificate) {
    mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  } else if (options_.request_client_certificate) {
    mode = SSL_VERIFY_PEER;
  }
  SSL_CTX_set_custom_verify(context_.get(), mode, verify_peer);
  return {};
}

// For a client that has several certificates (RFC 8446 section 4.2.4).
void BoringContext::name_authorities() {
  bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> names(sk_CRYPTO_BUFFER_new_null());
  for (const auto& one : trusted_) {
    uint8_t* der = nullptr;
    const int size = i2d_X509_NAME(X509_get_subject_name(one.get()), &der);
    CHECK(size >= 0);
    const bssl::UniquePtr<uint8_t> owned(der);
    CHECK(bssl::PushToStack(
        names.get(), pooled({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)})));
  }
  SSL_CTX_set0_client_CAs(context_.get(), names.release());
}

void BoringContext::set_resumption() {
  if (side_ == Side::kServer) return set_tickets();
  // A client's sessions live with the endpoint (TlsSessions).
  SSL_CTX_set_session_cache_mode(context_.get(),
                                 SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context_.get(), TlsStream::keep_session);
}

// Tickets only: no state here, and the keys are this context's own, so that a new configuration or
// bundle means new handshakes. The id keeps apart what other servers may one day share keys with.
void BoringContext::set_tickets() {
  SSL_CTX* context = context_.get();
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (!options_.tickets) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  std::string rules =
      cat(options_.ticket_scope, "\n", options_.trusted_ca, "\n", options_.certificate_chain, "\n",
          options_.request_client_certificate, options_.require_client_certificate);
  ticket_rules_ = sha256(rules + text_of(options_.peer_sans));
  const auto* id = reinterpret_cast<const uint8_t*>(ticket_rules_.data());
  CHECK(SSL_CTX_set_session_id_context(context, id, ticket_rules_.size()) == 1);
  SSL_CTX_set_select_certificate_cb(context, scope_tickets);
  CHECK(SSL_CTX_set_num_tickets(context, 1) == 1);
  const auto lifetime = static_cast<uint32_t>(
      std::chrono::floor<std::chrono::seconds>(options_.ticket_lifetime).count());
  SSL_CTX_set_timeout(context, lifetime);
  SSL_CTX_set_session_psk_dhe_timeout(context, lifetime);
}

// A ticket counts only for the name that it was given out for.
ssl_select_cert_result_t BoringContext::scope_tickets(const SSL_CLIENT_HELLO* hello) {
  const uint8_t* name = nullptr;
  std::size_t size = 0;
  if (SSL_early_callback_ctx_extension_get(hello, TLSEXT_TYPE_server_name, &name, &size) != 1) {
    return ssl_select_cert_success;
  }
  const auto* self =
      static_cast<const BoringContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(hello->ssl)));
  const std::string id =
      sha256(cat(self->ticket_rules_, std::string_view(reinterpret_cast<const char*>(name), size)));
  const auto* bytes = reinterpret_cast<const uint8_t*>(id.data());
  CHECK(SSL_set_session_id_context(hello->ssl, bytes, id.size()) == 1);
  return ssl_select_cert_success;
}

int BoringContext::select_alpn(SSL*, const uint8_t** out, uint8_t* out_size, const uint8_t* offered,
                               unsigned offered_size, void* self) {
  const auto& wire = static_cast<const BoringContext*>(self)->alpn_wire_;
  uint8_t* chosen = nullptr;
  // The server's order; the peer's list is the second.
  if (SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const uint8_t*>(wire.data()),
                            static_cast<unsigned>(wire.size()), offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol, RFC 7301 3.2
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

std::string BoringContext::digest_of(const STACK_OF(CRYPTO_BUFFER) * sent) const {
  std::string all = peer_rules_;
  for (const CRYPTO_BUFFER* one : sent) all += sha256(bytes_of(one));
  return sha256(all);
}

ssl_verify_result_t BoringContext::verify_peer(SSL* ssl, uint8_t* alert) {
  const auto& context =
      *static_cast<const BoringContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  if (!context.verifies_peer()) return ssl_verify_ok;  // TlsInfo says that nothing was verified.
  auto& stream = *static_cast<TlsStream*>(SSL_get_app_data(ssl));
  std::string fault = context.fault_of(ssl, stream, *alert);
  ERR_clear_error();  // BoringSSL says itself that the verification failed.
  if (fault.empty()) return ssl_verify_ok;
  stream.refuse_peer(std::move(fault));
  return ssl_verify_invalid;
}

std::string BoringContext::fault_of(const SSL* ssl, TlsStream& stream, uint8_t& alert) const {
  alert = SSL_AD_BAD_CERTIFICATE;
  const STACK_OF(CRYPTO_BUFFER)* const sent = SSL_get0_peer_certificates(ssl);
  if (sent == nullptr || sk_CRYPTO_BUFFER_num(sent) == 0) return "no certificate was sent";
  VerifiedChains* const verified = stream.loan().verified;
  std::string digest;
  if (verified != nullptr) {
    digest = digest_of(sent);
    if (verified->has(digest, stream.wall_now())) return {};
  }
  const PeerChain peer = parse_peer_chain(ssl);
  if (peer.empty()) return "what was sent is no certificate";
  const bssl::UniquePtr<STACK_OF(X509)> untrusted(sk_X509_new_null());
  for (const auto& one : peer) CHECK(bssl::PushToStack(untrusted.get(), bssl::UpRef(one)));
  const bssl::UniquePtr<X509_STORE_CTX> path(X509_STORE_CTX_new());
  // The purpose of the peer's certificate: that of the other side.
  const char* const purpose = side_ == Side::kServer ? "ssl_client" : "ssl_server";
  CHECK(X509_STORE_CTX_init(path.get(), store_.get(), peer[0].get(), untrusted.get()) == 1 &&
        X509_STORE_CTX_set_default(path.get(), purpose) == 1);
  X509_STORE_CTX_set_depth(path.get(), kLongestChain);
  X509_STORE_CTX_set_time_posix(path.get(), 0, posix_seconds(stream.wall_now()));
  if (X509_verify_cert(path.get()) != 1) {
    const int error = X509_STORE_CTX_get_error(path.get());
    alert = static_cast<uint8_t>(SSL_alert_from_verify_result(error));
    return X509_verify_cert_error_string(error);
  }
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(path.get());
  if (Result<void> checked = check_peer_chain(chain, options_.peer_sans); !checked.ok()) {
    alert = static_cast<uint8_t>(SSL_alert_from_verify_result(X509_V_ERR_APPLICATION_VERIFICATION));
    return std::string(checked.error().message());
  }
  if (verified == nullptr) return {};
  WallTime from = WallTime::min(), until = WallTime::max();
  for (const X509* one : chain) {
    from = std::max(from, not_before(one));
    until = std::min(until, not_after(one));
  }
  verified->keep(std::move(digest), from, until);
  return {};
}

PeerChain parse_peer_chain(const SSL* ssl) {
  PeerChain chain;
  const STACK_OF(CRYPTO_BUFFER)* const sent = SSL_get0_peer_certificates(ssl);
  if (sent == nullptr) return chain;
  for (const CRYPTO_BUFFER* one : sent) {
    if (chain.emplace_back(X509_parse_from_buffer(one)) == nullptr) return {};
  }
  return chain;
}

std::unique_ptr<Stream> BoringContext::wrap(EventLoop& loop, std::unique_ptr<Stream> under,
                                            Duration handshake_limit, const TlsLoan& loan) const {
  return std::make_unique<TlsStream>(loop, *this, std::move(under), handshake_limit, loan);
}

bool BoringContext::accepts_all_of(const TlsContext& any) const {
  const auto& earlier = static_cast<const BoringContext&>(any);  // There is no other kind.
  if (&earlier == this || !verifies_peer()) return true;
  if (!earlier.verifies_peer()) return false;
  if (options_.require_client_certificate && !earlier.options_.require_client_certificate) {
    return false;
  }
  const auto trusted_still = [this](const auto& one) {
    return std::ranges::any_of(
        trusted_, [&one](const auto& ours) { return X509_cmp(ours.get(), one.get()) == 0; });
  };
  if (!std::ranges::all_of(earlier.trusted_, trusted_still)) return false;
  if (options_.peer_sans.empty()) return true;
  const auto named_still = [this](const SanMatch& one) {
    return std::ranges::find(options_.peer_sans, one) != options_.peer_sans.end();
  };
  return !earlier.options_.peer_sans.empty() &&
         std::ranges::all_of(earlier.options_.peer_sans, named_still);
}

std::optional<TlsContext::CertificateInfo> BoringContext::own_certificate() const {
  if (own_ == nullptr) return {};
  return describe(own_.get());
}

std::vector<TlsContext::CertificateInfo> BoringContext::trusted_certificates() const {
  std::vector<CertificateInfo> all;
  for (const auto& one : trusted_) all.push_back(describe(one.get()));
  return all;
}

}  // namespace glia
