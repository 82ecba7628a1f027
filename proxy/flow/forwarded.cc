#include "proxy/flow/forwarded.h"

#include "proxy/base/random.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kClientCert = "x-forwarded-client-cert";

// A version 4 UUID; unique, not secret.
std::string_view make_request_id(Random& random, Arena& arena) {
  static constexpr char kHex[] = "0123456789abcdef";
  constexpr std::size_t kLength = 36;
  char text[kLength];
  uint64_t bits[2] = {random.next(), random.next()};
  bits[0] = (bits[0] & ~0xF000ull) | 0x4000;
  bits[1] = (bits[1] & ~(3ull << 62)) | (2ull << 62);
  std::size_t at = 0;
  for (std::size_t nibble = 0; nibble < 32; ++nibble) {
    if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) text[at++] = '-';
    text[at++] = kHex[(bits[nibble / 16] >> (60 - 4 * (nibble % 16))) & 15];
  }
  return arena.copy({text, kLength});
}

// Values with , ; = or quotes are quoted, inner quotes escaped.
void append_quoted(std::string& out, std::string_view value) {
  if (value.find_first_of(",;=\"") == value.npos) {
    out += value;
    return;
  }
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

void write_client_cert(Exchange& exchange) {
  Headers& headers = exchange.request().headers;
  const TlsInfo* tls = exchange.connection().tls;
  const bool mutual = tls != nullptr && tls->peer_certificate;
  const ForwardClientCert mode = exchange.manager().forward_client_cert;
  switch (mode) {
    case ForwardClientCert::kAlwaysForwardOnly:
      return;
    case ForwardClientCert::kForwardOnly:
      if (!mutual) headers.remove(kClientCert);
      return;
    case ForwardClientCert::kSanitize:
      headers.remove(kClientCert);
      return;
    case ForwardClientCert::kSanitizeSet:
      headers.remove(kClientCert);
      if (mutual) {
        headers.add(kClientCert, client_cert_element(*tls, exchange.manager().client_cert_details));
      }
      return;
    case ForwardClientCert::kAppendForward: {
      // Only a caller who proved who it is may speak for those before it.
      if (!mutual) {
        headers.remove(kClientCert);
        return;
      }
      std::string all;
      for (const Field& field : std::as_const(headers).fields()) {
        if (field.name == kClientCert) all += cat(field.value, ",");
      }
      all += client_cert_element(*tls, exchange.manager().client_cert_details);
      headers.set(kClientCert, all);
      return;
    }
  }
}

}  // namespace

std::string client_cert_element(const TlsInfo& tls, const ClientCertDetails& details) {
  std::string element;
  const auto add = [&](std::string_view key, std::string_view value) {
    if (!element.empty()) element += ';';
    element += cat(key, "=");
    append_quoted(element, value);
  };
  if (!tls.local_uri_sans.empty()) add("By", tls.local_uri_sans.front());
  add("Hash", tls.peer_certificate_sha256);
  if (details.cert) add("Cert", tls.peer_certificate_pem_url_encoded());
  if (details.subject) element += cat(";Subject=\"", tls.peer_subject, "\"");
  if (details.uri && !tls.peer_uri_sans.empty()) add("URI", tls.peer_uri_sans.front());
  if (details.dns) {
    for (const std::string& name : tls.peer_dns_sans) add("DNS", name);
  }
  return element;
}

std::string_view write_forwarded_fields(Exchange& exchange) {
  Headers& headers = exchange.request().headers;
  Arena& arena = *exchange.arena();
  write_client_cert(exchange);
  if (exchange.manager().use_remote_address && !exchange.connection().remote.is_unix()) {
    const std::string peer = exchange.connection().remote.ip_text();
    const auto before = headers.get("x-forwarded-for");
    headers.set("x-forwarded-for", before ? cat(*before, ",", peer) : peer);
    headers.set("x-forwarded-proto", exchange.request().scheme);
  } else if (!headers.has("x-forwarded-proto")) {
    headers.add_kept("x-forwarded-proto", exchange.request().scheme);
  }
  if (const auto id = headers.get("x-request-id"); id && !id->empty()) return *id;
  if (!exchange.manager().generate_request_id) return {};
  const std::string_view id = make_request_id(exchange.site().context().random, arena);
  headers.remove("x-request-id");
  headers.add_kept("x-request-id", id, /*unique=*/true);
  return id;
}

}  // namespace glia
