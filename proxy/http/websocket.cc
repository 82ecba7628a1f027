#include "proxy/http/websocket.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <span>

#include "proxy/base/base64.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::size_t kKeyBytes = 16;

std::string base64(std::span<const uint8_t> bytes) {
  std::string text;
  append_base64(text, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return text;
}

}  // namespace

std::string make_websocket_key() {
  std::array<uint8_t, kKeyBytes> bytes;
  RAND_bytes(bytes.data(), bytes.size());
  return base64(bytes);
}

std::string websocket_accept(std::string_view key) {
  const std::string text = cat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  std::array<uint8_t, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const uint8_t*>(text.data()), text.size(), digest.data());
  return base64(digest);
}

}  // namespace glia
