// ListenerHost: one listener on one worker: its socket, the sites of its filter chains and the
// connections that they serve.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/flow/site.h"
#include "proxy/http/server.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/filter_chain.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/net/stream.h"
#include "proxy/net/tls_verified.h"
#include "proxy/server/inspection.h"

namespace glia {

// How many counts of chains, listeners and logs that are gone a worker goes on telling.
inline constexpr std::size_t kEndedCountsMost = 10'000;
inline constexpr Duration kDrainTime = 30s;  // As Options::drain_time.

class ListenerHost final : public AcceptHandler, public Reapable {
 public:
  // `admit` says whether one more connection may be taken; without one, all are.
  ListenerHost(MeshContext& context, ClusterMap& clusters, std::function<bool()> admit = nullptr);
  ListenerHost(const ListenerHost&) = delete;
  ~ListenerHost() override;

  // Makes the sites follow `config`. New requests see it at once, also on old connections; those of a
  // chain that is gone are asked to end, and relayed connections cut after `leave_within`.
  void update(const SnapshotRef& snapshot, std::shared_ptr<const ListenerConfig> config,
              Duration leave_within = kDrainTime);
  // Listens on `address`, which main has reserved.
  Result<void> listen(const Address& address, const ListenOptions& options);
  // Stops accepting and asks every connection to end; those that are left after `limit` are cut.
  void drain(Duration limit);
  // While memory is short: requests get 503, and connections end with that answer.
  void shed(bool shedding);
  // Asks connections to end with their next answer, while still accepting (graceful drain).
  void discourage();
  // Nothing is left to do: not listening, no connection.
  bool finished() const {
    return acceptor_ == nullptr && connections_.empty() && inspections_.empty();
  }

  const ListenerConfig& config() const { return *config_; }
  // Those included whose chain is not known yet.
  std::size_t active_connections() const { return connections_.size() + inspections_.size(); }
  // Also what sites counted that are gone, so that no total falls.
  void collect(MetricsPage& page) const;
  void reopen_logs(std::vector<std::string>& problems);
  void describe_exchanges(std::vector<std::string>& out) const;

 private:
  class Connection;
  struct Unwanted;
  struct OldSite {
    std::unique_ptr<Site> site;
    std::unique_ptr<CallbackTimer> cut;  // Ends what does not end by itself; may be null.
  };
  void on_accept(std::unique_ptr<Stream> stream) override;
  std::unique_ptr<Site> take_site(std::vector<std::unique_ptr<Site>>& from,
                                  const FilterChain& chain);
  void retire(std::unique_ptr<Site> site, Duration leave_within);
  std::unique_ptr<CallbackTimer> cut_later(Site& site, Duration delay);
  void judge_again(Site& site);
  void sweep();
  void update_site(Site& site, const SnapshotRef& snapshot, const FilterChain& chain);
  // `upstream`: where the client wanted to go, connected already; or null.
  void serve(std::unique_ptr<Stream> stream, const ConnectionFacts& facts,
             std::unique_ptr<Stream> upstream = nullptr);
  // A captured connection that was meant for us, or for what nobody else may reach.
  bool misdirected(const Address& destination) const;
  Inspection::Dial dial_for(const ConnectionFacts& facts, const Address& destination);
  void inspect(std::unique_ptr<Stream> stream, Inspection::Dial dial);
  void inspected(Inspection& inspection, Inspection::Finding finding);
  void close(std::unique_ptr<Stream> stream);
  void cut();
  // Asks connections to end that were let in by rules which are no longer in force.
  void end_unwanted();
  // Ends those whose caller's certificate has run out, and those whose time to finish is over.
  void check_peers();

  MeshContext& context_;
  ClusterMap& clusters_;
  std::shared_ptr<const ListenerConfig> config_;
  Inspection::Plan plan_;  // What config_ needs to know of a connection.
  struct Counts {
    uint64_t no_chain = 0, timed_out = 0, no_proxy_header = 0, misdirected = 0;
  } counts_;
  std::vector<std::unique_ptr<Site>> sites_;  // One a filter chain, by its place.
  std::vector<OldSite> old_sites_;            // Of chains that are gone; their connections end.
  MetricsPage ended_;                         // Totals of those that have ended.
  VerifiedChains verified_;                   // Of callers.
  std::unique_ptr<Acceptor> acceptor_;
  std::list<std::unique_ptr<Connection>> connections_;
  std::list<std::unique_ptr<Inspection>> inspections_;  // Connections whose chain is not known yet.
  std::function<bool()> admit_;
  bool discouraged_ = false;
  bool shedding_ = false;
  std::unique_ptr<CallbackTimer> cut_timer_;
  std::unique_ptr<CallbackTimer> peer_check_;  // Once there was TLS.
};

}  // namespace glia
