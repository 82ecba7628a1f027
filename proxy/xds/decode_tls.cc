#include "proxy/xds/decode_tls.h"

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/xds/decode_common.h"

namespace glia {

namespace {

int decode_version(const Reader& params, std::string_view field, int automatic) {
  const std::string name = params.choice(field);
  if (name == "TLS_AUTO" || name.empty()) return automatic;
  if (name == "TLSv1_2") return 0x0303;
  if (name == "TLSv1_3") return 0x0304;
  params.fail(field, cat(name, " is not supported by glia-proxy, the least is TLSv1_2"));
  return automatic;
}

void decode_params(const Reader& params, TlsOptions& options) {
  options.minimum_version = decode_version(params, "tls_minimum_protocol_version", 0x0303);
  options.maximum_version = decode_version(params, "tls_maximum_protocol_version", 0x0304);
  if (options.minimum_version > options.maximum_version) {
    params.fail("tls_minimum_protocol_version is above tls_maximum_protocol_version");
  }
  options.cipher_suites = params.texts("cipher_suites");
  options.groups = params.texts("ecdh_curves");
}

SanMatch decode_san(const Reader& san) {
  SanMatch match;
  const std::string type = san.choice("san_type");
  if (type == "URI")
    match.type = SanMatch::Type::kUri;
  else if (type == "DNS")
    match.type = SanMatch::Type::kDns;
  else if (type == "IP_ADDRESS")
    match.type = SanMatch::Type::kIp;
  else if (type == "EMAIL")
    match.type = SanMatch::Type::kEmail;
  else
    san.fail("san_type", cat(type, " is not supported by glia-proxy"));
  const Reader matcher = san.message("matcher");
  constexpr std::pair<std::string_view, SanMatch::Kind> kKinds[] = {
      {"exact", SanMatch::Kind::kExact},
      {"prefix", SanMatch::Kind::kPrefix},
      {"suffix", SanMatch::Kind::kSuffix},
      {"contains", SanMatch::Kind::kContains}};
  for (const auto& [field, kind] : kKinds) {
    if (!matcher.has(field)) continue;
    match.kind = kind;
    match.value = matcher.text(field);
    // An empty prefix would let everybody in; an empty name matches nobody. Neither is meant.
    if (match.value.empty()) matcher.fail(field, "is empty");
    return match;
  }
  matcher.accept_all();
  matcher.fail(
      "needs exact, prefix, suffix or contains; glia-proxy matches certificate names by these "
      "only");
  return match;
}

void decode_validation(const Reader& context, std::string& trusted_ca,
                       std::vector<SanMatch>& sans) {
  trusted_ca = decode_data_source(context.message("trusted_ca"));
  context.each("match_typed_subject_alt_names",
               [&](const Reader& san, std::size_t) { sans.push_back(decode_san(san)); });
}

std::string decode_secret_name(const Reader& config, bool& by_ads) {
  std::string name = config.text("name");
  by_ads = config.has("sds_config");
  if (name.empty()) config.fail("has no name");
  expect_ads(config.message("sds_config"));
  return name;
}

void decode_certificate(const Reader& certificate, std::string& chain, std::string& key) {
  chain = decode_data_source(certificate.message("certificate_chain"));
  key = decode_data_source(certificate.message("private_key"));
  if (!certificate.has("certificate_chain")) certificate.fail("has no certificate_chain");
  if (!certificate.has("private_key")) certificate.fail("has no private_key");
}

// "There is at most one": several certificates would be chosen by key type or name.
void expect_one(const Reader& common, std::string_view field, std::size_t index) {
  if (index == 1) common.fail(field, "more than one certificate is not supported by glia-proxy");
}

// Returns whether the peer is verified.
bool decode_validation_choice(const Reader& common, TlsSettings& tls) {
  TlsOptions& options = tls.options;
  if (common.has("validation_context")) {
    const Reader context = common.message("validation_context");
    decode_validation(context, options.trusted_ca, options.peer_sans);
    if (!context.has("trusted_ca")) context.fail("has no trusted_ca, so nobody would be trusted");
    return true;
  }
  if (common.has("validation_context_sds_secret_config")) {
    tls.validation_secret = decode_secret_name(
        common.message("validation_context_sds_secret_config"), tls.validation_by_ads);
    return true;
  }
  const Reader combined = common.message("combined_validation_context");
  if (!combined.present()) return false;
  decode_validation(combined.message("default_validation_context"), options.trusted_ca,
                    options.peer_sans);
  const Reader secret = combined.message("validation_context_sds_secret_config");
  if (!secret.present())
    combined.fail("has no validation_context_sds_secret_config");
  else
    tls.validation_secret = decode_secret_name(secret, tls.validation_by_ads);
  return true;
}

bool decode_common_context(const Reader& common, TlsSettings& tls) {
  TlsOptions& options = tls.options;
  decode_params(common.message("tls_params"), options);
  common.each("tls_certificates", [&](const Reader& certificate, std::size_t index) {
    expect_one(common, "tls_certificates", index);
    decode_certificate(certificate, options.certificate_chain, options.private_key);
  });
  common.each("tls_certificate_sds_secret_configs", [&](const Reader& config, std::size_t index) {
    expect_one(common, "tls_certificate_sds_secret_configs", index);
    tls.certificate_secret = decode_secret_name(config, tls.certificate_by_ads);
  });
  if (common.has("tls_certificates") && !tls.certificate_secret.empty()) {
    common.fail(
        "has tls_certificates and tls_certificate_sds_secret_configs; only one is supported");
  }
  options.alpn = common.texts("alpn_protocols");
  for (const std::string& protocol : options.alpn) {
    if (protocol.empty() || protocol.size() > 255)
      common.fail("alpn_protocols", "has an empty or too long name");
  }
  return decode_validation_choice(common, tls);
}

// RFC 8446 section 4.6.1: a week.
constexpr Duration kLongestTicket = 24h * 7;

TlsSettings decode_downstream(const Reader& context) {
  TlsSettings tls{.side = TlsContext::Side::kServer};
  const Reader common = context.message("common_tls_context");
  const bool verified = decode_common_context(common, tls);
  tls.options.require_client_certificate = context.flag("require_client_certificate");
  tls.options.request_client_certificate = verified;
  tls.options.tickets = !context.flag("disable_stateless_session_resumption");
  tls.options.ticket_lifetime = context.duration("session_timeout", tls.options.ticket_lifetime);
  if (tls.options.ticket_lifetime < 1s || tls.options.ticket_lifetime > kLongestTicket) {
    context.fail("session_timeout", "must be between 1s and 604800s");
  }
  if (tls.options.require_client_certificate && !verified) {
    context.fail("require_client_certificate", "needs a validation_context to check it against");
  }
  if (tls.options.certificate_chain.empty() && tls.certificate_secret.empty() &&
      !common.has("tls_certificates")) {
    context.fail("has no certificate: set tls_certificates or tls_certificate_sds_secret_configs");
  }
  return tls;
}

TlsSettings decode_upstream(const Reader& context) {
  TlsSettings tls{.side = TlsContext::Side::kClient};
  const bool verified = decode_common_context(context.message("common_tls_context"), tls);
  if (!verified && context.present()) {
    LOG(warning, context.path(),
        " has no validation context: the upstream's certificate is not checked");
  }
  tls.options.server_name = context.text("sni");
  tls.options.sessions =
      static_cast<uint32_t>(context.number("max_session_keys", tls.options.sessions, 100));
  return tls;
}

}  // namespace

std::optional<TlsSettings> decode_transport_socket(const Reader& socket, TlsContext::Side side,
                                                   std::optional<ProxyVersion>* proxy_header) {
  if (!socket.present()) return {};
  const std::string name = socket.text("name");
  const Reader config = socket.message("typed_config").content();
  if (!config.present()) {
    if (!socket.has("typed_config") && name != "envoy.transport_sockets.raw_buffer") {
      socket.fail("has no typed_config");
    }
    return {};
  }
  if (proxy_header != nullptr && config.type() ==
                                     "envoy.extensions.transport_sockets.proxy_protocol.v3."
                                     "ProxyProtocolUpstreamTransport") {
    const bool second = config.message("config").choice("version") == "V2";
    *proxy_header = second ? ProxyVersion::kV2 : ProxyVersion::kV1;
    if (!config.has("transport_socket")) config.fail("has no transport_socket");
    return decode_transport_socket(config.message("transport_socket"), side);
  }
  const bool server = side == TlsContext::Side::kServer;
  const std::string_view type = config.type();
  if (type == "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer") return {};
  if (server && type == "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext") {
    return decode_downstream(config);
  }
  if (!server && type == "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext") {
    return decode_upstream(config);
  }
  config.accept_all();
  config.fail(cat("the type ", type, " is not supported by glia-proxy here"));
  return {};
}

SecretResource decode_secret(const Reader& secret) {
  SecretResource decoded;
  decoded.name = secret.text("name");
  if (decoded.name.empty()) secret.fail("has no name");
  if (secret.has("tls_certificate")) {
    decode_certificate(secret.message("tls_certificate"), decoded.certificate_chain,
                       decoded.private_key);
  } else if (secret.has("validation_context")) {
    decode_validation(secret.message("validation_context"), decoded.trusted_ca, decoded.peer_sans);
  } else {
    secret.fail("needs tls_certificate or validation_context");
  }
  return decoded;
}

}  // namespace glia
