#include "control_plane/serve/leaf.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

Result<WallTime> read_time(const ASN1_TIME* time) {
  int64_t seconds = 0;
  if (ASN1_TIME_to_posix(time, &seconds) != 1) return invalid("a certificate has no readable time");
  return WallTime(std::chrono::seconds(seconds));
}

}  // namespace

Result<LeafInfo> read_leaf(std::string_view pem) {
  const bssl::UniquePtr<BIO> text(
      BIO_new_mem_buf(pem.data(), static_cast<ossl_ssize_t>(pem.size())));
  const bssl::UniquePtr<X509> leaf(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
  if (leaf == nullptr) return invalid("this is not a certificate in PEM");
  const bssl::UniquePtr<BIGNUM> serial(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf.get()), nullptr));
  if (serial == nullptr) return invalid("a certificate has no readable serial number");
  const bssl::UniquePtr<char> hex(BN_bn2hex(serial.get()));
  LeafInfo info;
  info.serial = to_lower(hex.get());
  TRY(info.not_before, read_time(X509_get0_notBefore(leaf.get())));
  TRY(info.not_after, read_time(X509_get0_notAfter(leaf.get())));
  return info;
}

}  // namespace glia
