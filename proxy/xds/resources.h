// What the decoders make of one resource: our own configuration types, and beside them what is
// still only a name (secrets, routes). freeze.cc puts the two together.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/mesh/snapshot.h"

namespace glia {

struct TlsSettings {
  TlsContext::Side side = TlsContext::Side::kClient;
  TlsOptions options;
  std::string certificate_secret;  // "" if the certificate is in `options`, or there is none.
  std::string validation_secret;   // "" likewise for the authorities.
  // The secret is asked for by SDS; else it is static, or the proxy makes it itself.
  bool certificate_by_ads = false, validation_by_ads = false;
};

struct ListenerResource {
  struct Chain {
    std::string rds;  // Name of the route configuration; "" if it is inline.
    std::optional<TlsSettings> tls;
  };
  ListenerConfig config;      // Without TLS contexts and without routes by RDS.
  std::vector<Chain> chains;  // One for each of config.chains.
};

struct ClusterResource {
  ClusterConfig config;  // Without its TLS context and without endpoints by EDS.
  std::optional<TlsSettings> tls;
};

// envoy.extensions.transport_sockets.tls.v3.Secret: a certificate with its key, or authorities.
struct SecretResource {
  std::string name;
  std::string certificate_chain, private_key;  // PEM
  std::string trusted_ca;                      // PEM
  std::vector<SanMatch> peer_sans;
};

}  // namespace glia
