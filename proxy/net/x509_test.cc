#include "proxy/net/x509.h"

#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include <string>

#include "proxy/net/certificate.h"

namespace glia {
namespace {

const WallTime kNow{1'770'000'000s};
const char kUri[] = "spiffe://mesh.example/ns/shop/sa/reco";

CertificateAuthority authority() {
  return *CertificateAuthority::create("mesh.example", kNow, 24h * 365);
}

bssl::UniquePtr<X509> only(const std::string& pem) {
  auto parsed = parse_certificates(pem, "test");
  EXPECT_TRUE(parsed.ok() && parsed->size() == 1);
  return std::move((*parsed)[0]);
}

// The verdict of BoringSSL's own path validation.
int verify(const std::string& leaf, const std::string& root, int purpose, WallTime at) {
  const bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  const bssl::UniquePtr<X509> root_certificate = only(root), leaf_certificate = only(leaf);
  X509_STORE_add_cert(store.get(), root_certificate.get());
  const bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf_certificate.get(), nullptr);
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  X509_STORE_CTX_set_time_posix(context.get(), 0, posix_seconds(at));
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

TEST(X509, ASidecarsRequestBecomesALeafThatVerifiesForBothPurposes) {
  const CertificateAuthority ca = authority();
  const std::string key = make_private_key();
  const auto request = make_signing_request(key, kUri);
  ASSERT_TRUE(request.ok()) << request.error().message();
  const auto parsed = parse_signing_request(*request);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed->uri_san, kUri);
  const auto leaf =
      ca.sign(*parsed,
              {.uri_san = parsed->uri_san, .dns_sans = {"reco.shop"}, .now = kNow, .lifetime = 1h});
  ASSERT_TRUE(leaf.ok()) << leaf.error().message();
  for (const int purpose : {X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SSL_SERVER}) {
    EXPECT_EQ(verify(*leaf, ca.certificate(), purpose, kNow), X509_V_OK);
    EXPECT_EQ(verify(*leaf, ca.certificate(), purpose, kNow + 2h), X509_V_ERR_CERT_HAS_EXPIRED);
    EXPECT_EQ(verify(*leaf, ca.certificate(), purpose, kNow - 2min), X509_V_ERR_CERT_NOT_YET_VALID);
  }
}

TEST(X509, ALeafFollowsTheRulesOfX509Svid) {
  const auto identity = issue(authority(), {.uri_san = kUri, .now = kNow, .lifetime = 1h});
  ASSERT_TRUE(identity.ok()) << identity.error().message();
  const auto leaf = only(identity->certificate);
  EXPECT_EQ(subject_names(leaf.get()).uri, std::vector<std::string>{kUri});
  EXPECT_EQ(subject_text(leaf.get()), "");
  EXPECT_EQ(X509_get_extension_flags(leaf.get()) & EXFLAG_CA, 0u);
  EXPECT_EQ(X509_get_key_usage(leaf.get()), uint32_t{X509v3_KU_DIGITAL_SIGNATURE});
  for (const int nid : {NID_subject_alt_name, NID_key_usage, NID_basic_constraints}) {
    const int index = X509_get_ext_by_NID(leaf.get(), nid, -1);
    ASSERT_GE(index, 0);
    EXPECT_EQ(X509_EXTENSION_get_critical(X509_get_ext(leaf.get(), index)), 1) << nid;
  }
  EXPECT_EQ(not_before(leaf.get()), kNow - CertificateAuthority::kBackdate);
  EXPECT_EQ(not_after(leaf.get()), kNow + 1h);
  EXPECT_EQ(serial_text(leaf.get()).size(), 32u);
  EXPECT_NE(
      serial_text(leaf.get()),
      serial_text(only(issue(authority(), {.uri_san = kUri, .now = kNow})->certificate).get()));
}

TEST(X509, TheRootIsAnAuthorityOfItsTrustDomainThatSignsLeavesOnly) {
  const CertificateAuthority ca = authority();
  const auto root = only(ca.certificate());
  EXPECT_EQ(subject_names(root.get()).uri, std::vector<std::string>{"spiffe://mesh.example"});
  EXPECT_NE(X509_get_extension_flags(root.get()) & EXFLAG_CA, 0u);
  EXPECT_EQ(X509_get_pathlen(root.get()), 0);
  EXPECT_EQ(X509_get_key_usage(root.get()), uint32_t{X509v3_KU_KEY_CERT_SIGN | X509v3_KU_CRL_SIGN});
}

TEST(X509, AnAuthorityIsTheSameAfterBeingStored) {
  const CertificateAuthority ca = authority();
  const auto again = CertificateAuthority::load(ca.certificate(), ca.private_key());
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->trust_domain(), "mesh.example");
  const auto identity = issue(*again, {.uri_san = kUri, .now = kNow});
  EXPECT_EQ(verify(identity->certificate, ca.certificate(), X509_PURPOSE_SSL_SERVER, kNow),
            X509_V_OK);
  const auto wrong = CertificateAuthority::load(ca.certificate(), make_private_key());
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().message(), "the authority's key does not belong to its certificate");
  EXPECT_FALSE(CertificateAuthority::load(identity->certificate, identity->private_key).ok());
}

TEST(X509, RefusesToSignForAnotherTrustDomainOrForTheDomainItself) {
  for (const char* uri : {"spiffe://other.example/a", "spiffe://mesh.example",
                          "https://mesh.example/a", "spiffe://mesh.example/../a", ""}) {
    EXPECT_FALSE(issue(authority(), {.uri_san = uri, .now = kNow}).ok()) << uri;
  }
}

TEST(X509, ALeafNeverOutlivesItsAuthority) {
  const auto ca = CertificateAuthority::create("mesh.example", kNow, 1h);
  const auto identity = issue(*ca, {.uri_san = kUri, .now = kNow, .lifetime = 24h});
  EXPECT_EQ(not_after(only(identity->certificate).get()), kNow + 1h);
  EXPECT_FALSE(issue(*ca, {.uri_san = kUri, .now = kNow + 2h}).ok());
}

TEST(X509, RefusesARequestThatWasChangedAfterItWasSigned) {
  const std::string request = *make_signing_request(make_private_key(), kUri);
  int refused = 0, tried = 0;
  for (std::size_t i = 40; i + 40 < request.size(); i += 7) {
    std::string changed = request;
    if (changed[i] == '\n') continue;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    ++tried;
    if (!parse_signing_request(changed).ok()) ++refused;
  }
  EXPECT_EQ(refused, tried);
  EXPECT_FALSE(parse_signing_request("").ok());
  EXPECT_FALSE(parse_signing_request(make_private_key()).ok());
}

}  // namespace
}  // namespace glia
