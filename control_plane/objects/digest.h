// digest: a short name for a content, so that equal contents have equal versions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace glia {

// The first 16 hexadecimal digits of SHA-256; no key, no secret.
std::string digest(std::string_view content);

// Names a set: the sum of hashes of its members, 128 bits, so that one more or one less is one step.
struct SetDigest {
  uint64_t high = 0, low = 0;

  static SetDigest of(std::string_view member);
  SetDigest operator+(const SetDigest& other) const { return {high + other.high, low + other.low}; }
  SetDigest operator-(const SetDigest& other) const { return {high - other.high, low - other.low}; }
  bool operator==(const SetDigest&) const = default;
  std::string text() const;  // 16 hexadecimal digits.
};

}  // namespace glia
