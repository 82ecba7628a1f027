// SpiffeId: the name of a workload, spiffe://trust-domain/path (SPIFFE-ID specification, section
// 2).
//
// The rules are strict so that two spellings are never one identity: no port, user, query,
// fragment, percent-encoding, empty or dot segments; the trust domain is lower case.
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/result.h"

namespace glia {

class SpiffeId {
 public:
  static constexpr std::size_t kLongest = 2048;            // bytes, the whole id
  static constexpr std::size_t kLongestTrustDomain = 255;  // bytes

  // Scheme and trust domain compare without case and are kept in lower case.
  static Result<SpiffeId> parse(std::string_view text);
  // Just the domain: "mesh.example".
  static Result<void> check_trust_domain(std::string_view domain);

  std::string_view trust_domain() const;
  // "" for a trust domain itself, else starts with '/'.
  std::string_view path() const;
  const std::string& text() const { return text_; }

  friend bool operator==(const SpiffeId&, const SpiffeId&) = default;

 private:
  std::string text_;
  std::size_t path_at_ = 0;  // Where the path begins in text_.
};

}  // namespace glia
