// Endpoint: the live side of one address of a cluster on one worker: its load and its connections.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/http/client.h"
#include "proxy/mesh/cluster_config.h"
#include "proxy/mesh/endpoint_load.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/net/tls_session.h"

namespace glia {

class Cluster;
class Endpoint;
class LoneConnection;

// What a request needs of its connection: HTTP, or the bare bytes of a CONNECT that ends here.
enum class Carries : uint8_t { kHttp, kBytes };

// One request's place at an endpoint, counted from the pick to the end of the response.
class Lease {
 public:
  Lease();
  Lease(Endpoint& endpoint, ClientConnection& connection);
  // A connection that serves this request alone, which is open and counts itself.
  explicit Lease(std::unique_ptr<LoneConnection> alone);
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();

  explicit operator bool() const { return endpoint_ != nullptr; }
  Endpoint& endpoint() const { return *endpoint_; }
  // To be used at once: the connection may be gone by the next turn.
  ClientConnection& connection() const { return *connection_; }
  // Where the endpoint is the model server that this proxy is in front of: what is known of its load,
  // and how many requests it had with this one. Null elsewhere.
  const ServerLoad* server_load() const { return counted_.get(); }
  uint32_t in_flight() const { return in_flight_; }
  // The server has so many tokens of this request's prompt to read, until has_read() or the end.
  void reads(uint32_t tokens);
  void has_read() { reads(0); }

 private:
  void count();
  Endpoint* endpoint_ = nullptr;
  ClientConnection* connection_ = nullptr;
  std::unique_ptr<LoneConnection> alone_;
  std::shared_ptr<const ServerLoad> counted_;
  uint32_t in_flight_ = 0;
  uint32_t reading_ = 0;  // tokens
};

// One connection to an endpoint that serves one client alone (a relayed TCP connection): counted as a
// connection and as a request while it lives.
class Hold {
 public:
  Hold() = default;
  explicit Hold(Endpoint& endpoint);
  Hold(Hold&& other) noexcept : endpoint_(std::exchange(other.endpoint_, nullptr)) {}
  Hold& operator=(Hold&& other) noexcept {
    std::swap(endpoint_, other.endpoint_);
    return *this;
  }
  ~Hold();

  explicit operator bool() const { return endpoint_ != nullptr; }
  Endpoint& endpoint() const { return *endpoint_; }
  // The connection could not be made.
  void count_failure();

 private:
  Endpoint* endpoint_ = nullptr;
};

// Counts of one endpoint on one worker (/clusters).
struct EndpointStats {
  uint64_t connections = 0, connections_active = 0, connect_failed = 0;
  uint64_t requests = 0, requests_ok = 0, requests_failed = 0;
};

// What earlier attempts have taught one request; it outlives the tasks that it is given to.
struct Tried {
  std::vector<Address> failed;  // Endpoints to avoid if there are others.
  // None of those that failed will do, even if there is no other.
  bool only_others = false;
  // Only a connection that has carried no request yet will do: used ones have failed this request.
  bool needs_fresh = false;
  // How often it was turned away by a connection that was ending. Who was goes before those that have
  // not been: else a peer that ends connections often would make some wait for ever.
  int turned_away = 0;
  // What was believed to be at the endpoint of the last lease, this request included, in requests; and
  // how many tokens of its prompt are new there.
  float work = 1, tokens = 0;
};

class Endpoint : public Reapable {
 public:
  Endpoint(Cluster& cluster, EndpointConfig config);
  Endpoint(const Endpoint&) = delete;
  ~Endpoint() override;

  const EndpointConfig& config() const { return config_; }
  void config(EndpointConfig config) { config_ = std::move(config); }
  uint32_t active() const { return active_; }
  EndpointStats& stats() { return stats_; }
  const EndpointStats& stats() const { return stats_; }
  EndpointLoad& load() { return load_; }
  const EndpointLoad& load() const { return load_; }
  Cluster& cluster() const { return cluster_; }

  // A connection with room, if there is one now.
  std::optional<Lease> try_lease(const Tried& tried);
  // Waits for room or a new connection; kConnectFailed (safe to try elsewhere) or kOverflow.
  // `tried` outlives the task.
  Task<Result<Lease>> wait_lease(const Tried& tried);

  // A new connection, opening: TCP, what the cluster says first, TLS. Not counted. `client` is whose
  // connection it will carry, for the PROXY header; null: our own.
  std::unique_ptr<Stream> dial(const ConnectionInfo* client);

  // No new calls; idle() once calls and connections have ended. Requests that wait for a connection
  // here are told to ask again if there is another endpoint; else they finish here.
  void drain(bool others);
  bool idle() const;
  // Its connections were let in by rules that are no longer in force: they finish what they carry
  // within kUnwantedTime.
  void end_unwanted();
  // Ends connections whose peer's certificate has run out, and those whose time to finish is over.
  void check_peers();

 private:
  friend class Lease;
  friend class Hold;
  class Connection;
  class Pending;

  Address source() const;
  std::optional<Lease> take(const Tried& tried);
  // What the newest connections have taught about the next one.
  void learn_calls_each();
  // More requests wait than the connections on their way will serve.
  bool wants_connection() const;
  // The limits allow one more connection.
  bool may_connect() const;
  void connect();
  // Makes connections ahead of need, as the cluster's preconnect_ratio asks.
  void preconnect();
  // Ends a connection without calls, so that another may be made.
  void close_one_unused();
  void on_ready(Connection& connection);
  void on_gone(Connection& connection, const Error& error, bool was_open);
  void connect_failed(const Error& error);
  void wake_pending();
  void wake_all_pending();
  void released();
  void close_unused();
  // What a request is told that waits for a connection here: to ask for another endpoint.
  Error removed() const;

  Cluster& cluster_;
  EndpointConfig config_;
  EndpointStats stats_;
  EndpointLoad load_;
  uint32_t active_ = 0;
  uint32_t connecting_ = 0;
  uint32_t calls_each_;  // That one more connection is expected to carry.
  bool draining_ = false;
  bool others_ = false;   // While draining: requests that wait may go to another endpoint.
  TlsSessions sessions_;  // Before the connections, which borrow it.
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> ready_;  // Those that had room when last seen; used from the back.
  std::list<Pending*> pending_;     // Those first that were turned away most, then the oldest.
};

}  // namespace glia
