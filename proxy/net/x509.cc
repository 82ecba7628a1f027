#include "proxy/net/x509.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/digest.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/net/certificate.h"
#include "proxy/net/spiffe.h"

namespace glia {
namespace {

Error crypto_failed(std::string_view doing) {
  return Error(ErrorKind::kInternal, Fault::kSelf, cat(doing, ": ", take_crypto_error()));
}

std::string contents(BIO* bio) {
  const uint8_t* bytes = nullptr;
  std::size_t size = 0;
  CHECK(BIO_mem_contents(bio, &bytes, &size) == 1);
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

std::string key_to_pem(const EVP_PKEY* key) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return contents(bio.get());
}

void add_name(GENERAL_NAMES* names, int type, std::string_view text) {
  bssl::UniquePtr<ASN1_IA5STRING> value(ASN1_IA5STRING_new());
  CHECK(value != nullptr &&
        ASN1_STRING_set(value.get(), text.data(), static_cast<ossl_ssize_t>(text.size())) == 1);
  bssl::UniquePtr<GENERAL_NAME> name(GENERAL_NAME_new());
  GENERAL_NAME_set0_value(name.get(), type, value.release());
  CHECK(sk_GENERAL_NAME_push(names, name.get()) > 0);
  name.release();
}

bssl::UniquePtr<GENERAL_NAMES> make_names(std::string_view uri,
                                          const std::vector<std::string>& dns) {
  bssl::UniquePtr<GENERAL_NAMES> names(GENERAL_NAMES_new());
  CHECK(names != nullptr);
  add_name(names.get(), GEN_URI, uri);
  for (const std::string& name : dns) add_name(names.get(), GEN_DNS, name);
  return names;
}

enum class Critical : int { kNo = 0, kYes = 1 };

void add_extension(X509* certificate, int nid, void* value, Critical critical) {
  CHECK(X509_add1_ext_i2d(certificate, nid, value, static_cast<int>(critical), 0) == 1);
}

void add_basic_constraints(X509* certificate, bool authority) {
  bssl::UniquePtr<BASIC_CONSTRAINTS> constraints(BASIC_CONSTRAINTS_new());
  CHECK(constraints != nullptr);
  if (authority) {
    constraints->ca = ASN1_BOOLEAN_TRUE;
    constraints->pathlen = ASN1_INTEGER_new();
    CHECK(constraints->pathlen != nullptr && ASN1_INTEGER_set_uint64(constraints->pathlen, 0) == 1);
  }
  add_extension(certificate, NID_basic_constraints, constraints.get(), Critical::kYes);
}

// Bits as RFC 5280 4.2.1.3 numbers them.
enum KeyUsage : int { kDigitalSignature = 0, kKeyCertSign = 5, kCrlSign = 6 };

void add_key_usage(X509* certificate, std::initializer_list<KeyUsage> bits) {
  bssl::UniquePtr<ASN1_BIT_STRING> usage(ASN1_BIT_STRING_new());
  CHECK(usage != nullptr);
  for (const KeyUsage bit : bits) CHECK(ASN1_BIT_STRING_set_bit(usage.get(), bit, 1) == 1);
  add_extension(certificate, NID_key_usage, usage.get(), Critical::kYes);
}

void add_purposes(X509* certificate) {
  bssl::UniquePtr<EXTENDED_KEY_USAGE> purposes(sk_ASN1_OBJECT_new_null());
  CHECK(purposes != nullptr);
  for (const int nid : {NID_server_auth, NID_client_auth}) {
    CHECK(sk_ASN1_OBJECT_push(purposes.get(), OBJ_nid2obj(nid)) > 0);
  }
  add_extension(certificate, NID_ext_key_usage, purposes.get(), Critical::kNo);
}

// RFC 5280 4.2.1.2, method 1: the SHA-1 of the key's bits; a name for the key, not a protection.
bssl::UniquePtr<ASN1_OCTET_STRING> key_identifier(const X509* certificate) {
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(X509_pubkey_digest(certificate, EVP_sha1(), digest, &size) == 1);
  bssl::UniquePtr<ASN1_OCTET_STRING> identifier(ASN1_OCTET_STRING_new());
  CHECK(identifier != nullptr &&
        ASN1_OCTET_STRING_set(identifier.get(), digest, static_cast<int>(size)) == 1);
  return identifier;
}

void add_key_identifiers(X509* certificate, const X509* issuer) {
  const bssl::UniquePtr<ASN1_OCTET_STRING> own = key_identifier(certificate);
  add_extension(certificate, NID_subject_key_identifier, own.get(), Critical::kNo);
  bssl::UniquePtr<AUTHORITY_KEYID> authority(AUTHORITY_KEYID_new());
  CHECK(authority != nullptr);
  authority->keyid = key_identifier(issuer).release();
  add_extension(certificate, NID_authority_key_identifier, authority.get(), Critical::kNo);
}

// Positive and of at most 20 bytes (RFC 5280 4.1.2.2), and not to be guessed.
void set_random_serial(X509* certificate) {
  bssl::UniquePtr<BIGNUM> number(BN_new());
  CHECK(number != nullptr && BN_rand(number.get(), 128, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1);
  CHECK(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr);
}

void set_validity(X509* certificate, WallTime from, WallTime to) {
  CHECK(ASN1_TIME_set_posix(X509_getm_notBefore(certificate), posix_seconds(from)) != nullptr);
  CHECK(ASN1_TIME_set_posix(X509_getm_notAfter(certificate), posix_seconds(to)) != nullptr);
}

bssl::UniquePtr<X509> new_certificate() {
  bssl::UniquePtr<X509> certificate(X509_new());
  CHECK(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  set_random_serial(certificate.get());
  return certificate;
}

// Ed25519 hashes by itself and takes no digest.
const EVP_MD* digest_for(const EVP_PKEY* key) {
  return EVP_PKEY_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
}

Result<bssl::UniquePtr<EVP_PKEY>> parse_public_key(const std::string& der) {
  CBS bytes;
  CBS_init(&bytes, reinterpret_cast<const uint8_t*>(der.data()), der.size());
  bssl::UniquePtr<EVP_PKEY> key(EVP_parse_public_key(&bytes));
  if (key == nullptr || CBS_len(&bytes) != 0) return crypto_failed("read the public key");
  TRY_VOID(check_key_strength(key.get()));
  return key;
}

// The one URI that the request names, and nothing else that it might smuggle in.
Result<std::string> requested_uri(const X509_REQ* request) {
  const bssl::UniquePtr<STACK_OF(X509_EXTENSION)> extensions(X509_REQ_get_extensions(request));
  if (extensions == nullptr) {
    ERR_clear_error();
    return invalid("signing request: no subject alternative name; ask for one spiffe:// URI");
  }
  const bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(extensions.get(), NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  const SubjectNames found = names != nullptr ? subject_names(names.get()) : SubjectNames();
  const std::size_t total = names != nullptr ? sk_GENERAL_NAME_num(names.get()) : 0;
  if (found.malformed || found.uri.size() != 1 || total != 1) {
    return invalid(cat("signing request: names ", total, " subjects, of them ", found.uri.size(),
                       " URIs; ask for exactly one, a spiffe:// URI"));
  }
  return found.uri.front();
}

}  // namespace

std::string make_private_key() {
  const bssl::UniquePtr<EC_KEY> pair(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  CHECK(pair != nullptr && EC_KEY_generate_key(pair.get()) == 1);
  const bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  CHECK(key != nullptr && EVP_PKEY_set1_EC_KEY(key.get(), pair.get()) == 1);
  return key_to_pem(key.get());
}

Result<std::string> make_signing_request(std::string_view private_key, std::string_view uri_san) {
  TRY(const auto key, parse_private_key(private_key, "the private key"));
  const bssl::UniquePtr<X509_REQ> request(X509_REQ_new());
  const bssl::UniquePtr<GENERAL_NAMES> names = make_names(uri_san, {});
  const bssl::UniquePtr<STACK_OF(X509_EXTENSION)> extensions(sk_X509_EXTENSION_new_null());
  X509_EXTENSION* san = X509V3_EXT_i2d(NID_subject_alt_name, 1, names.get());
  CHECK(san != nullptr && sk_X509_EXTENSION_push(extensions.get(), san) > 0);
  CHECK(X509_REQ_add_extensions(request.get(), extensions.get()) == 1);
  if (X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), digest_for(key.get())) <= 0) {
    return crypto_failed("sign the signing request");
  }
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1);
  return contents(bio.get());
}

Result<SigningRequest> parse_signing_request(std::string_view pem) {
  const bssl::UniquePtr<BIO> bio(
      BIO_new_mem_buf(pem.data(), static_cast<ossl_ssize_t>(pem.size())));
  const bssl::UniquePtr<X509_REQ> request(
      PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  if (request == nullptr) {
    return invalid(cat("signing request cannot be read: ", take_crypto_error(),
                       "; it must be PEM, -----BEGIN CERTIFICATE REQUEST-----"));
  }
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr) {
    return invalid(cat("signing request: its public key cannot be read: ", take_crypto_error()));
  }
  if (Result<void> strong = check_key_strength(key); !strong.ok()) {
    return std::move(strong).error().in("signing request");
  }
  if (X509_REQ_verify(request.get(), key) != 1) {
    ERR_clear_error();
    return invalid("signing request: its signature is not by the key that it names");
  }
  TRY(std::string uri, requested_uri(request.get()));
  uint8_t* bytes = nullptr;
  const int size = i2d_PUBKEY(key, &bytes);
  if (size <= 0) return crypto_failed("write the public key");
  SigningRequest parsed{std::move(uri),
                        std::string(reinterpret_cast<const char*>(bytes), std::size_t(size))};
  OPENSSL_free(bytes);
  return parsed;
}

void CertificateAuthority::FreeKey::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }
void CertificateAuthority::FreeCertificate::operator()(x509_st* certificate) const {
  X509_free(certificate);
}

Result<CertificateAuthority> CertificateAuthority::create(std::string_view trust_domain,
                                                          WallTime now, Duration lifetime) {
  TRY_VOID(SpiffeId::check_trust_domain(trust_domain));
  const std::string key_pem = make_private_key();
  TRY(const auto key, parse_private_key(key_pem, "the new key"));
  const bssl::UniquePtr<X509> root = new_certificate();
  // A common name (at most 64 characters, X.520) for people; nothing reads it.
  const std::string shown(trust_domain.substr(0, 48));
  X509_NAME* subject = X509_get_subject_name(root.get());
  CHECK(X509_NAME_add_entry_by_NID(subject, NID_organizationName, MBSTRING_ASC,
                                   reinterpret_cast<const uint8_t*>("Glia"), -1, -1, 0) == 1);
  CHECK(X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC,
                                   reinterpret_cast<const uint8_t*>(shown.data()),
                                   std::ssize(shown), -1, 0) == 1);
  CHECK(X509_set_issuer_name(root.get(), subject) == 1);
  CHECK(X509_set_pubkey(root.get(), key.get()) == 1);
  set_validity(root.get(), now - kBackdate, now + lifetime);
  add_basic_constraints(root.get(), /*authority=*/true);
  add_key_usage(root.get(), {kKeyCertSign, kCrlSign});
  const bssl::UniquePtr<GENERAL_NAMES> names = make_names(cat("spiffe://", trust_domain), {});
  add_extension(root.get(), NID_subject_alt_name, names.get(), Critical::kNo);
  add_key_identifiers(root.get(), root.get());
  if (X509_sign(root.get(), key.get(), digest_for(key.get())) <= 0) {
    return crypto_failed("sign the root certificate");
  }
  return load(to_pem(root.get()), key_pem);
}

Result<CertificateAuthority> CertificateAuthority::load(std::string_view certificate,
                                                        std::string_view private_key) {
  TRY(auto certificates, parse_certificates(certificate, "the authority's certificate"));
  if (certificates.size() != 1) {
    return invalid(cat("the authority's certificate must be one, not ", certificates.size()));
  }
  TRY(auto key, parse_private_key(private_key, "the authority's key"));
  X509* root = certificates[0].get();
  if (X509_check_private_key(root, key.get()) != 1) {
    ERR_clear_error();
    return invalid("the authority's key does not belong to its certificate");
  }
  const SubjectNames names = subject_names(root);
  if (names.uri.size() != 1 || (X509_get_extension_flags(root) & EXFLAG_CA) == 0) {
    return invalid(
        "the authority's certificate must be CA:true with one URI, spiffe://trust-domain");
  }
  TRY(const SpiffeId id, SpiffeId::parse(names.uri.front()));
  CertificateAuthority authority;
  authority.certificate_ = to_pem(root);
  authority.private_key_ = std::string(private_key);
  authority.trust_domain_ = std::string(id.trust_domain());
  authority.not_after_ = glia::not_after(root);
  authority.key_.reset(key.release());
  authority.parsed_.reset(certificates[0].release());
  return authority;
}

Result<std::string> CertificateAuthority::sign(const SigningRequest& request,
                                               const LeafOptions& options) const {
  TRY(const SpiffeId id, SpiffeId::parse(options.uri_san));
  if (id.trust_domain() != trust_domain_ || id.path().empty()) {
    return invalid(cat("sign \"", id.text(), "\": this authority signs workloads of spiffe://",
                       trust_domain_, "/ only"));
  }
  TRY(const auto key, parse_public_key(request.public_key));
  const WallTime until = std::min(options.now + options.lifetime, not_after_);
  if (until <= options.now) {
    return invalid(cat("sign \"", id.text(), "\": the certificate would already have expired"));
  }
  const bssl::UniquePtr<X509> leaf = new_certificate();
  CHECK(X509_set_issuer_name(leaf.get(), X509_get_subject_name(parsed_.get())) == 1);
  CHECK(X509_set_pubkey(leaf.get(), key.get()) == 1);
  set_validity(leaf.get(), options.now - kBackdate, until);
  add_basic_constraints(leaf.get(), /*authority=*/false);
  add_key_usage(leaf.get(), {kDigitalSignature});
  add_purposes(leaf.get());
  const bssl::UniquePtr<GENERAL_NAMES> names = make_names(id.text(), options.dns_sans);
  add_extension(leaf.get(), NID_subject_alt_name, names.get(), Critical::kYes);
  add_key_identifiers(leaf.get(), parsed_.get());
  if (X509_sign(leaf.get(), key_.get(), digest_for(key_.get())) <= 0) {
    return crypto_failed(cat("sign \"", id.text(), "\""));
  }
  return to_pem(leaf.get());
}

Result<Identity> issue(const CertificateAuthority& authority, const LeafOptions& options) {
  Identity identity;
  identity.private_key = make_private_key();
  TRY(const std::string request, make_signing_request(identity.private_key, options.uri_san));
  TRY(const SigningRequest parsed, parse_signing_request(request));
  TRY(identity.certificate, authority.sign(parsed, options));
  return identity;
}

}  // namespace glia
