#include "proxy/net/proxy_protocol.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "proxy/base/text.h"

namespace glia {
namespace {

using namespace std::literals;

constexpr std::string_view kSignature = "\r\n\r\n\0\r\nQUIT\n"sv;  // Version 2, section 2.2.
constexpr std::string_view kWord = "PROXY ";                       // Version 1.
constexpr std::size_t kFixed = 16;   // bytes of version 2 before the addresses
constexpr std::size_t kTlvHead = 3;  // bytes: type and length

ProxyHeader malformed(std::string_view why) {
  ProxyHeader header;
  header.state = ProxyHeader::State::kMalformed;
  header.why = why;
  return header;
}

ProxyHeader complete(std::size_t size) {
  ProxyHeader header;
  header.state = ProxyHeader::State::kComplete;
  header.size = size;
  return header;
}

// Rules are written for IPv4; "::ffff:10.0.0.1" must not slip past them.
Address plain(const Address& address) {
  const auto& six = *reinterpret_cast<const sockaddr_in6*>(address.raw());
  if (address.family() != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) return address;
  sockaddr_in four = {};
  four.sin_family = AF_INET;
  four.sin_port = six.sin6_port;
  std::memcpy(&four.sin_addr, six.sin6_addr.s6_addr + 12, sizeof four.sin_addr);
  return Address::from(reinterpret_cast<const sockaddr*>(&four), sizeof four);
}

// Takes a word and the space behind it off the front; the last word has none.
std::string_view take_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

std::optional<Address> read_address(std::string_view ip, std::string_view port, int family) {
  const std::optional<uint64_t> number = parse_decimal(port);
  const bool canonical = port.size() == 1 || !port.starts_with('0');
  if (!number || *number > 65535 || !canonical) return {};
  const Result<Address> address = Address::ip(ip, static_cast<uint16_t>(*number));
  if (!address || address->family() != family) return {};
  return plain(*address);
}

ProxyHeader read_line(std::string_view bytes) {
  const std::size_t known = std::min(bytes.size(), kWord.size());
  if (bytes.substr(0, known) != kWord.substr(0, known)) return malformed("no PROXY header");
  const bool too_long = bytes.size() >= kLongestProxyLine;
  bytes = bytes.substr(0, kLongestProxyLine);
  const std::size_t end = bytes.find("\r\n");
  if (end == bytes.npos) {
    // A line feed without its carriage return, or a zero byte, can only get worse.
    if (bytes.find_first_of("\n\0"sv) != bytes.npos) return malformed("a line without CRLF");
    if (too_long) return malformed("a line above 107 bytes");
    return {};
  }
  std::string_view line = bytes.substr(kWord.size(), end - kWord.size());
  if (line.find_first_of("\n\0"sv) != line.npos) return malformed("a line without CRLF");
  ProxyHeader header = complete(end + 2);
  const int spaces = static_cast<int>(std::ranges::count(line, ' '));
  const std::string_view family = take_word(line);
  if (family == "UNKNOWN") return header;  // The rest of the line is to be ignored.
  if ((family != "TCP4" && family != "TCP6") || spaces != 4) return malformed("an unknown form");
  const int wanted = family == "TCP4" ? AF_INET : AF_INET6;
  const std::string_view source = take_word(line), destination = take_word(line);
  const std::string_view source_port = take_word(line);
  header.source = read_address(source, source_port, wanted);
  header.destination = read_address(destination, line, wanted);
  if (!header.source || !header.destination) return malformed("a wrong address or port");
  return header;
}

template <class Raw>
Address address_of(Raw raw) {
  return plain(Address::from(reinterpret_cast<const sockaddr*>(&raw), sizeof raw));
}

Address read_v4(const char* ip, const char* port) {
  sockaddr_in raw = {};
  raw.sin_family = AF_INET;
  std::memcpy(&raw.sin_addr, ip, sizeof raw.sin_addr);
  std::memcpy(&raw.sin_port, port, sizeof raw.sin_port);
  return address_of(raw);
}

Address read_v6(const char* ip, const char* port) {
  sockaddr_in6 raw = {};
  raw.sin6_family = AF_INET6;
  std::memcpy(&raw.sin6_addr, ip, sizeof raw.sin6_addr);
  std::memcpy(&raw.sin6_port, port, sizeof raw.sin6_port);
  return address_of(raw);
}

// Additions are type (1), length (2), value, until the header ends.
bool well_formed_additions(std::string_view rest) {
  while (!rest.empty()) {
    if (rest.size() < kTlvHead) return false;
    const std::size_t length = static_cast<std::size_t>(static_cast<uint8_t>(rest[1])) << 8 |
                               static_cast<uint8_t>(rest[2]);
    if (rest.size() - kTlvHead < length) return false;
    rest.remove_prefix(kTlvHead + length);
  }
  return true;
}

ProxyHeader read_binary(std::string_view bytes) {
  const std::size_t known = std::min(bytes.size(), kSignature.size());
  if (bytes.substr(0, known) != kSignature.substr(0, known)) return malformed("no PROXY header");
  const auto byte = [&](std::size_t i) { return static_cast<uint8_t>(bytes[i]); };
  if (bytes.size() > 12 && byte(12) != 0x20 && byte(12) != 0x21) {
    return malformed("an unknown version or command");
  }
  if (bytes.size() < kFixed) return {};
  const std::size_t length = static_cast<std::size_t>(byte(14)) << 8 | byte(15);
  if (kFixed + length > kLongestProxyHeader) return malformed("a header above 4096 bytes");
  if (bytes.size() < kFixed + length) return {};
  ProxyHeader header = complete(kFixed + length);
  if (byte(12) == 0x20) return header;  // LOCAL: whatever follows is to be ignored.
  // Family and transport, with the bytes that its addresses take; datagrams do not come by TCP.
  constexpr std::pair<uint8_t, std::size_t> kForms[] = {
      {0x00, 0}, {0x11, 12}, {0x21, 36}, {0x31, 216}};
  const auto form = std::ranges::find(kForms, byte(13), &std::pair<uint8_t, std::size_t>::first);
  if (form == std::end(kForms)) return malformed("an unknown family or transport");
  if (length < form->second) return malformed("addresses that are cut off");
  if (form->first != 0x00 &&
      !well_formed_additions(bytes.substr(kFixed + form->second, length - form->second))) {
    return malformed("a broken addition (TLV)");
  }
  const char* at = bytes.data() + kFixed;
  if (form->first == 0x11) {
    header.source = read_v4(at, at + 8);
    header.destination = read_v4(at + 4, at + 10);
  } else if (form->first == 0x21) {
    header.source = read_v6(at, at + 32);
    header.destination = read_v6(at + 16, at + 34);
  }
  return header;
}

template <class Value>
void put(std::string& out, const Value& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string write_binary(const Address& source, const Address& destination, bool known) {
  std::string out(kSignature);
  if (!known) return out + "\x20\x00\x00\x00"s;
  if (source.family() == AF_INET) {
    const auto& from = *reinterpret_cast<const sockaddr_in*>(source.raw());
    const auto& to = *reinterpret_cast<const sockaddr_in*>(destination.raw());
    out += "\x21\x11\x00\x0c"s;
    put(out, from.sin_addr), put(out, to.sin_addr), put(out, from.sin_port), put(out, to.sin_port);
    return out;
  }
  const auto& from = *reinterpret_cast<const sockaddr_in6*>(source.raw());
  const auto& to = *reinterpret_cast<const sockaddr_in6*>(destination.raw());
  out += "\x21\x21\x00\x24"s;
  put(out, from.sin6_addr), put(out, to.sin6_addr);
  put(out, from.sin6_port), put(out, to.sin6_port);
  return out;
}

}  // namespace

ProxyHeader read_proxy_header(std::string_view bytes) {
  if (bytes.empty()) return {};
  return bytes[0] == kSignature[0] ? read_binary(bytes) : read_line(bytes);
}

std::string write_proxy_header(ProxyVersion version, const Address& source,
                               const Address& destination) {
  const int family = source.family();
  const bool known = (family == AF_INET || family == AF_INET6) && destination.family() == family;
  if (version == ProxyVersion::kV2) return write_binary(source, destination, known);
  if (!known) return "PROXY UNKNOWN\r\n";
  return cat("PROXY ", family == AF_INET ? "TCP4 " : "TCP6 ", source.ip_text(), " ",
             destination.ip_text(), " ", source.port(), " ", destination.port(), "\r\n");
}

}  // namespace glia
