// Connected: one HTTP connection of our own, outside of every pool, with what must outlive it: to the
// control plane, or to the metrics of a model server.
//
// Reaped, because it may not end inside its own callback, and may end a little after the call that
// used it.
#pragma once

#include <memory>
#include <optional>
#include <utility>

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

// Of a task that may end at any moment: its connection is reaped after it.
class HeldConnection {
 public:
  explicit HeldConnection(EventLoop& loop) : loop_(loop) {}
  HeldConnection(const HeldConnection&) = delete;
  ~HeldConnection() { let_go(); }
  // In place of the one before.
  void hold(std::unique_ptr<Stream> stream) {
    let_go();
    connected_ = std::make_unique<Connected>(loop_, std::move(stream), ClientOptions());
  }
  Connected& operator*() const { return *connected_; }
  Connected* operator->() const { return connected_.get(); }

 private:
  void let_go() {
    if (connected_ != nullptr) loop_.reap(std::move(connected_));
  }

  EventLoop& loop_;
  std::unique_ptr<Connected> connected_;
};

}  // namespace glia
