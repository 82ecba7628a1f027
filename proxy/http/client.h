// Client: one upstream connection, HTTP/1.1 (one call at a time) or HTTP/2 (many).
//
// A call is the response's body: it owns the upstream stream and the task that pumps the request.
// So dropping a response resets its call, and nothing else has to be remembered.
#pragma once

#include <cstdint>
#include <memory>

#include "proxy/http/message.h"
#include "proxy/http/server.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

// Counts of one cluster on one worker.
struct HttpClientStats {
  uint64_t connections = 0, connections_active = 0, connect_failed = 0;
  uint64_t requests = 0, requests_active = 0;
  uint64_t protocol_errors = 0, resets_received = 0, resets_sent = 0;
  uint64_t bytes_received = 0, bytes_sent = 0;
};

// One request on its way and its response coming back. Destroying it before its end resets the
// stream (HTTP/2) or closes the connection (HTTP/1).
class Call : public Body {
 public:
  // The awaitable below; woken when the head is there or the call broke.
  virtual bool head_ready() const = 0;
  virtual void wait_head(Waiter& waiter) = 0;
  // Once head_ready(): the response, without its body (the caller puts this call there), or the
  // error. Retry::kSafe if the request may be sent again by whoever still has all of its body:
  //  - the peer certainly did not act on it: not a byte of it left, REFUSED_STREAM, or a stream
  //    above the last of a GOAWAY (RFC 9113 sections 6.8, 8.7; the kind is then kClosed);
  //  - HTTP/1: a connection that had served before ended without a byte of the answer, and the
  //    method is idempotent (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1): the peer most likely
  //    closed an idle connection as the request was under way. The next attempt has to be on a
  //    connection that has not served yet, so that there is no third.
  virtual Result<Response> take_head() = 0;
  // The code of the upstream's RST_STREAM (RFC 9113 section 7), if that is how the call broke.
  virtual std::optional<uint32_t> reset_code() const { return {}; }
  // Breaks the call off: the upstream is told, and whoever waits for the head or reads the body
  // gets `why`, after what has arrived. No effect on a call that has ended.
  virtual void cancel(const Error& why) = 0;
};

class ClientConnection : public Reapable {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Handshake done; protocol() and capacity() are known.
    virtual void on_connected(ClientConnection& connection) = 0;
    // Room for calls appeared: a call ended, or the peer raised its limit.
    virtual void on_capacity(ClientConnection& connection) = 0;
    // The connection is over (or never opened: error says why); the owner reaps it. Its calls have
    // been told already.
    virtual void on_finished(ClientConnection& connection, const Error& error) = 0;
  };
  virtual Protocol protocol() const = 0;
  virtual const ConnectionInfo& info() const = 0;
  // Calls that may be started now: 0 or 1 on HTTP/1, up to the peer's limit on HTTP/2; 0 when
  // draining or not yet open.
  virtual std::size_t capacity() const = 0;
  // Calls at once that the peer is known to allow, as far as it has said; needs on_connected().
  virtual std::size_t most_calls() const = 0;
  virtual std::size_t active_calls() const = 0;
  virtual uint64_t calls_started() const = 0;
  // Whether it can carry the upgrade that `request` asks for; needs on_connected().
  virtual bool takes_upgrade(const Request&) const { return true; }
  // Sends `request` (which lives until the call is destroyed) and pumps its body; of one that asks
  // for an upgrade only when the peer has agreed. Needs capacity() > 0.
  virtual std::unique_ptr<Call> start(Request& request) = 0;
  // No new calls; ends when the last one has.
  virtual void drain() = 0;
};

// co_await call.head
class CallHead {
 public:
  explicit CallHead(Call& call) : call_(call) {}
  bool await_ready() const { return call_.head_ready(); }
  void await_suspend(std::coroutine_handle<> sleeper) {
    waiter_.sleeper(sleeper);
    call_.wait_head(waiter_);
  }
  Result<Response> await_resume() { return call_.take_head(); }

 private:
  Call& call_;
  Waiter waiter_;
};
inline CallHead head_of(Call& call) { return CallHead(call); }

struct ClientOptions {
  // kAuto: by ALPN, HTTP/1 without TLS.
  Codec codec = Codec::kHttp1;
  HttpLimits limits;
  // Calls at once on HTTP/2 until the peer has said what it allows: the least that RFC 9113 section
  // 6.5.2 recommends to allow, or what an earlier connection has taught.
  uint32_t calls_before_settings = 100;
};

// Takes over a stream that is opening. `owner`, `stats` and `options` outlive the connection.
std::unique_ptr<ClientConnection> connect_http(EventLoop& loop, std::unique_ptr<Stream> stream,
                                               const ClientOptions& options,
                                               ClientConnection::Owner& owner,
                                               HttpClientStats& stats);

}  // namespace glia
