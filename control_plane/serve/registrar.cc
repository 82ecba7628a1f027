#include "control_plane/serve/registrar.h"

#include "control_plane/serve/leaf.h"
#include "control_plane/serve/peer.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

Error denied(std::string message) {
  return Error(ErrorKind::kDenied, Fault::kDownstream, std::move(message));
}

constexpr std::string_view kNewToken = "; make a new token and join file on the control plane";

int64_t seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

// The renewing side: is the certificate that was shown one of this workload?
Result<void> check_caller(const std::optional<SpiffeId>& caller, const std::string& spiffe_id,
                          std::string_view workload) {
  if (!caller) {
    return denied(cat("a certificate for workload ", workload,
                      " needs a join token, or mutual TLS "
                      "with the certificate that is to be renewed; the call brought neither"));
  }
  if (caller->text() != spiffe_id) {
    return denied(cat("the caller is ", caller->text(),
                      " and may not renew the certificate of "
                      "workload ",
                      workload, ", which is ", spiffe_id));
  }
  return {};
}

}  // namespace

Result<CertificateAuthority> load_authority(Store& store, std::string_view trust_domain,
                                            WallTime now) {
  TRY(const std::optional<Store::Root> root, store.root());
  if (!root) {
    TRY(CertificateAuthority authority,
        CertificateAuthority::create(trust_domain, now, Registrar::kRootLifetime));
    TRY_VOID(store.save_root({authority.certificate(), authority.private_key()}, now));
    LOG(info, "made the certificate authority of trust domain ", trust_domain);
    return authority;
  }
  Result<CertificateAuthority> loaded =
      CertificateAuthority::load(root->certificate, root->private_key);
  if (!loaded)
    return std::move(loaded).error().in("the certificate authority in the state directory");
  if (loaded->trust_domain() != trust_domain) {
    return invalid(cat("the state directory holds the certificate authority of trust domain ",
                       loaded->trust_domain(), ", but the Mesh object says ", trust_domain,
                       "; set spec.trustDomain back, or start with another --state-dir"));
  }
  if (loaded->not_after() <= now) {
    return invalid(cat("the certificate authority of ", trust_domain,
                       " has expired; start with "
                       "another --state-dir and let every sidecar join again"));
  }
  return loaded;
}

Result<v1::SignCertificateResponse> Registrar::sign(const ObjectSet& objects,
                                                    const v1::SignCertificateRequest& request,
                                                    const std::optional<SpiffeId>& caller,
                                                    Moment at) {
  Result<v1::SignCertificateResponse> response = decide(objects, request, caller, at);
  if (response || response.error().kind() != ErrorKind::kDenied || refusals_.take(at.now)) {
    return response;
  }
  return Error(ErrorKind::kOverflow, Fault::kDownstream,
               "too many calls were refused just now; try again in a few seconds");
}

Result<v1::SignCertificateResponse> Registrar::decide(const ObjectSet& objects,
                                                      const v1::SignCertificateRequest& request,
                                                      const std::optional<SpiffeId>& caller,
                                                      Moment at) {
  if (request.csr_pem().size() > kLongestRequest) {
    return invalid(cat("csr_pem has ", request.csr_pem().size(), " bytes; at most ",
                       kLongestRequest, " are read"));
  }
  const Workload* workload = objects.workload(request.workload());
  if (workload == nullptr) {
    return denied(cat("there is no workload ", printable(request.workload()), " in the mesh"));
  }
  const std::string key = workload->metadata.key();
  const std::string spiffe_id = objects.spiffe_id(*workload);
  if (request.token().empty()) TRY_VOID(check_caller(caller, spiffe_id, key));

  // The cheap questions first: whoever has no right must not make us check signatures.
  std::string token_hash, token_used_by;
  if (!request.token().empty()) {
    token_hash = hash_of_token(request.token());
    TRY(const Store::Token token, valid_token(token_hash, key, at.wall));
    token_used_by = token.used_by_key;
  }
  TRY(const SigningRequest csr, parse_signing_request(request.csr_pem()));
  const std::string key_hash = sha256_hex(csr.public_key);
  if (!token_used_by.empty() && token_used_by != key_hash) {
    return denied(cat("the join token was used already", kNewToken));
  }
  if (too_often(key, at.now)) {
    return Error(ErrorKind::kOverflow, Fault::kDownstream,
                 cat("workload ", key, " asked for too many certificates; at most ",
                     kPerWorkload.per_second, " a second"));
  }
  TRY(const std::string leaf,
      authority_.sign(csr, {.uri_san = spiffe_id,
                            .dns_sans = {},
                            .now = at.wall,
                            .lifetime = objects.mesh.spec.certificate_lifetime}));
  TRY(const LeafInfo info, read_leaf(leaf));
  TRY_VOID(store_.add_certificate({info.serial, spiffe_id, key, info.not_after}, at.wall,
                                  token_hash, key_hash));
  LOG(info, key, token_hash.empty() ? " renewed its certificate as " : " joined as ", spiffe_id,
      ", serial ", info.serial, ", for ",
      std::chrono::duration_cast<std::chrono::seconds>(info.not_after - at.wall).count(), " s");

  v1::SignCertificateResponse response;
  response.set_certificate_chain_pem(leaf);
  response.set_trust_bundle_pem(trust_bundle());
  response.set_not_before_unix_s(seconds(info.not_before));
  response.set_not_after_unix_s(seconds(info.not_after));
  response.set_spiffe_id(spiffe_id);
  return response;
}

Result<Store::Token> Registrar::valid_token(std::string_view hash, std::string_view workload,
                                            WallTime now) const {
  TRY(const std::optional<Store::Token> token, store_.token(hash));
  if (!token) return denied(cat("the join token is not known here", kNewToken));
  if (token->workload != workload) {
    return denied(cat("the join token is for another workload than ", workload, kNewToken));
  }
  if (token->expires < now) return denied(cat("the join token has expired", kNewToken));
  return *token;
}

bool Registrar::too_often(const std::string& workload, TimePoint now) {
  return !signed_.try_emplace(workload, kPerWorkload, now).first->second.take(now);
}

Result<Registrar::Token> Registrar::make_token(const ObjectSet& objects, std::string_view name,
                                               Duration lifetime, WallTime now) {
  const Workload* workload = objects.workload(name);
  if (workload == nullptr) {
    std::vector<std::string> known;
    for (const Workload& each : objects.workloads) known.push_back(each.metadata.key());
    const auto meant = closest_of(name, known);
    return invalid(cat("there is no workload ", printable(name), " in the mesh",
                       meant ? cat("; did you mean ", *meant, "?") : "; add a Workload object"));
  }
  if (lifetime == Duration::zero()) lifetime = kTokenLifetime;
  if (lifetime < Duration::zero() || lifetime > kLongestTokenLifetime) {
    return invalid(
        cat("a join token cannot live for ",
            std::chrono::duration_cast<std::chrono::seconds>(lifetime).count(), " s; at most ",
            std::chrono::duration_cast<std::chrono::seconds>(kLongestTokenLifetime).count(), " s"));
  }
  Token token{glia::make_token(), now + lifetime};
  TRY_VOID(
      store_.add_token(hash_of_token(token.secret), workload->metadata.key(), token.expires, now));
  return token;
}

}  // namespace glia
