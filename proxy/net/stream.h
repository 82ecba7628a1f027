// Stream: bytes both ways between this process and one peer. TCP, UNIX socket, TLS over either, and
// the simulated pipe of test/sim are the implementations.
//
// A stream never blocks and never calls back from inside read() or write(). Its watcher is told,
// from the top of the loop, that it opened, that there is something to read, or that there is room
// to write again after a short write. Callbacks only record and queue: they must not destroy the
// stream (give it to EventLoop::reap).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/base/time.h"
#include "proxy/net/address.h"

struct crypto_buffer_st;

namespace glia {

class KernelPipe;

// What a TLS handshake established. Empty for clear text.
struct TlsInfo {
  std::string alpn;         // Negotiated protocol, "" if none.
  std::string server_name;  // SNI as sent by the client.
  std::string version;      // "TLSv1.3"
  std::string cipher;       // "TLS_AES_128_GCM_SHA256"
  bool resumed = false;
  // The peer's certificate, if it sent one and it was verified.
  bool peer_certificate = false;
  std::vector<std::string> peer_uri_sans;
  std::vector<std::string> peer_dns_sans;
  std::string peer_subject;             // RFC 2253 text.
  WallTime peer_not_after{};            // When the first certificate of its chain runs out.
  std::string peer_certificate_sha256;  // Lower-case hex of the DER form.
  std::shared_ptr<const crypto_buffer_st> peer_certificate_der;  // BoringSSL's; null: none.
  // For XFCC Cert=; made when asked for, because few ask.
  std::string peer_certificate_pem_url_encoded() const;
  std::vector<std::string> local_uri_sans;  // Of the certificate that we showed.
  // What flow/forwarded.h has made of the above for the first request, with the details that were
  // asked for: the same for each request of the connection.
  mutable std::string forwarded;
  mutable unsigned forwarded_details = 0;
};

// What a listener learnt by looking at the beginning of a connection before anybody answered it.
struct Preamble {
  std::optional<Address> peer;  // Who connected to us, where a PROXY header names another client.
  std::string server_name;      // SNI, lower case; "" if none was sent.
};

// What the access log says of a connection in each of its lines; made for the first (flow/forwarded.h).
struct ConnectionTexts {
  std::string local, remote;
  std::string log_fields;  // AccessRecord::connection_fields
};

struct ConnectionInfo {
  Address local;
  Address remote;
  // Rules of the kernel sent it here (docs/capture.md); `local` is where the client wanted to go.
  bool captured = false;
  const TlsInfo* tls = nullptr;        // Lives as long as the stream; null for clear text.
  const Preamble* preamble = nullptr;  // Likewise; null if nobody looked.
  mutable std::shared_ptr<const ConnectionTexts> texts = nullptr;  // Null until somebody asked.
};

// The SNI that the client asked for, whether TLS ends here or passes through; "" if none is known.
inline std::string_view requested_name(const ConnectionInfo& info) {
  if (info.tls != nullptr) return info.tls->server_name;
  return info.preamble != nullptr ? std::string_view(info.preamble->server_name)
                                  : std::string_view();
}

struct IoResult {
  enum class State {
    kDone,   // `bytes` were moved (at least one).
    kWait,   // Nothing can be moved now; the watcher will be told.
    kEnd,    // read: the peer ended its side in an orderly way.
    kError,  // The stream is broken; see Stream::error().
  };
  State state;
  std::size_t bytes = 0;
};

class Stream {
 public:
  class Watcher {
   public:
    virtual ~Watcher() = default;
    // Connected and, for TLS, shaken hands; info() is complete. Called exactly once for a stream,
    // unless on_broken() comes instead.
    virtual void on_open() = 0;
    // read() may return something else than kWait. Level-triggered: repeated each turn until the
    // bytes are read or reading is paused.
    virtual void on_readable() = 0;
    // There is room again after write() returned kWait or moved less than it was given.
    virtual void on_writable() = 0;
    // The stream broke before it opened, or while reading was paused. error() says why.
    virtual void on_broken() = 0;
  };

  virtual ~Stream() = default;
  // Who is told; set right after creation, before the loop's next turn. A watcher may name its
  // successor from inside its own callback (protocol detection); the rest goes to that one.
  virtual void watch(Watcher& watcher) = 0;
  // Moves at most `into.size()` bytes.
  virtual IoResult read(std::span<char> into) = 0;
  // Gathers the pieces in order; may move fewer bytes than given. After kError, what had arrived
  // before can still be read; then read() returns kError as well.
  virtual IoResult write(std::span<const std::string_view> pieces) = 0;
  // Do the two calls below work? Only bytes that nobody has to look at can stay in the kernel:
  // those of a plain socket.
  virtual bool takes_pipe() const { return false; }
  // What read() and write() do, with bytes that go into an empty pipe, at most `most`, and come
  // from it. A read may move less than there is.
  virtual IoResult read_into(KernelPipe&, std::size_t /*most*/) { return {IoResult::State::kWait}; }
  virtual IoResult write_from(KernelPipe&) { return {IoResult::State::kWait}; }
  // Ends our side once what was written has left (FIN, close_notify).
  virtual void finish_writing() = 0;
  // Has all that write() took, and the end if finish_writing() was called, been given to the
  // system? If not, on_writable() follows when it has, unless the stream breaks before.
  virtual bool flushed() const { return true; }
  // Once this stream is destroyed the peer shall see a broken connection, not an orderly end.
  virtual void abort() {}
  // While paused on_readable is not called; the kernel's buffer fills and the peer slows down.
  virtual void pause_reading(bool paused) = 0;
  virtual const ConnectionInfo& info() const = 0;
  // Why the last operation returned kError, or why on_broken was called; one sentence, with the
  // fault set to that of the peer's side (kUpstream for connecting streams, else kDownstream).
  virtual Error error() const = 0;
};

// A socket that accepts. Destroying it stops accepting.
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  virtual const Address& address() const = 0;  // With the real port.
  virtual void pause(bool paused) = 0;
};

class AcceptHandler {
 public:
  virtual ~AcceptHandler() = default;
  // An accepted stream that has not opened yet. Called from the top of the loop.
  virtual void on_accept(std::unique_ptr<Stream> stream) = 0;
};

struct ListenOptions {
  bool reuse_port = false;  // Several workers listen on the same port.
  // Connections were meant for other addresses, which info() then names.
  bool captured = false;
  // Takes connections for addresses that are not this machine's (TPROXY); needs NET_ADMIN.
  bool transparent = false;
  int backlog = 1024;  // connections
};

// The door to other machines; one a loop. The real one uses sockets, the simulated one pipes.
class Network {
 public:
  virtual ~Network() = default;
  // A stream on its way to `to`; on_open or on_broken follows. `from`: the address of ours that it
  // shall come from; without an address the system chooses.
  virtual std::unique_ptr<Stream> connect(const Address& to, const Address& from) = 0;
  std::unique_ptr<Stream> connect(const Address& to) { return connect(to, Address()); }
  virtual Result<std::unique_ptr<Acceptor>> listen(const Address& at, const ListenOptions& options,
                                                   AcceptHandler& handler) = 0;
  // All addresses of `host`, with `port`. Names go to the system's resolver, off the loop's thread.
  virtual Task<Result<std::vector<Address>>> resolve(std::string host, uint16_t port) = 0;
};

}  // namespace glia
