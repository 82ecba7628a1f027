#include "proxy/net/certificate.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <limits>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr unsigned kFewestRsaBits = 2048;
constexpr unsigned kMostRsaBits = 8192;  // A larger key makes each check cost too much (F19).

// A passphrase is never asked for on the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

bssl::UniquePtr<BIO> reader(std::string_view text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<ossl_ssize_t>(text.size())));
}

std::string_view bytes_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

bool printable(std::string_view name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

WallTime to_wall_time(const ASN1_TIME* time) {
  int64_t seconds = 0;
  // A time that cannot be read has been refused by the check of the chain.
  if (ASN1_TIME_to_posix(time, &seconds) != 1) return WallTime();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 1'000'000'000;
  return WallTime(std::chrono::seconds(std::clamp(seconds, -kMost, kMost)));
}

void add_ip(SubjectNames& found, std::string_view bytes) {
  char text[INET6_ADDRSTRLEN];
  const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
  if ((bytes.size() != 4 && bytes.size() != 16) ||
      inet_ntop(family, bytes.data(), text, sizeof text) == nullptr) {
    found.malformed = true;
    return;
  }
  found.ip.emplace_back(text);
}

}  // namespace

std::string take_crypto_error() {
  const uint32_t code = ERR_peek_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  std::string text = reason != nullptr ? to_lower(reason) : "unknown error";
  std::replace(text.begin(), text.end(), '_', ' ');
  ERR_clear_error();
  return text;
}

Result<std::vector<bssl::UniquePtr<X509>>> parse_certificates(std::string_view pem,
                                                              std::string_view what) {
  const bssl::UniquePtr<BIO> bio = reader(pem);
  std::vector<bssl::UniquePtr<X509>> found;
  while (found.size() <= kMostCertificates) {
    bssl::UniquePtr<X509> one(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (one == nullptr) break;
    found.push_back(std::move(one));
  }
  if (found.size() > kMostCertificates) {
    return invalid(cat(what, " holds more than ", kMostCertificates, " certificates"));
  }
  const uint32_t code = ERR_peek_last_error();
  const bool at_end =
      ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  if (!found.empty() && at_end) {
    ERR_clear_error();
    return found;
  }
  if (at_end) {
    ERR_clear_error();
    return invalid(cat(what, " holds no certificate; it must be PEM, -----BEGIN CERTIFICATE-----"));
  }
  return invalid(cat("certificate ", found.size() + 1, " of ", what,
                     " cannot be read: ", take_crypto_error()));
}

Result<bssl::UniquePtr<EVP_PKEY>> parse_private_key(std::string_view pem, std::string_view what) {
  const bssl::UniquePtr<BIO> bio = reader(pem);
  bssl::UniquePtr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (key == nullptr) {
    return invalid(cat(what, " cannot be read: ", take_crypto_error(),
                       "; it must be PEM, -----BEGIN PRIVATE KEY-----, without passphrase"));
  }
  return key;
}

std::string to_pem(X509* certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_X509(bio.get(), certificate) == 1);
  const uint8_t* bytes = nullptr;
  std::size_t size = 0;
  CHECK(BIO_mem_contents(bio.get(), &bytes, &size) == 1);
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

std::string to_der(X509* certificate) {
  uint8_t* bytes = nullptr;
  const int size = i2d_X509(certificate, &bytes);
  CHECK(size > 0);
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

SubjectNames subject_names(const GENERAL_NAMES* names) {
  SubjectNames found;
  for (const GENERAL_NAME* name : names) {
    std::vector<std::string>* list = nullptr;
    switch (name->type) {
      case GEN_URI: list = &found.uri; break;
      case GEN_DNS: list = &found.dns; break;
      case GEN_EMAIL: list = &found.email; break;
      case GEN_IPADD: add_ip(found, bytes_of(name->d.iPAddress)); continue;
      default: continue;  // Directory and other names are never matched.
    }
    const std::string_view text = bytes_of(name->d.ia5);
    if (printable(text)) {
      list->emplace_back(text);
    } else {
      found.malformed = true;
    }
  }
  return found;
}

SubjectNames subject_names(const X509* certificate) {
  int critical = -1;
  const bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nullptr)));
  if (names == nullptr) {
    SubjectNames none;
    none.malformed = critical != -1;  // -1: no such extension; else twice, or not readable.
    ERR_clear_error();
    return none;
  }
  return subject_names(names.get());
}

std::string subject_text(const X509* certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
  const uint8_t* bytes = nullptr;
  std::size_t size = 0;
  if (BIO_mem_contents(bio.get(), &bytes, &size) != 1 || size == 0) return {};
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

std::string serial_text(const X509* certificate) {
  const bssl::UniquePtr<BIGNUM> number(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  if (number == nullptr) return {};
  const bssl::UniquePtr<char> hex(BN_bn2hex(number.get()));
  return hex != nullptr ? std::string(hex.get()) : std::string();
}

WallTime not_before(const X509* certificate) {
  return to_wall_time(X509_get0_notBefore(certificate));
}
WallTime not_after(const X509* certificate) {
  return to_wall_time(X509_get0_notAfter(certificate));
}

Result<void> check_key_strength(const EVP_PKEY* key) {
  switch (EVP_PKEY_id(key)) {
    case EVP_PKEY_ED25519: return {};
    case EVP_PKEY_EC: {
      const int curve = EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)));
      if (curve == NID_X9_62_prime256v1 || curve == NID_secp384r1) return {};
      return invalid("an elliptic curve key must be on P-256 or P-384");
    }
    case EVP_PKEY_RSA: {
      const unsigned bits = RSA_bits(EVP_PKEY_get0_RSA(key));
      if (bits >= kFewestRsaBits && bits <= kMostRsaBits) return {};
      return invalid(
          cat("an RSA key must have ", kFewestRsaBits, " to ", kMostRsaBits, " bits, not ", bits));
    }
    default: return invalid("the key is neither ECDSA, RSA nor Ed25519");
  }
}

}  // namespace glia
