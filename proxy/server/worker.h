// Worker: one loop's share of the proxy: listeners, clusters and the current drawing. It shares
// nothing mutable with other workers, so nothing in it is locked.
//
// The class does not know of threads: server/worker_thread runs one on a thread of its own, test/sim
// runs several on one loop in virtual time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/discovery.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/server/endpoint_row.h"
#include "proxy/server/listener_host.h"
#include "proxy/server/pressure.h"
#include "proxy/telemetry/metrics.h"
#include "proxy/telemetry/tally.h"

namespace glia {

// Where each listener listens, by its name, port 0 resolved.
using ListenAddresses = std::map<std::string, Address>;

class Worker {
 public:
  // `index` 0 answers for what is the same on every worker.
  Worker(uint32_t index, EventLoop& loop, Network& network, uint64_t seed);
  Worker(const Worker&) = delete;
  // Between turns only: it takes one, in which all that was served here ends.
  ~Worker();

  // Takes a new drawing; returns what could not be done (a socket that cannot be opened), one
  // sentence each. Everything else is in force when it returns. Connections of listeners that are
  // gone end with their requests, or after `leave_within`.
  std::vector<std::string> apply(SnapshotRef snapshot, const ListenAddresses& addresses,
                                 Duration leave_within = kDrainTime);
  // This worker's share of the connections that clients may have.
  void most_connections(std::size_t most) { most_connections_ = most; }
  // Memory is short, or no longer.
  void pressure(Pressure pressure);
  // Asks connections to end with their next answer; goes on accepting.
  void discourage(bool inbound_only);
  // Stops accepting; connections end with their requests, or after `limit`. `inbound_only` leaves the
  // others alone.
  void drain(Duration limit, bool inbound_only = false);
  // All listeners have ended.
  bool drained() const;

  // From now on counts for the control plane what goes to these clusters, and nothing else.
  void tally(const std::vector<std::string>& clusters);
  // What was counted of them since the last time.
  Tallies take_tallies();

  // Requests that wait for hosts.
  Discovery& discovery() { return discovery_; }

  // Clusters that a client has used since the last time, or uses now.
  std::vector<std::string> used_clusters();

  // Somebody renamed the access logs. Returns what could not be opened again, one sentence each.
  std::vector<std::string> reopen_logs();
  void collect(MetricsPage& page) const;
  std::vector<EndpointRow> endpoints() const;
  std::vector<std::string> exchanges() const;
  std::size_t connections() const;
  const ClusterMap& clusters() const { return clusters_; }

 private:
  void sweep();
  // May one more client connect?
  bool admit();

  uint32_t index_;
  EventLoop& loop_;
  Random random_;
  std::unique_ptr<Tallies> tallies_;  // Null: nobody asks.
  Discovery discovery_;
  MeshContext context_;
  ClusterMap clusters_;
  SnapshotRef snapshot_;
  std::map<std::string, std::unique_ptr<ListenerHost>, std::less<>> listeners_;
  std::vector<std::unique_ptr<ListenerHost>> leaving_;
  std::size_t most_connections_ = SIZE_MAX;
  uint64_t refused_ = 0;  // Connections that were closed at once.
  Pressure pressure_ = Pressure::kNone;
  std::map<std::string, uint64_t, std::less<>>
      requests_seen_;  // By used_clusters(), of each cluster.
  MetricsPage ended_;  // Totals of listeners that are gone.
  bool draining_ = false;
};

}  // namespace glia
