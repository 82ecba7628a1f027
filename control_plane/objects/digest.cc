#include "control_plane/objects/digest.h"

#include <openssl/sha.h>

#include <cstring>
#include <span>

#include "proxy/base/hex.h"

namespace glia {

std::string digest(std::string_view content) {
  constexpr std::size_t kBytes = 8;
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(content.data()), content.size(), hash);
  return lower_hex(std::span(hash).first(kBytes));
}

SetDigest SetDigest::of(std::string_view member) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(member.data()), member.size(), hash);
  SetDigest digest;
  std::memcpy(&digest.high, hash, sizeof digest.high);
  std::memcpy(&digest.low, hash + sizeof digest.high, sizeof digest.low);
  return digest;
}

std::string SetDigest::text() const {
  const uint64_t both = high ^ low;
  uint8_t bytes[sizeof both];  // The highest first.
  for (std::size_t i = 0; i < sizeof bytes; ++i) {
    bytes[i] = static_cast<uint8_t>(both >> (8 * (sizeof bytes - 1 - i)));
  }
  return lower_hex(bytes);
}

}  // namespace glia
