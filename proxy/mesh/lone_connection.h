// LoneConnection: a connection to an endpoint that serves one request and is in no pool, because what
// it began with (a PROXY header) is true of that request alone, or because it is the request's tunnel.
#pragma once

#include <memory>
#include <optional>

#include "proxy/http/client.h"
#include "proxy/mesh/endpoint.h"
#include "proxy/net/loop.h"

namespace glia {

class LoneConnection final : public Reapable, private ClientConnection::Owner {
 public:
  // Connects; `client` (may be null) is used at once.
  LoneConnection(Endpoint& endpoint, const ConnectionInfo* client, Carries carries);

  // Open, or failed with error().
  bool settled() const { return open_ || error_; }
  bool open() const { return open_ && !error_; }
  WaitSlot& changed() { return changed_; }
  const Error& error() const { return *error_; }
  Endpoint& endpoint() const { return hold_.endpoint(); }
  ClientConnection& http() const { return *http_; }

 private:
  void on_connected(ClientConnection&) override;
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error& error) override;
  void fail(std::string_view why);

  Hold hold_;
  std::shared_ptr<const ClusterConfig> config_;  // Pinned: the context that TLS was made from.
  ClientOptions options_;
  CallbackTimer limit_;
  WaitSlot changed_;
  std::optional<Error> error_;
  bool open_ = false;
  std::unique_ptr<ClientConnection> http_;
};

}  // namespace glia
