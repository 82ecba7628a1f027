// OwnCertificate: the certificate that a standalone sidecar signs for itself, and signs again at half
// of its life.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "proxy/base/result.h"
#include "proxy/net/loop.h"
#include "proxy/xds/identity.h"

namespace glia {

class OwnCertificate {
 public:
  // The wall clock may jump: it is looked at at least so often.
  static constexpr Duration kLookAgain = 60s;
  // A clock that stands so far before the moment of signing was put right since: the certificate, dated
  // by the wrong one, is not valid yet and would not be renewed for as long.
  static constexpr Duration kClockBack = 60s;
  // A certificate is not renewed more often than this, however short its life.
  static constexpr Duration kLeastLife = 1s;

  struct Wish {
    std::string spiffe_id;
    Duration lifetime = 24h;
    bool operator==(const Wish&) const = default;
  };

  // `ca_directory`: see ca_directory.h. `renewed` puts a new one in force; it is called on the loop
  // after keep() only.
  OwnCertificate(EventLoop& loop, std::string ca_directory,
                 std::function<Result<void>(const HeldIdentity&)> renewed);

  // A new one, which somebody else puts in force.
  Result<HeldIdentity> sign(const Wish& wish) const;
  // That has happened: from now on it is renewed.
  void keep(const Wish& wish, HeldIdentity identity);
  // What the one that is kept was made for.
  const std::optional<Wish>& wish() const { return wish_; }

 private:
  void look();

  EventLoop& loop_;
  const std::string ca_directory_;
  const std::function<Result<void>(const HeldIdentity&)> renewed_;
  std::optional<Wish> wish_;
  WallTime signed_at_;
  WallTime renew_;
  CallbackTimer timer_;
};

}  // namespace glia
