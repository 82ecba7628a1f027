#include "proxy/net/tls_session.h"

#include <openssl/ssl.h>

namespace glia {

void TlsSessions::clear() {
  for (const Kept& one : kept_) SSL_SESSION_free(one.session);
  kept_.clear();
}

void TlsSessions::drop(std::deque<Kept>::iterator one) {
  SSL_SESSION_free(one->session);
  kept_.erase(one);
}

void TlsSessions::keep(SSL_SESSION* session, std::shared_ptr<const TlsContext> context,
                       WallTime until, std::size_t most) {
  kept_.push_back({session, std::move(context), until});
  while (kept_.size() > most) drop(kept_.begin());
}

SSL_SESSION* TlsSessions::take(const TlsContext& context, WallTime now) {
  while (!kept_.empty()) {
    const auto newest = kept_.end() - 1;
    if (newest->context.get() != &context || newest->until <= now) {
      drop(newest);
      continue;
    }
    SSL_SESSION* const session = newest->session;
    SSL_SESSION_up_ref(session);
    if (SSL_SESSION_should_be_single_use(session) == 1) drop(newest);
    return session;
  }
  return nullptr;
}

}  // namespace glia
