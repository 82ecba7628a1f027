#include "proxy/server/own_certificate.h"

#include <algorithm>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/net/ca_directory.h"
#include "proxy/net/spiffe.h"

namespace glia {

OwnCertificate::OwnCertificate(EventLoop& loop, std::string ca_directory,
                               std::function<Result<void>(const HeldIdentity&)> renewed)
    : loop_(loop),
      ca_directory_(std::move(ca_directory)),
      renewed_(std::move(renewed)),
      timer_(loop, [this] { look(); }) {}

Result<HeldIdentity> OwnCertificate::sign(const Wish& wish) const {
  const WallTime now = loop_.clock().wall_now();
  TRY(const SpiffeId id, SpiffeId::parse(wish.spiffe_id));
  TRY(const CertificateAuthority authority,
      open_ca_directory(ca_directory_, id.trust_domain(), now));
  TRY(Identity leaf,
      issue(authority, {.uri_san = wish.spiffe_id, .now = now, .lifetime = wish.lifetime}));
  LOG(info, "signed a certificate for ", wish.spiffe_id, ", renewed at half of its life");
  return make_identity(std::move(leaf.certificate), std::move(leaf.private_key),
                       authority.certificate());
}

void OwnCertificate::keep(const Wish& wish, HeldIdentity identity) {
  wish_ = wish;
  // At half of what is left: the beginning is dated back, for clocks that go slow.
  const WallTime now = loop_.clock().wall_now();
  signed_at_ = now;
  renew_ = now + std::max<Duration>((identity.not_after - now) / 2, kLeastLife);
  look();
}

void OwnCertificate::look() {
  const WallTime now = loop_.clock().wall_now();
  const Duration left = renew_ - now;
  const bool clock_went_back = now < signed_at_ - kClockBack;
  if (left > Duration::zero() && !clock_went_back) return timer_.start(std::min(left, kLookAgain));
  Result<HeldIdentity> fresh = sign(*wish_);
  const Result<void> used = fresh ? renewed_(*fresh) : Result<void>(std::move(fresh).error());
  if (used) return keep(*wish_, *std::move(fresh));
  LOG(error, "the certificate cannot be renewed: ", used.error().message(), "; trying again in ",
      to_seconds(kLookAgain), " s");
  timer_.start(kLookAgain);
}

}  // namespace glia
