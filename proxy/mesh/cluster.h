// Cluster: the live side of an upstream service on one worker: endpoints with their load and
// connections. Keyed by name, it survives a change of configuration; only what changed is replaced.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/mesh/balancer.h"
#include "proxy/mesh/cluster_config.h"
#include "proxy/mesh/endpoint.h"
#include "proxy/mesh/engine_scraper.h"
#include "proxy/mesh/load_listener.h"
#include "proxy/mesh/prober.h"
#include "proxy/mesh/recent_times.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

class Discovery;
struct Tallies;

// What clusters and sites need of their worker.
struct MeshContext {
  EventLoop& loop;
  Network& network;
  Random& random;
  Tallies* tallies = nullptr;      // Null: the control plane asks for no cluster.
  Discovery* discovery = nullptr;  // Null: nobody can be asked for hosts.
};

struct ClusterStats {
  uint64_t connections = 0, connections_active = 0, connect_failed = 0;
  uint64_t requests = 0, requests_active = 0;
  uint64_t connections_overflow = 0;            // Requests and holds that met a limit on these.
  uint64_t max_requests = 0, max_duration = 0;  // Connections that reached the end of their life.
  TlsStats tls;
  uint64_t pending_active = 0, pending_overflow = 0, requests_overflow = 0;
  uint64_t timeouts = 0, resets = 0, no_endpoint = 0, retries = 0;
  uint64_t try_timeouts = 0;    // Attempts that had no answer within per_try_timeout.
  uint64_t try_idle = 0;        // ... or stood still for per_try_idle_timeout.
  uint64_t retries_active = 0;  // That a retry_policy asked for.
  uint64_t retry_limit = 0, retry_overflow = 0;  // Those that num_retries, max_retries forbade.
  // Second copies of requests (flow/hedge.h), those whose answer was taken, and those that the budget
  // forbade.
  uint64_t hedges = 0, hedges_active = 0, hedges_won = 0, hedge_overflow = 0;
  RecentTimes head_times;                      // Of requests that may be sent twice.
  uint64_t reports = 0, reports_rejected = 0;  // Load reports in answers.
  uint64_t probes = 0, probes_failed = 0;
  uint64_t by_class[6] = {};  // Responses by first digit of the status; [0]: none came.
  Histogram time;             // From the start of the attempt to the end of the response.
};

class ClusterMap;

class Cluster : public Reapable {
 public:
  Cluster(ClusterMap& map, MeshContext& context, std::shared_ptr<const ClusterConfig> config);
  Cluster(const Cluster&) = delete;
  ~Cluster() override;

  const ClusterConfig& config() const { return *config_; }
  const std::shared_ptr<const ClusterConfig>& config_ref() const { return config_; }
  EventLoop& loop() const { return context_.loop; }
  Network& network() const { return context_.network; }
  ClusterStats& stats() { return stats_; }
  HttpClientStats& http_stats() { return http_stats_; }
  const std::map<Address, std::unique_ptr<Endpoint>>& endpoints() const { return endpoints_; }

  // Addresses of one name that are used; further ones are left out.
  static constexpr std::size_t kMostAddresses = 1000;
  // kOriginal: destinations at one time, and how often those are forgotten that nobody uses.
  static constexpr std::size_t kMostDestinations = 10'000;
  static constexpr Duration kForgetDestinations = 5s;

  // Takes the new drawing: endpoints that stay keep their connections.
  void update(std::shared_ptr<const ClusterConfig> config);
  // An endpoint for one request, if possible none of those that failed it before; one that cannot be
  // connected to is added to them. Waits for the first answer of DNS, if that has not come yet.
  // `client` outlives the task; whose request it is (null: our own). Errors: kNoEndpoint, kOverflow,
  // kConnectFailed, and kClosed if the endpoint or the cluster was removed while the request waited:
  // then it is looked up again. Who waits, for DNS or for a connection, counts against
  // max_pending_requests. What `hints` points to outlives the task.
  Task<Result<Lease>> lease(Tried& tried, const ConnectionInfo* client = nullptr,
                            Carries carries = Carries::kHttp, PickHints hints = {});
  // An endpoint for one connection of the caller's own, chosen in the same way. Errors: kNoEndpoint,
  // kOverflow (max_connections, max_pending_requests), and kClosed as for lease(). `client` as there.
  Task<Result<Hold>> hold(const std::vector<Address>& failed, const ConnectionInfo* client);
  // An answer of `endpoint`, or its trailers, came with these fields: the load report among them is
  // believed from now on.
  void hear(Endpoint& endpoint, const Headers& fields);
  // It said this; an error: nothing that can be believed.
  void hear(Endpoint& endpoint, const Result<OrcaReport>& orca);
  // It was asked how it is, and hear() has just believed what it said.
  void probed(Endpoint& endpoint);
  const Balancer& balancer() const { return *balancer_; }
  // The cluster is no longer configured: it ends with its last request.
  void retire();
  // `shared_facts`: also what is the same on every worker and must not be added up.
  void collect(MetricsPage& page, bool shared_facts) const;

 private:
  friend class Endpoint;
  class DnsWait;
  void set_endpoints(const std::vector<EndpointConfig>& wanted);
  void rebuild_usable();
  // DNS answered for one name of the configuration, or did not.
  void learn_name(const EndpointConfig& wanted, Result<std::vector<Address>> answer);
  Task<void> refresh_dns();
  // Sleeps until DNS answered for the first time, or the cluster was removed.
  Task<Result<void>> resolved();
  // The error of one more request that would wait, if as many wait as may.
  Result<void> may_wait();
  Error being_removed() const;
  void finish_if_retired();
  void check_peers();
  Task<Result<Lease>> lease_alone(Endpoint& endpoint, std::vector<Address>& failed,
                                  const ConnectionInfo* client, Carries carries);
  Error too_many_connections() const;
  Result<Endpoint*> pick(const std::vector<Address>& failed, const PickHints& hints);
  Endpoint& pick_of(std::span<Endpoint* const> usable, const PickContext& context);
  // Where `client` wanted to go, as an endpoint.
  Result<Endpoint*> destination_of(const ConnectionInfo* client,
                                   const std::vector<Address>& failed);
  void forget_destinations();
  void follow_model_server();
  void follow_reports();
  void collect_model_server(MetricsPage& page, const Labels& labels) const;
  void collect_reports(MetricsPage& page, const Labels& labels) const;
  void on_endpoint_idle(Endpoint& endpoint);
  bool idle() const;

  ClusterMap& map_;
  MeshContext& context_;
  std::shared_ptr<const ClusterConfig> config_;
  std::unique_ptr<Balancer> balancer_;
  ClusterStats stats_;
  HttpClientStats http_stats_;
  std::map<Address, std::unique_ptr<Endpoint>> endpoints_;
  std::vector<std::unique_ptr<Endpoint>> leaving_;  // Removed, with requests still on them.
  std::map<Endpoint*, LoadListener> listeners_;     // Where load is told out of band.
  std::map<Endpoint*, Prober> probers_;             // Of those that were asked how they are.
  std::vector<Endpoint*> usable_;                   // What the balancer sees.
  bool retired_ = false;
  bool resolved_ = true;  // False until DNS answered once.
  // STRICT_DNS: by "host:port", what was last found; kept while the resolver finds nothing.
  std::map<std::string, std::vector<Address>, std::less<>> names_;
  std::list<WaitSlot*> waiting_for_dns_;
  std::unique_ptr<CallbackTimer> peer_check_;  // Once there was TLS.
  std::unique_ptr<EngineScraper> scraper_;     // While this is a model server.
  std::unique_ptr<CallbackTimer> forget_;      // Once there was a destination of a client.
  Task<void> dns_;
};

// The clusters of one worker, by name.
class ClusterMap {
 public:
  explicit ClusterMap(MeshContext context) : context_(context) {}
  ~ClusterMap();
  void apply(const Snapshot& snapshot);
  // Null if no such cluster is configured. Valid until the next turn, or while a lease is held.
  Cluster* find(std::string_view name) const;
  const std::map<std::string, std::unique_ptr<Cluster>, std::less<>>& all() const {
    return clusters_;
  }
  // Clusters that are no longer configured and still finish requests.
  std::size_t retired() const { return retired_.size(); }
  void collect(MetricsPage& page, bool shared_facts) const;

 private:
  friend class Cluster;
  void on_idle(Cluster& cluster);
  MeshContext context_;
  std::map<std::string, std::unique_ptr<Cluster>, std::less<>> clusters_;
  std::vector<std::unique_ptr<Cluster>> retired_;
};

}  // namespace glia
