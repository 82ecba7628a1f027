// Registrar: gives workloads their identity. It checks the right to be a workload, by join token or
// by the certificate that is to be renewed, and signs.
//
// The caller chooses nothing but its key: the SPIFFE id comes from the Workload object. A token is
// good once, for one workload, until it expires; the same key may present it again, because the
// first answer may have been lost on the way, and only the holder of that key can use what is
// signed. Belongs to the control plane's loop.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "control_plane/objects/object_set.h"
#include "control_plane/serve/rate.h"
#include "control_plane/store/store.h"
#include "glia/v1/identity.pb.h"
#include "proxy/net/spiffe.h"
#include "proxy/net/x509.h"

namespace glia {

// The authority in `store`; made, and kept there, if there is none. Refuses one of another domain.
Result<CertificateAuthority> load_authority(Store& store, std::string_view trust_domain,
                                            WallTime now);

class Registrar {
 public:
  static constexpr Duration kRootLifetime = 10 * 365 * 24h;
  // Certificates for one workload; a sidecar that loops cannot keep the disk busy for others.
  static constexpr RateLimit kPerWorkload = {.per_second = 1, .burst = 10};
  // Refusals that are explained, over all callers; beyond them nobody learns why.
  static constexpr RateLimit kRefusals = {.per_second = 20, .burst = 100};
  static constexpr std::size_t kLongestRequest = 16 * 1024;  // bytes of csr_pem
  static constexpr Duration kTokenLifetime = 1h;             // If nobody says otherwise.
  static constexpr Duration kLongestTokenLifetime = 30 * 24h;

  // Both outlive the registrar.
  Registrar(Store& store, const CertificateAuthority& authority, TimePoint now)
      : store_(store), authority_(authority), refusals_(kRefusals, now) {}

  struct Moment {
    TimePoint now;
    WallTime wall;
  };
  // `caller`: the identity of the client certificate, if it showed one. Error kinds: kDenied (no
  // right), kInvalid (the request), kOverflow (too often), kInternal (our disk).
  Result<v1::SignCertificateResponse> sign(const ObjectSet& objects,
                                           const v1::SignCertificateRequest& request,
                                           const std::optional<SpiffeId>& caller, Moment at);

  struct Token {
    std::string secret;
    WallTime expires;
  };
  // `lifetime` zero: kTokenLifetime.
  Result<Token> make_token(const ObjectSet& objects, std::string_view workload, Duration lifetime,
                           WallTime now);

  const std::string& trust_bundle() const { return authority_.certificate(); }

 private:
  Result<v1::SignCertificateResponse> decide(const ObjectSet& objects,
                                             const v1::SignCertificateRequest& request,
                                             const std::optional<SpiffeId>& caller, Moment at);
  Result<Store::Token> valid_token(std::string_view hash, std::string_view workload,
                                   WallTime now) const;
  bool too_often(const std::string& workload, TimePoint now);

  Store& store_;
  const CertificateAuthority& authority_;
  Rate refusals_;
  std::map<std::string, Rate> signed_;  // By workload of the mesh, so bounded by it.
};

}  // namespace glia
