#include "proxy/flow/forwarded.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "proxy/base/random.h"
#include "proxy/base/text.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr std::string_view kClientCert = "x-forwarded-client-cert";

// The two hexadecimal digits of each byte.
constexpr std::array<std::array<char, 2>, 256> kHexPairs = [] {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<std::array<char, 2>, 256> pairs{};
  for (std::size_t byte = 0; byte < 256; ++byte) pairs[byte] = {kHex[byte >> 4], kHex[byte & 15]};
  return pairs;
}();
// Room that most elements of XFCC fit into: two names, a hash.
constexpr std::size_t kUsualElement = 320;  // bytes
constexpr std::string_view kForwardedFor = "x-forwarded-for";
constexpr std::string_view kVia = "via";

// A version 4 UUID; unique, not secret.
std::string_view make_request_id(Random& random, Arena& arena) {
  constexpr std::size_t kLength = 36;
  std::array<uint8_t, 16> bytes;
  const uint64_t bits[2] = {random.next(), random.next()};
  std::memcpy(bytes.data(), bits, sizeof bits);
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0F) | 0x40);  // The version,
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3F) | 0x80);  // and the variant (RFC 9562).
  char* const text = static_cast<char*>(arena.allocate(kLength, 1));
  char* at = text;
  std::size_t i = 0;
  for (const std::size_t group_end : {4, 6, 8, 10, 16}) {
    if (i > 0) *at++ = '-';
    for (; i < group_end; ++i, at += 2) std::memcpy(at, kHexPairs[bytes[i]].data(), 2);
  }
  return {text, kLength};
}

// Values with , ; = or quotes are quoted, inner quotes escaped.
bool asks_for_quotes(std::string_view value) {
  bool asks = false;  // Every byte is looked at, which the compiler does sixteen at a time.
  for (const char c : value) asks |= (c == ',') | (c == ';') | (c == '=') | (c == '"');
  return asks;
}

void append_quoted(std::string& out, std::string_view value) {
  if (!asks_for_quotes(value)) {
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

// All fields of one name as the one list that they are (RFC 9110 section 5.3).
std::string joined_values(const Headers& headers, std::string_view name) {
  std::string all;
  for (const Field& field : headers.fields()) {
    if (field.name == name) all += cat(all.empty() ? "" : ",", field.value);
  }
  return all;
}

bool quotations_end(std::string_view text) {
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (inside && text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      inside = !inside;
  }
  return !inside;
}

std::string make_client_cert_element(const TlsInfo& tls, const ClientCertDetails& details) {
  std::string element;
  element.reserve(kUsualElement);
  const auto add = [&](std::string_view key, std::string_view value) {
    if (!element.empty()) element += ';';
    element += key;
    element += '=';
    is_value(value) ? append_quoted(element, value) : append_quoted(element, escaped_value(value));
  };
  if (!tls.local_uri_sans.empty()) add("By", tls.local_uri_sans.front());
  add("Hash", tls.peer_certificate_sha256);
  // Quoted as Envoy does, though nothing in it asks for that.
  if (details.cert) element += cat(";Cert=\"", tls.peer_certificate_pem_url_encoded(), "\"");
  if (details.subject) element += cat(";Subject=\"", escaped_value(tls.peer_subject), "\"");
  if (details.uri && !tls.peer_uri_sans.empty()) add("URI", tls.peer_uri_sans.front());
  if (details.dns) {
    for (const std::string& name : tls.peer_dns_sans) add("DNS", name);
  }
  return element;
}

void write_client_cert(Exchange& exchange) {
  Headers& headers = exchange.request().headers;
  const TlsInfo* tls = exchange.connection().tls;
  const bool mutual = tls != nullptr && tls->peer_certificate;
  const ForwardClientCert mode = exchange.manager().forward_client_cert;
  switch (mode) {
    case ForwardClientCert::kAlwaysForwardOnly: return;
    case ForwardClientCert::kForwardOnly:
      if (!mutual) headers.remove(kClientCert);
      return;
    case ForwardClientCert::kSanitize: headers.remove(kClientCert); return;
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
      std::string all = joined_values(headers, kClientCert);
      // Inside an open quotation our element would be read as a part of theirs.
      if (!quotations_end(all)) all.clear();
      if (!all.empty()) all += ',';
      all += client_cert_element(*tls, exchange.manager().client_cert_details);
      headers.set(kClientCert, all);
      return;
    }
  }
}

// How often `list` has the member `wanted`.
int count_members(std::string_view list, std::string_view wanted) {
  int count = 0;
  for_each_member(list, [&](std::string_view member) {
    count += member == wanted;
    return true;
  });
  return count;
}

void append_to_via(Headers& headers, std::string_view via) {
  const std::string before = joined_values(headers, kVia);
  headers.set(kVia, before.empty() ? std::string(via) : cat(before, ", ", via));
}

}  // namespace

const std::string& client_cert_element(const TlsInfo& tls, const ClientCertDetails& details) {
  constexpr unsigned kMade = 1;
  const unsigned asked = kMade | (details.subject ? 2u : 0u) | (details.cert ? 4u : 0u) |
                         (details.dns ? 8u : 0u) | (details.uri ? 16u : 0u);
  if (tls.forwarded_details != asked) {
    tls.forwarded = make_client_cert_element(tls, details);
    tls.forwarded_details = asked;
  }
  return tls.forwarded;
}

Refusal write_via(Exchange& exchange) {
  const std::string& via = exchange.manager().via;
  if (via.empty()) return {};
  Headers& headers = exchange.request().headers;
  if (count_members(joined_values(headers, kVia), via) >= kMostPasses) {
    return {508, "the request came through here before, again and again; its routes form a circle"};
  }
  append_to_via(headers, via);
  return {};
}

void append_via(const HttpManager& manager, Response& response) {
  if (!manager.via.empty()) append_to_via(response.headers, manager.via);
}

bool forwards_left(Request& request) {
  if (request.method != "OPTIONS") return true;
  const auto field = request.headers.get("max-forwards");
  if (!field) return true;
  const auto left = parse_decimal(*field);
  if (!left) return true;
  if (*left == 0) return false;
  request.headers.set("max-forwards", cat(*left - 1));
  return true;
}

std::string_view write_forwarded_fields(Exchange& exchange) {
  Headers& headers = exchange.request().headers;
  Arena& arena = *exchange.arena();
  write_client_cert(exchange);
  // Not the scheme that the request names: over HTTP/2 a client may write what it likes there.
  const std::string_view proto = exchange.connection().tls != nullptr ? "https" : "http";
  if (exchange.manager().use_remote_address && !exchange.connection().remote.is_unix()) {
    const std::string before = joined_values(headers, kForwardedFor);
    const std::string peer = exchange.connection().remote.ip_text();
    headers.set(kForwardedFor, before.empty() ? peer : cat(before, ",", peer));
    headers.set("x-forwarded-proto", proto);
  } else if (!headers.has("x-forwarded-proto")) {
    headers.add_kept("x-forwarded-proto", proto);
  }
  const auto given = headers.get("x-request-id");
  if (given && !given->empty()) return *given;
  if (!exchange.manager().generate_request_id) return {};
  const std::string_view id = make_request_id(exchange.site().context().random, arena);
  if (given) headers.remove("x-request-id");
  headers.add_kept("x-request-id", id, /*unique=*/true);
  return id;
}

const ConnectionTexts& texts_of(const ConnectionInfo& connection) {
  if (connection.texts == nullptr) {
    auto texts = std::make_shared<ConnectionTexts>();
    texts->local = connection.local.text();
    texts->remote = connection.remote.text();
    AccessRecord record;
    record.downstream_address = texts->remote;
    record.listener_address = texts->local;
    put_identities(connection, record);
    append_connection_fields(texts->log_fields, record);
    connection.texts = std::move(texts);
  }
  return *connection.texts;
}

std::string_view meant_for(const ConnectionInfo& connection) {
  return connection.captured ? std::string_view(texts_of(connection).local) : std::string_view();
}

void put_identities(const ConnectionInfo& connection, AccessRecord& record) {
  record.requested_server_name = requested_name(connection);
  const TlsInfo* tls = connection.tls;
  if (tls == nullptr) return;
  if (tls->peer_certificate && !tls->peer_uri_sans.empty()) {
    record.peer_identity = tls->peer_uri_sans.front();
  }
  if (!tls->local_uri_sans.empty()) record.local_identity = tls->local_uri_sans.front();
  record.tls_version = tls->version;
}

std::string direct_peer_text(const ConnectionInfo& connection) {
  const bool named = connection.preamble != nullptr && connection.preamble->peer;
  return named ? connection.preamble->peer->text() : std::string();
}

}  // namespace glia
