// Connected: one HTTP connection of our own, outside of every pool, with what must outlive it: to the
// control plane, or to the metrics of a model server.
//
// Reaped, because it may not end inside its own callback, and may end a little after the call that
// used it.
#pragma once

#include <memory>
#include <optional>

#include "proxy/http/client.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class Connected final : public Reapable, private ClientConnection::Owner {
 public:
  // `loop` outlives it.
  Connected(EventLoop& loop, std::unique_ptr<Stream> stream, ClientOptions options);
  ClientConnection& connection() { return *connection_; }
  // It is open, or it failed: then error() says why.
  bool decided() const { return ready_ || error_; }
  const std::optional<Error>& error() const { return error_; }
  // Woken when one of the above changes.
  WaitSlot& changed() { return changed_; }

 private:
  void on_connected(ClientConnection&) override;
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error& error) override;

  EventLoop& loop_;
  ClientOptions options_;
  HttpClientStats stats_;
  WaitSlot changed_;
  bool ready_ = false;
  std::optional<Error> error_;
  std::unique_ptr<ClientConnection> connection_;
};

}  // namespace glia
