#include "proxy/net/client_hello.h"

#include <openssl/bytestring.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kClientHelloMessage = 1;
constexpr std::size_t kRecordHead = 5, kMessageHead = 4;  // bytes
constexpr uint16_t kServerNameExtension = 0, kAlpnExtension = 16;

std::string_view view(const CBS& bytes) {
  return {reinterpret_cast<const char*>(CBS_data(&bytes)), CBS_len(&bytes)};
}

// Bytes of the handshake message that begins so, as far as that is known.
std::size_t size_of(std::string_view message) {
  if (message.size() < kMessageHead) return kMessageHead;
  const auto byte = [&](std::size_t i) { return std::size_t{static_cast<uint8_t>(message[i])}; };
  return kMessageHead + (byte(1) << 16 | byte(2) << 8 | byte(3));
}

// The handshake message that the records carry, as far as they are here. What comes behind it is
// nobody's business: early data, for one.
std::string unwrap(std::string_view bytes, ClientHello::State& state) {
  std::string message;
  state = ClientHello::State::kNeedMore;
  while (bytes.size() >= kRecordHead) {
    const auto byte = [&](std::size_t i) { return static_cast<uint8_t>(bytes[i]); };
    const std::size_t length = static_cast<std::size_t>(byte(3)) << 8 | byte(4);
    if (byte(0) != kHandshakeRecord || byte(1) != 3 || length == 0) {
      state = ClientHello::State::kNotTls;
      return message;
    }
    message += bytes.substr(kRecordHead, length);
    if (bytes.size() < kRecordHead + length || message.size() >= size_of(message)) return message;
    bytes.remove_prefix(kRecordHead + length);
  }
  return message;
}

bool read_extension(uint16_t type, CBS body, ClientHello& hello) {
  CBS list, item;
  if (type == kServerNameExtension) {
    uint8_t kind = 0;
    if (!CBS_get_u16_length_prefixed(&body, &list) || !CBS_get_u8(&list, &kind) ||
        !CBS_get_u16_length_prefixed(&list, &item)) {
      return false;
    }
    if (kind == 0) hello.server_name = to_lower(view(item));
  } else if (type == kAlpnExtension) {
    if (!CBS_get_u16_length_prefixed(&body, &list)) return false;
    while (CBS_len(&list) > 0) {
      if (!CBS_get_u8_length_prefixed(&list, &item)) return false;
      hello.application_protocols.emplace_back(view(item));
    }
  }
  return true;
}

bool read_message(CBS message, ClientHello& hello) {
  CBS skipped, extensions;
  constexpr std::size_t kVersionAndRandom = 2 + 32;
  if (!CBS_skip(&message, kVersionAndRandom) ||
      !CBS_get_u8_length_prefixed(&message, &skipped) ||   // session id
      !CBS_get_u16_length_prefixed(&message, &skipped) ||  // cipher suites
      !CBS_get_u8_length_prefixed(&message, &skipped)) {   // compression
    return false;
  }
  if (CBS_len(&message) == 0) return true;
  if (!CBS_get_u16_length_prefixed(&message, &extensions)) return false;
  while (CBS_len(&extensions) > 0) {
    uint16_t type = 0;
    CBS body;
    if (!CBS_get_u16(&extensions, &type) || !CBS_get_u16_length_prefixed(&extensions, &body) ||
        !read_extension(type, body, hello)) {
      return false;
    }
  }
  return true;
}

}  // namespace

ClientHello read_client_hello(std::string_view bytes) {
  ClientHello hello;
  if (bytes.empty()) return hello;
  if (static_cast<uint8_t>(bytes[0]) != kHandshakeRecord) {
    hello.state = ClientHello::State::kNotTls;
    return hello;
  }
  // The same verdict however the bytes were cut.
  bytes = bytes.substr(0, kLargestHelloRecords);
  const std::string message = unwrap(bytes, hello.state);
  if (hello.state == ClientHello::State::kNotTls) return hello;
  CBS rest;
  CBS_init(&rest, reinterpret_cast<const uint8_t*>(message.data()), message.size());
  uint8_t type = 0;
  uint32_t length = 0;
  if (message.size() >= kMessageHead) {
    CBS_get_u8(&rest, &type);
    CBS_get_u24(&rest, &length);
    CBS body;
    if (type != kClientHelloMessage || length > kLargestClientHello) {
      hello.state = ClientHello::State::kNotTls;
    } else if (CBS_get_bytes(&rest, &body, length)) {
      hello.state =
          read_message(body, hello) ? ClientHello::State::kComplete : ClientHello::State::kNotTls;
    }
  }
  if (hello.state == ClientHello::State::kNeedMore && bytes.size() >= kLargestHelloRecords) {
    hello.state = ClientHello::State::kNotTls;
  }
  return hello;
}

}  // namespace glia
