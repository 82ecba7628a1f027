#include "control_plane/objects/digest.h"

#include <openssl/sha.h>

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

}  // namespace glia
