// The webhook of glia-control: an HTTPS server that the API server asks about pods, and the configuration
// that tells it to (MutatingWebhookConfiguration).
//
// It lives on the main loop: a cluster makes few pods a second, and an answer takes well below a millisecond.
// Its certificate is signed by the mesh's own authority and made anew at half of its life, without a
// restart; the authority, which the configuration names, stays, so that there is no moment at which one is
// right and the other is not.
#pragma once

#include <memory>
#include <string>

#include "control_plane/inject/review.h"
#include "proxy/http/small_server.h"
#include "proxy/net/tls.h"
#include "proxy/net/x509.h"

namespace glia {

struct InjectWebhookOptions {
  Address listen;
  std::string service = "glia-control.glia-system.svc";  // As the API server calls it.
  InjectSettings settings;
};

// YAML for `kubectl apply`. `authority`: PEM.
std::string webhook_configuration(const std::string& authority, const std::string& service);

class InjectWebhook final : private Service {
 public:
  static constexpr Duration kLongestReviewTime = 5s;  // Of a request, its body included.
  static constexpr Duration kHandshakeTime = 5s;
  static constexpr Duration kCertificateLifetime = 24h;  // Renewed at half of it.

  // All outlive it. Used, and destroyed, on the loop's thread, from outside of its callbacks.
  InjectWebhook(EventLoop& loop, Network& network, const CertificateAuthority& authority,
                InjectWebhookOptions options);
  Result<void> listen();
  const Address& address() const { return server_.address(); }  // With the real port.

 private:
  Task<void> serve(ServerStream& stream) override;
  Result<void> make_certificate();
  void renew();

  EventLoop& loop_;
  const CertificateAuthority& authority_;
  const InjectWebhookOptions options_;
  std::shared_ptr<const TlsContext> tls_;
  CallbackTimer renewal_;
  SmallServer server_;
};

}  // namespace glia
