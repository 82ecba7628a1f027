// Exchange: one request's world, from its head to the last byte of its answer.
//
// Lives inside the request's root task, so it ends when the request does, however that happens; its
// destructor is the one place that counts and logs.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/flow/filter.h"
#include "proxy/flow/flags.h"
#include "proxy/http/server.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/telemetry/access_log.h"

namespace glia {

class Cluster;
class Site;

// What happened upstream, for the log and for filters on the way back.
struct UpstreamReport {
  std::string_view cluster;          // Lives as long as the pinned snapshot.
  std::string address;               // Of the last endpoint tried.
  std::string identity;              // URI SAN of its certificate.
  std::optional<Duration> head_after;  // From the start of the attempt to the response's head.
  int attempts = 0;
};

class Exchange {
 public:
  Exchange(ServerStream& stream, Site& site);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange();

  // The table of contents: match the route, run the filters, answer.
  Task<void> run();

  Request& request() { return stream_.request(); }
  const Request& request() const { return stream_.request(); }
  const ConnectionInfo& connection() const { return stream_.connection(); }
  Arena& arena() { return *stream_.arena(); }
  const ArenaRef& arena_ref() const { return stream_.arena(); }
  EventLoop& loop() { return stream_.loop(); }
  const Snapshot& snapshot() const { return *snapshot_; }
  const HttpManager& manager() const { return *manager_; }
  const Route* route() const { return route_; }
  Site& site() { return site_; }
  // The verified caller, "" if there is none: the first URI SAN.
  std::string_view peer_identity() const;

  // Why the proxy itself answered, in words; shown in x-glia-reason, the body and the log.
  void flag(ResponseFlag flag) { flags_.set(flag); }
  // The policy that decided (a refusal, or a shadow verdict), for the log and the refusal.
  void policy(std::string name) { policy_ = std::move(name); }
  std::string_view policy() const { return policy_; }
  UpstreamReport& upstream() { return upstream_; }

 private:
  class Deadline;
  Task<Reply> reply();
  Task<void> answer(Reply reply);
  Response refuse(const Error& error);
  void log() const;

  ServerStream& stream_;
  Site& site_;
  SnapshotRef snapshot_;   // Pinned: names and views below point into it.
  std::shared_ptr<const ListenerConfig> listener_;
  const HttpManager* manager_;
  const Route* route_ = nullptr;
  ResponseFlags flags_;
  std::string policy_;
  std::string details_;
  UpstreamReport upstream_;
  WallTime began_wall_;
  int status_ = 0;
  bool complete_ = false;
};

}  // namespace glia
