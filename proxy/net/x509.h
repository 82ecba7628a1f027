// X.509 as the mesh uses it: keys, signing requests, and a certificate authority for SPIFFE
// identities (X509-SVID).
//
// The control plane's authority and the certificates of every test are made here, so that what we
// sign and what net/tls accepts are read side by side. A sidecar calls make_private_key() and
// make_signing_request(), sends the request, and its key never leaves it; the control plane calls
// parse_signing_request(), decides which identity the caller may have, and signs.
//
// All text is PEM. Nothing here keeps state, locks or reads a clock; the caller says what time it
// is.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/time.h"

struct evp_pkey_st;
struct x509_st;

namespace glia {

// A new ECDSA P-256 key, "-----BEGIN PRIVATE KEY-----" (PKCS #8). A secret: write it with mode
// 0600.
std::string make_private_key();

// "-----BEGIN CERTIFICATE REQUEST-----" for the key, with an empty subject and `uri_san` as its
// only name.
Result<std::string> make_signing_request(std::string_view private_key, std::string_view uri_san);

// What a signing request asks for. The signature has been checked: whoever made it holds the key.
struct SigningRequest {
  std::string uri_san;  // The one URI SAN; no other name, and no other kind of name, is taken.
  std::string
      public_key;  // SubjectPublicKeyInfo, DER; ECDSA P-256 or P-384, or RSA of 2048-8192 bit.
};
// Refuses a request whose signature is wrong, whose key is weak, or that does not name exactly one
// URI. Whether the caller may have that name is for the caller of this function to decide.
Result<SigningRequest> parse_signing_request(std::string_view pem);

// What the authority writes into a leaf.
struct LeafOptions {
  std::string uri_san;                // spiffe://trust-domain/path
  std::vector<std::string> dns_sans;  // Beside the identity, for clients that check names.
  WallTime now;                       // notBefore is kBackdate earlier.
  Duration lifetime = 24h;            // notAfter = now + lifetime, but never after the authority's.
};

// A self-signed authority of one trust domain and its key.
class CertificateAuthority {
 public:
  // Clocks of a mesh are not in step: certificates are valid a little before they were made.
  static constexpr Duration kBackdate = 1min;

  // A new root: CA:true, path length 0, keyCertSign and cRLSign, URI SAN spiffe://<trust_domain>.
  static Result<CertificateAuthority> create(std::string_view trust_domain, WallTime now,
                                             Duration lifetime);
  // A root that create() made earlier. Refuses a key that is not the certificate's.
  static Result<CertificateAuthority> load(std::string_view certificate,
                                           std::string_view private_key);

  const std::string& certificate() const { return certificate_; }  // The trust bundle.
  const std::string& private_key() const { return private_key_; }  // A secret.
  const std::string& trust_domain() const { return trust_domain_; }
  WallTime not_after() const { return not_after_; }

  // A leaf for the key of `request` with the names of `options`, which need not be those that were
  // asked for: digitalSignature as critical key usage, both TLS purposes, a critical SAN because
  // the subject is empty, a random serial of 128 bit. Refuses an identity of another trust domain.
  Result<std::string> sign(const SigningRequest& request, const LeafOptions& options) const;

 private:
  struct FreeKey {
    void operator()(evp_pkey_st* key) const;
  };
  struct FreeCertificate {
    void operator()(x509_st* certificate) const;
  };
  CertificateAuthority() = default;

  std::string certificate_;
  std::string private_key_;
  std::string trust_domain_;
  WallTime not_after_;
  std::unique_ptr<evp_pkey_st, FreeKey> key_;
  std::unique_ptr<x509_st, FreeCertificate> parsed_;
};

// A leaf and its key in one step, for tests and for standalone meshes that sign in-process.
struct Identity {
  std::string certificate;
  std::string private_key;
};
Result<Identity> issue(const CertificateAuthority& authority, const LeafOptions& options);

}  // namespace glia
