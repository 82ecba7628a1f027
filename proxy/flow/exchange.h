// Exchange: one request's world, from its head to the last byte of its answer.
//
// It lives inside the request's root task, so it ends when the request does, however that happens;
// its destructor is the one place that counts and logs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/flow/filter.h"
#include "proxy/flow/flags.h"
#include "proxy/flow/model_sight.h"
#include "proxy/flow/shadow_pair.h"
#include "proxy/flow/site.h"
#include "proxy/flow/watch.h"
#include "proxy/http/client.h"
#include "proxy/http/grpc.h"
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
  // The code of its RST_STREAM, if that is how the last attempt ended (RFC 9113 section 7).
  std::optional<uint32_t> reset_code;
  Call* answering = nullptr;  // Whose body is on its way down; owned by that body.
  int attempts = 0;
  std::string_view hedge;  // AccessRecord::hedge
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
  // The route of this name in the newest drawing, which is pinned as well; null if that is ours, or
  // has none.
  const Route* route_by_now();
  const Route* route() const { return route_; }
  Site& site() const { return site_; }
  TimePoint began() const { return stream_.began(); }
  // The client speaks gRPC: whatever happens, it is answered with a gRPC status.
  bool is_grpc() const { return grpc_; }
  // When the last byte of the request came, or nothing if it has not.
  std::optional<TimePoint> request_ended_at() const { return watch_.request_ended_at(); }
  // When all must be over: what the caller said with grpc-timeout, or max_stream_duration if that
  // is sooner.
  std::optional<TimePoint> deadline() const { return deadline_; }
  // What the request asks of which model; null if it is to none, or the listener does not read that.
  const ModelRequest* model() const { return sight_.record ? &*sight_.record : nullptr; }
  ModelSight& sight() { return sight_; }
  // Who is shown the answer, because copies of the request were sent; null: nobody.
  std::unique_ptr<ShadowedAnswer>& shadowed() { return shadowed_; }
  // Puts what is left of the caller's grpc-timeout into `request`, ours or a copy of it; before each
  // attempt.
  void forward_deadline(Request& request) const;
  // The verified caller: the first URI SAN of its certificate, "" if there is none.
  std::string_view peer_identity() const;
  std::string_view request_id() const { return request_id_; }
  // The request in a few words, for /exchanges: "GET classify/v2/… at filter 2 of 3".
  std::string describe() const;

  // Whose request it is.
  const ServerStream& stream() const { return stream_; }
  // The answer to a request that was refused by its codec: this exchange ends by it.
  Response refused(const Refusal& refusal);
  // What every answer of the proxy's own says: the reason in a word, the hop, the listener, the route,
  // the policy, the cluster and the configuration, in x-glia-* fields and, if there is a `text`, in
  // lines of it. The one place that writes them.
  void sign(Response& response, std::string_view reason, std::string* text = nullptr) const;

  // Has no line in the access log: there would be more such lines than of all that matters.
  void leave_unlogged() { unlogged_ = true; }
  void flag(ResponseFlag flag) { flags_.set(flag); }
  // The policy that decided (a refusal, or a shadow verdict), for the log and the refusal.
  void policy(std::string name) { policy_ = std::move(name); }
  const std::string& policy() const { return policy_; }
  UpstreamReport& upstream() { return upstream_; }
  // The upstream's body was asked and said this.
  void response_polled(Body::State state) { watch_.response_polled(state); }
  // The answer is not the upstream's own any more; `details` go to the log.
  void explain(std::string details) { details_ = std::move(details); }
  // The upstream's answer broke off; returns the gRPC status that says so.
  GrpcStatus broke_off(const Error& error);
  // Out of time: so long a client may take for the answer, or the trailers, that say so.
  static constexpr Duration kLastWords = 2s;

 private:
  friend class Next;
  friend class Site;
  class WatchedBody;

  // Writes path and authority as all will see them, and looks for loops; an answer ends the exchange.
  std::optional<Reply> check_request();
  // Reads what the request says of its model; an answer ends the exchange.
  Task<std::optional<Reply>> look_at_model();
  bool nothing_to_come() const;
  // Where the route says that the control plane may know the host: waits for it, and moves on to the
  // drawing that has it. An answer ends the exchange.
  void choose_route();
  Task<std::optional<Reply>> look_for_host();
  Task<Result<void>> find_host();
  Result<void> set_deadline();
  WatchLimits limits() const;
  void on_late(Watch::Rang rang) override;
  Error out_of_time();
  Task<void> answer(Reply reply);
  Response refuse(const Error& error);
  GrpcStatus grpc_status_of(const Error& error) const;
  // With status, type and server; the body is `sentence` and the lines of sign().
  Response own_answer(int status, std::string_view reason, std::string_view sentence) const;
  void log();
  // Counts what the control plane asks for, if it does for this cluster.
  void tell_tally() const;
  // Counts what the model's answer said, and puts it into `record`.
  void tell_answer(AccessRecord& record);

  ServerStream& stream_;
  Site& site_;
  std::shared_ptr<const SiteState> state_;  // Pinned: names and views below point into it.
  // ... or into one of these, which the router followed later: few, for it moves on few times.
  std::vector<std::shared_ptr<const SiteState>> followed_;
  const Route* route_ = nullptr;
  std::size_t filters_left_ = 0;  // Of the chain, the router included, when it last went down.
  std::optional<TimePoint> deadline_;
  std::string_view deadline_name_;  // Whose it is.
  ResponseFlags flags_;
  std::string policy_;
  std::string details_;  // Why the proxy itself answered.
  std::string_view request_id_;
  UpstreamReport upstream_;
  ModelSight sight_;
  std::unique_ptr<ShadowedAnswer> shadowed_;
  int status_ = 0;
  bool grpc_ = false;
  // Out of time after the head: the trailers that say so are on their way.
  bool last_words_ = false;
  bool unlogged_ = false;
  bool answered_ = false;  // The whole answer was handed to the codec.
  Watch watch_;
  Exchange* previous_ = nullptr;  // In the site's list.
  Exchange* next_ = nullptr;
};

}  // namespace glia
