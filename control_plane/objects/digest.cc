#include "control_plane/objects/digest.h"

#include <openssl/sha.h>

#include <cstring>

namespace glia {

std::string digest(std::string_view content) {
  constexpr std::size_t kBytes = 8;
  constexpr char kHex[] = "0123456789abcdef";
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(content.data()), content.size(), hash);
  std::string out;
  for (std::size_t i = 0; i < kBytes; ++i) {
    out += kHex[hash[i] >> 4];
    out += kHex[hash[i] & 15];
  }
  return out;
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
  constexpr char kHex[] = "0123456789abcdef";
  constexpr int kDigits = 16, kBits = 4;
  const uint64_t both = high ^ low;
  std::string out;
  for (int digit = kDigits - 1; digit >= 0; --digit) out += kHex[(both >> (digit * kBits)) & 15];
  return out;
}

}  // namespace glia
