// MeshWorld: a proxy, its upstreams and its clients in one simulated world, driven with verbs.
//
//   MeshWorld t(world);
//   t.upstream("10.0.1.1").replies(200, "hello");
//   t.start();
//   EXPECT_EQ(t.get("/").status, 200);
//
// The proxy is the real Worker with the real chain; upstreams and clients are our own HTTP server and
// client. Everything is in virtual time.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/http/server.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/server/worker.h"
#include "test/sim/sim.h"

namespace glia {

// What a client got.
struct Answer {
  bool finished = false;  // Whole, or broken off with `error`.
  int status = 0;
  std::map<std::string, std::string> headers;
  std::string body;
  std::map<std::string, std::string> trailers;
  std::string error;  // Why there is no whole answer; "" if there is.
  TimePoint began{}, ended{};
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

// What an upstream saw of one request.
struct Seen {
  std::string method, scheme, authority, path, body;
  std::map<std::string, std::string> headers;
  bool body_complete = false;
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

// An upstream server with a scripted answer.
class SimUpstream final : public Service, public AcceptHandler, private ServerConnection::Owner {
 public:
  SimUpstream(SimWorld& world, const Address& address, Codec codec);
  ~SimUpstream() override;

  // The answer from now on. `delay` passes before its head.
  void replies(int status, std::string body = "", Duration delay = 0s);
  void reply_header(std::string name, std::string value) { reply_headers_[name] = value; }
  void reply_trailer(std::string name, std::string value) { reply_trailers_[name] = value; }
  // Sends each byte of a request's body back as it comes.
  void echoes() { echo_ = true; }
  // Takes requests and never answers.
  void hangs() { hangs_ = true; }
  // Sends the head and half of the body, then breaks off.
  void breaks_in_the_body() { break_in_body_ = true; }
  // Sends bodies in pieces of ClientRequest::kPacedPiece bytes, so long apart.
  void paces_the_body(Duration pace) { pace_ = pace; }
  // From the next connection on, as the server's own limits.
  HttpLimits& limits() { return options_.limits; }
  // Speaks TLS from the next connection on.
  void secured(std::shared_ptr<const TlsContext> tls) { tls_ = std::move(tls); }
  // Stops listening and cuts every connection.
  void dies();
  void drain();

  const Address& address() const { return address_; }
  const std::vector<Seen>& seen() const { return seen_; }
  std::size_t active() const { return active_; }
  const HttpServerStats& stats() const { return stats_; }

 private:
  friend class SimUpstreamRequest;
  void on_accept(std::unique_ptr<Stream> stream) override;
  void on_finished(ServerConnection& connection) override;
  Task<void> serve(ServerStream& stream) override;

  SimWorld& world_;
  Address address_;
  ServerOptions options_;
  std::shared_ptr<const TlsContext> tls_;
  HttpServerStats stats_;
  std::unique_ptr<Acceptor> acceptor_;
  std::list<std::unique_ptr<ServerConnection>> connections_;
  std::vector<Seen> seen_;
  std::size_t active_ = 0;
  int status_ = 200;
  std::string body_;
  Duration delay_{0}, pace_{0};
  std::map<std::string, std::string> reply_headers_, reply_trailers_;
  bool echo_ = false, hangs_ = false, break_in_body_ = false;
};

struct ClientRequest {
  std::string method = "GET", path = "/", authority = "service", scheme = "http";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  bool has_body = false;
  Duration pace{0};  // Not 0: the body goes up in pieces of kPacedPiece bytes, so long apart.
  static constexpr std::size_t kPacedPiece = 64;
};

// A client with one connection, made anew when the last one ended.
class SimClient final : private ClientConnection::Owner {
 public:
  SimClient(SimWorld& world, const std::string& ip, const Address& to, Codec codec);
  ~SimClient() override;

  // Sends a request; the answer fills as it comes. The call lives until it is finished or dropped.
  std::shared_ptr<const Answer> send(ClientRequest request);
  // Drops every call in progress, as a client that goes away.
  void drop();
  // Lets go of the calls that have ended; their answers stay with whoever holds them.
  void forget_ended();
  std::size_t capacity() const { return connection_ == nullptr ? 0 : connection_->capacity(); }

 private:
  struct Running;
  void on_connected(ClientConnection&) override;
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection& connection, const Error& error) override;
  Task<void> run(Running& running);
  void connect();

  SimWorld& world_;
  Network& network_;
  Address to_;
  ClientOptions options_;
  HttpClientStats stats_;
  std::unique_ptr<ClientConnection> connection_;
  WaitSlot connected_;
  std::list<std::unique_ptr<Running>> running_;
};

class MeshWorld {
 public:
  // The proxy listens on `ip`, port 80.
  explicit MeshWorld(SimWorld& world, Codec downstream = Codec::kHttp1,
                     Codec upstream = Codec::kHttp1, const std::string& ip = "10.0.0.1");
  ~MeshWorld();

  // An upstream at `ip`:8080, an endpoint of cluster "service" (or of `cluster`).
  SimUpstream& upstream(const std::string& ip, const std::string& cluster = "service");
  // The drawing that start() publishes; change it before, or publish() again after.
  FilterChain& chain() { return chain_; }
  HttpManager& manager() { return chain_.http; }
  Route& route() { return hosts_.front().routes.front(); }
  std::vector<VirtualHost>& hosts() { return hosts_; }
  ClusterConfig& cluster(const std::string& name = "service");
  // An endpoint that somebody else serves.
  void add_endpoint(const Address& address, const std::string& cluster = "service");
  void remove_endpoint(const std::string& ip, const std::string& cluster = "service");
  void remove_cluster(const std::string& name) { clusters_.erase(name); }
  // Endpoints by name instead, for a STRICT_DNS cluster.
  void endpoint_by_name(const std::string& host, const std::string& cluster = "service");
  void publish();
  void start() { publish(); }

  const Address& address() const { return address_; }
  SimClient& client() { return *client_; }
  // Sends and lets time pass until the answer is finished; at most `limit`.
  Answer send(ClientRequest request, Duration limit = 60s);
  Answer get(std::string path = "/") { return send({.path = std::move(path)}); }
  void advance(Duration time) { world_.run_for(time); }

  Worker& worker() { return *worker_; }
  SimWorld& world() { return world_; }
  std::string metrics() const;

 private:
  SimWorld& world_;
  const Address address_;
  Codec upstream_codec_;
  std::unique_ptr<Worker> worker_;
  FilterChain chain_;
  std::vector<VirtualHost> hosts_;
  std::map<std::string, ClusterConfig> clusters_;
  std::map<std::string, std::vector<EndpointConfig>> endpoints_;
  std::map<std::string, std::unique_ptr<SimUpstream>> upstreams_;
  std::unique_ptr<SimClient> client_;
  uint64_t published_ = 0;
};

}  // namespace glia
