// What is read out of certificates and keys, shared by net/tls and net/x509. Private to net: the
// only header, beside those of tls, that shows BoringSSL.
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

// The oldest error of BoringSSL's queue as words, "no start line"; empties the queue.
std::string take_crypto_error();

// All certificates of a PEM text, in order; `what` names the text in errors ("trusted_ca"). At
// least one and at most kMostCertificates.
inline constexpr std::size_t kMostCertificates = 1000;
Result<std::vector<bssl::UniquePtr<X509>>> parse_certificates(std::string_view pem,
                                                              std::string_view what);
Result<bssl::UniquePtr<EVP_PKEY>> parse_private_key(std::string_view pem, std::string_view what);
std::string to_pem(X509* certificate);
std::string to_der(X509* certificate);

// Names in a certificate's subject alternative name. One with a byte outside printable ASCII is
// kept out and sets `malformed`, so that no comparison ever sees half a name.
struct SubjectNames {
  std::vector<std::string> uri, dns, email;
  std::vector<std::string> ip;  // As text.
  bool malformed = false;
};
SubjectNames subject_names(const X509* certificate);
SubjectNames subject_names(const GENERAL_NAMES* names);

std::string subject_text(const X509* certificate);  // RFC 2253
std::string serial_text(const X509* certificate);   // Lower-case hex.
WallTime not_before(const X509* certificate);
WallTime not_after(const X509* certificate);

// Whether we trust signatures of this key: ECDSA on P-256 and P-384, RSA of 2048 to 8192 bit,
// Ed25519.
Result<void> check_key_strength(const EVP_PKEY* key);

inline int64_t posix_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

}  // namespace glia
