// The rules for a peer's certificate beyond RFC 5280's path validation: X509-SVID, sections 2 to 5,
// and the names that a configuration asks for.
#include <openssl/nid.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/net/spiffe.h"
#include "proxy/net/tls_context.h"

namespace glia {
namespace {

// SHA-1 and MD5 signatures can be forged; the signature of a trusted root is never looked at.
bool weak_signature(const X509* certificate) {
  switch (X509_get_signature_nid(certificate)) {
    case NID_sha1WithRSAEncryption:
    case NID_ecdsa_with_SHA1:
    case NID_md5WithRSAEncryption: return true;
    default: return false;
  }
}

Result<void> check_strength(const STACK_OF(X509) * chain) {
  const std::size_t count = sk_X509_num(chain);
  for (std::size_t i = 0; i < count; ++i) {
    const X509* one = sk_X509_value(chain, i);
    const EVP_PKEY* key = X509_get0_pubkey(one);
    if (key == nullptr) return invalid("a key of its chain cannot be read");
    TRY_VOID(check_key_strength(key));
    if (i + 1 < count && weak_signature(one))
      return invalid("its chain is signed with SHA-1 or MD5");
  }
  return {};
}

bool key_usage_is_critical(const X509* certificate) {
  const int index = X509_get_ext_by_NID(certificate, NID_key_usage, -1);
  return index >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, index)) == 1;
}

// X509-SVID 3.1, 4.3 and 5.2.
Result<void> check_svid_leaf(X509* leaf) {
  if ((X509_get_extension_flags(leaf) & EXFLAG_CA) != 0) {
    return invalid("an X509-SVID of a workload must not be a certificate authority");
  }
  // Without the extension every bit would be set.
  const uint32_t usage = X509_get_key_usage(leaf);
  if (!key_usage_is_critical(leaf) || (usage & X509v3_KU_DIGITAL_SIGNATURE) == 0) {
    return invalid("an X509-SVID must carry a critical key usage with digitalSignature");
  }
  if ((usage & (X509v3_KU_KEY_CERT_SIGN | X509v3_KU_CRL_SIGN)) != 0) {
    return invalid("an X509-SVID of a workload must not sign certificates (keyCertSign, cRLSign)");
  }
  return {};
}

bool is_spiffe(std::string_view uri) {
  return uri.size() >= 7 && equal_no_case(uri.substr(0, 7), "spiffe:");
}

// A root that names a trust domain vouches for that domain only, however many roots are trusted.
Result<void> check_trust_domain(const SpiffeId& id, const X509* root) {
  const SubjectNames names = subject_names(root);
  if (names.uri.size() != 1 || !is_spiffe(names.uri.front())) return {};
  TRY(const SpiffeId root_id, SpiffeId::parse(names.uri.front()));
  if (root_id.trust_domain() == id.trust_domain()) return {};
  return invalid(cat("\"", id.text(), "\" is signed by the authority of trust domain \"",
                     root_id.trust_domain(), "\""));
}

// RFC 6125 6.4.3: a wildcard stands for one whole label, the leftmost.
bool dns_matches(std::string_view in_certificate, std::string_view wanted) {
  if (equal_no_case(in_certificate, wanted)) return true;
  if (!in_certificate.starts_with("*.")) return false;
  const std::size_t dot = wanted.find('.');
  return dot != wanted.npos && dot > 0 &&
         equal_no_case(in_certificate.substr(1), wanted.substr(dot));
}

bool matches(const SanMatch& match, std::string_view name) {
  switch (match.kind) {
    case SanMatch::Kind::kExact:
      return match.type == SanMatch::Type::kDns ? dns_matches(name, match.value)
                                                : name == match.value;
    case SanMatch::Kind::kPrefix: return name.starts_with(match.value);
    case SanMatch::Kind::kSuffix: return name.ends_with(match.value);
    case SanMatch::Kind::kContains: return name.find(match.value) != name.npos;
  }
  return false;
}

const std::vector<std::string>& names_of(const SubjectNames& names, SanMatch::Type type) {
  switch (type) {
    case SanMatch::Type::kUri: return names.uri;
    case SanMatch::Type::kDns: return names.dns;
    case SanMatch::Type::kIp: return names.ip;
    case SanMatch::Type::kEmail: return names.email;
  }
  return names.uri;
}

Result<void> check_names(const SubjectNames& names, const std::vector<SanMatch>& wanted) {
  if (wanted.empty()) return {};
  for (const SanMatch& match : wanted) {
    const std::vector<std::string>& own = names_of(names, match.type);
    if (std::any_of(own.begin(), own.end(),
                    [&](const auto& name) { return matches(match, name); })) {
      return {};
    }
  }
  std::string has;
  for (const auto* list : {&names.uri, &names.dns, &names.ip, &names.email}) {
    for (const std::string& name : *list) has += cat(has.empty() ? "" : ", ", name);
  }
  return invalid(cat("the peer is ", has.empty() ? "without a name" : has, "; expected ",
                     wanted.front().value,
                     wanted.size() > 1 ? cat(" or ", wanted.size() - 1, " other names") : ""));
}

}  // namespace

Result<void> check_peer_chain(const STACK_OF(X509) * chain,
                              const std::vector<SanMatch>& peer_sans) {
  TRY_VOID(check_strength(chain));
  X509* leaf = sk_X509_value(chain, 0);
  SubjectNames names = subject_names(leaf);
  if (names.malformed) return invalid("a subject alternative name cannot be read");
  if (names.uri.size() > 1) {
    return invalid(cat("the certificate carries ", names.uri.size(),
                       " URI names; an identity is exactly one"));
  }
  if (names.uri.size() == 1 && is_spiffe(names.uri.front())) {
    TRY(const SpiffeId id, SpiffeId::parse(names.uri.front()));
    if (id.path().empty()) return invalid("a trust domain itself is not a workload");
    TRY_VOID(check_svid_leaf(leaf));
    TRY_VOID(check_trust_domain(id, sk_X509_value(chain, sk_X509_num(chain) - 1)));
    names.uri.front() = id.text();
  }
  return check_names(names, peer_sans);
}

}  // namespace glia
