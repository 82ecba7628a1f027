// TlsSessions: what a client keeps of its handshakes with one server, so that the next connection
// can resume instead of verifying and signing again.
//
// One for each endpoint on each worker: a session is never offered to another endpoint, and never
// under another configuration than the one that verified it (another certificate of ours, another
// bundle, another expected name). A TLS 1.3 session is used once (RFC 8446 appendix C.4): used
// twice it would let an observer link connections.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>

#include "proxy/base/time.h"
#include "proxy/net/tls.h"

struct ssl_session_st;

namespace glia {

class TlsSessions {
 public:
  TlsSessions() = default;
  TlsSessions(const TlsSessions&) = delete;
  ~TlsSessions() { clear(); }

  std::size_t size() const { return kept_.size(); }
  void clear();

  // For the streams of net/tls. Takes over the session, which `context` verified; `until` is when
  // the first certificate of its chain runs out. The newest `most` are kept.
  void keep(ssl_session_st* session, std::shared_ptr<const TlsContext> context, WallTime until,
            std::size_t most);
  // The newest that may be offered now, for the caller to free; null if there is none.
  ssl_session_st* take(const TlsContext& context, WallTime now);

 private:
  struct Kept {
    ssl_session_st* session;
    std::shared_ptr<const TlsContext> context;
    WallTime until;
  };
  void drop(std::deque<Kept>::iterator one);

  std::deque<Kept> kept_;  // Oldest first.
};

}  // namespace glia
