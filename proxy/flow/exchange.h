// Exchange: one request's world, from its head to the last byte of its answer.
//
// It lives inside the request's root task, so it ends when the request does, however that happens;
// its destructor is the one place that counts and logs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/flow/filter.h"
#include "proxy/flow/flags.h"
#include "proxy/flow/site.h"
#include "proxy/flow/watch.h"
#include "proxy/http/server.h"
#include "proxy/mesh/snapshot.h"

namespace glia {

// What happened upstream, for the log and for filters on the way back.
struct UpstreamReport {
  std::string_view cluster;            // Lives as long as the pinned drawing.
  Address address;                     // Of the last endpoint tried.
  std::string identity;                // URI SAN of its certificate; "" in clear text.
  std::optional<Duration> head_after;  // From the start of the attempt to the response's head.
  std::string grpc_status;             // As the upstream ended a gRPC call.
  int attempts = 0;
};

class Exchange final : private Watch::Owner {
 public:
  Exchange(ServerStream& stream, Site& site);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange();  // Counts and logs.

  // The table of contents.
  Task<void> run();

  Request& request() const { return stream_.request(); }
  const ConnectionInfo& connection() const { return stream_.connection(); }
  Protocol protocol() const { return stream_.protocol(); }
  const ArenaRef& arena() const { return stream_.arena(); }
  EventLoop& loop() const { return stream_.loop(); }
  const Snapshot& snapshot() const { return *state_->snapshot; }
  const HttpManager& manager() const { return state_->chain->http; }
  const Route* route() const { return route_; }
  Site& site() const { return site_; }
  TimePoint began() const { return stream_.began(); }
  // The verified caller: the first URI SAN of its certificate, "" if there is none.
  std::string_view peer_identity() const;
  std::string_view request_id() const { return request_id_; }
  // The request in a few words, for /exchanges: "GET classify/v2/… at filter 2 of 3".
  std::string describe() const;

  void flag(ResponseFlag flag) { flags_.set(flag); }
  // The policy that decided (a refusal, or a shadow verdict), for the log and the refusal.
  void policy(std::string name) { policy_ = std::move(name); }
  const std::string& policy() const { return policy_; }
  UpstreamReport& upstream() { return upstream_; }

 private:
  friend class Next;
  friend class Site;
  class WatchedBody;

  WatchLimits limits() const;
  void on_late(Watch::Rang rang) override;
  Reply timed_out();
  Task<void> answer(Reply reply);
  Response refuse(const Error& error);
  void describe_refusal(const Error& error, Response& response);
  void log();

  ServerStream& stream_;
  Site& site_;
  std::shared_ptr<const SiteState> state_;  // Pinned: names and views below point into it.
  const Route* route_ = nullptr;
  std::size_t filters_left_ = 0;  // Of the chain, the router included, when it last went down.
  ResponseFlags flags_;
  std::string policy_;
  std::string details_;  // Why the proxy itself answered.
  std::string_view request_id_;
  UpstreamReport upstream_;
  int status_ = 0;
  bool answered_ = false;  // The whole answer was handed to the codec.
  Watch watch_;
  Exchange* previous_ = nullptr;  // In the site's list.
  Exchange* next_ = nullptr;
};

}  // namespace glia
