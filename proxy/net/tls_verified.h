// VerifiedChains: certificate chains that one worker found good before, so that a peer that comes
// again is not verified again.
//
// In a mesh the same peers come again and again, each with the same certificate, and to check its
// authority's signature takes a fifth of a whole handshake. Path validation (RFC 5280 section 6)
// asks for nothing but the certificates, the trusted ones, the rules and the time, as there are no
// revocation lists here. So a digest of all but the time is kept, and between which moments every
// certificate of the chain is valid. That the peer has the key is proven in each handshake anew.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"

namespace glia {

class VerifiedChains {
 public:
  // `digest`: of what the peer sent and the rules that it was held against.
  bool has(std::string_view digest, WallTime now) const;
  // Takes the place of the one that was kept longest, if there are too many.
  void keep(std::string digest, WallTime from, WallTime until);
  std::size_t size() const { return kept_.size(); }

  static constexpr std::size_t kMostVerified = 256;  // chains

 private:
  struct Kept {
    std::string digest;
    WallTime from, until;
  };
  std::vector<Kept> kept_;
  std::size_t next_ = 0;  // The one to replace, once it is full.
};

}  // namespace glia
