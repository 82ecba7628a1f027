// Site: one filter chain of one listener on one worker, where requests become exchanges.
//
// It outlives changes of configuration: each drawing brings a SiteState, new exchanges pin the newest,
// and those that run keep theirs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/flow/filter.h"
#include "proxy/flow/gate.h"
#include "proxy/http/server.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/model/request.h"
#include "proxy/telemetry/access_log.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

class Exchange;
class ModelFigures;
class Shadows;

// Where finished requests are written; one a site.
class RequestLog {
 public:
  virtual ~RequestLog() = default;
  virtual void write(const AccessRecord& record) = 0;
  // Somebody renamed the files. Adds a sentence for each that could not be opened again.
  virtual void reopen(std::vector<std::string>& problems) = 0;
  virtual void collect(MetricsPage& page) const = 0;
};

// Outermost first; the router is the last.
using FilterList = std::vector<std::unique_ptr<Filter>>;

struct SiteState {
  SnapshotRef snapshot;
  std::shared_ptr<const ListenerConfig> listener;
  const FilterChain* chain = nullptr;         // In listener.
  std::shared_ptr<const FilterList> filters;  // Kept from drawing to drawing while unchanged.
};

// Counts of requests to models.
struct ModelStats {
  uint64_t requests[kDialects] = {};
  // Somebody asked for the model and it could not be told; refused, for that or because servers could
  // read it differently; given another name.
  uint64_t unknown = 0, refused = 0, renamed = 0;
};

// Counts of one HTTP connection manager on one worker.
struct SiteStats {
  HttpServerStats server;
  TlsStats tls;
  uint64_t requests_active = 0;
  uint64_t by_class[6] = {};  // Responses by first digit of the status; [0]: none was sent.
  uint64_t downstream_gone = 0, timeouts = 0;
  uint64_t shed = 0;  // Refused because memory was short.
  // Of the timeouts: nothing moved; the deadline of the whole exchange; below the least rate.
  uint64_t idle_timeouts = 0, deadlines = 0, too_slow = 0;
  uint64_t max_duration = 0;  // Connections that became too old and were drained.
  ModelStats model;
  Histogram time;  // From the first byte of the request to the last of the answer.
};

// Counts of one tcp_proxy on one worker.
struct TcpStats {
  uint64_t connections = 0, connections_active = 0, no_route = 0;
  uint64_t bytes_received = 0, bytes_sent = 0;
  uint64_t idle_timeouts = 0, duration_timeouts = 0;
  uint64_t paused = 0, resumed = 0;  // Reading from clients, because the upstream was full.
};

class Site final : public Service, public Reapable {
 public:
  Site(MeshContext& context, ClusterMap& clusters);
  ~Site() override;
  void update(std::shared_ptr<const SiteState> state) { state_ = std::move(state); }
  // Null: no access log. Exchanges in flight end in the newest.
  void log(std::unique_ptr<RequestLog> log) { log_ = std::move(log); }
  RequestLog* log() const { return log_.get(); }
  // Who may connect, where the chain relays TCP; null: everybody.
  void gate(std::unique_ptr<Gate> gate) { gate_ = std::move(gate); }
  Gate* gate() const { return gate_.get(); }

  // While memory is short: every request is refused.
  void shed(bool shedding) { shedding_ = shedding; }

  Task<void> serve(ServerStream& stream) override;
  Response refuse(const Refusal& refusal, ServerStream& stream) override;

  const std::shared_ptr<const SiteState>& state() const { return state_; }
  MeshContext& context() { return context_; }
  ClusterMap& clusters() { return clusters_; }
  SiteStats& stats() { return stats_; }
  TcpStats& tcp_stats() { return tcp_stats_; }
  // Copies of requests on their way; made when the first is needed.
  Shadows& shadows();
  // What models answered; made when the first one does.
  ModelFigures& model_figures();
  // The exchanges in flight in a few words each, newest first (/exchanges).
  void describe_exchanges(std::vector<std::string>& out) const;
  void collect(MetricsPage& page) const;
  void reopen_log(std::vector<std::string>& problems) {
    if (log_ != nullptr) log_->reopen(problems);
  }

 private:
  friend class Exchange;
  void enter(Exchange& exchange);
  void leave(Exchange& exchange);
  void collect_tcp(MetricsPage& page, const std::string& prefix) const;

  MeshContext& context_;
  ClusterMap& clusters_;
  std::shared_ptr<const SiteState> state_;
  std::unique_ptr<RequestLog> log_;
  std::unique_ptr<Gate> gate_;
  SiteStats stats_;
  TcpStats tcp_stats_;
  std::unique_ptr<Shadows> shadows_;
  std::unique_ptr<ModelFigures> model_figures_;
  Exchange* newest_ = nullptr;
  bool shedding_ = false;
};

}  // namespace glia
