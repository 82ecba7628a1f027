#include "proxy/net/tls_verified.h"

#include <algorithm>
#include <utility>

namespace glia {

bool VerifiedChains::has(std::string_view digest, WallTime now) const {
  return std::ranges::any_of(kept_, [&](const Kept& one) {
    return one.digest == digest && one.from <= now && now < one.until;
  });
}

void VerifiedChains::keep(std::string digest, WallTime from, WallTime until) {
  Kept one{std::move(digest), from, until};
  if (kept_.size() < kMostVerified) return kept_.push_back(std::move(one));
  kept_[next_] = std::move(one);
  next_ = (next_ + 1) % kMostVerified;
}

}  // namespace glia
