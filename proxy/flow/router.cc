#include "proxy/flow/router.h"

#include <algorithm>
#include <vector>

#include "proxy/base/pool.h"
#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"
#include "proxy/flow/hedge.h"
#include "proxy/flow/load_stream.h"
#include "proxy/flow/load_talk.h"
#include "proxy/flow/retry.h"
#include "proxy/flow/shadow.h"
#include "proxy/http/canonical.h"
#include "proxy/http/syntax.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/rewrite.h"
#include "proxy/mesh/weighted.h"
#include "proxy/model/fields.h"
#include "proxy/telemetry/tally.h"

namespace glia {
namespace {

// Copies: the message may be written after the exchange has ended, and the drawing with it.
void apply_additions(const HeaderMutation& mutation, Headers& headers) {
  for (const std::string& name : mutation.remove) headers.remove(name);
  for (const HeaderAddition& addition : mutation.add) {
    using enum HeaderAddition::Action;
    const bool present = headers.has(addition.name);
    if (addition.action == kAddIfAbsent && present) continue;
    if (addition.action == kOverwriteIfPresent && !present) continue;
    if (addition.action == kAppend || !present) {
      headers.add(addition.name, addition.value);
    } else {
      headers.set(addition.name, addition.value);
    }
  }
}

const WeightedCluster& choose(const Route& route, Exchange& exchange) {
  const ForwardAction& action = *route.forward;
  if (action.clusters.size() == 1) return action.clusters.front();
  std::optional<uint64_t> session;
  if (route.session) session = hash_of(*route.session, exchange.request().headers);
  const uint64_t at = session ? *session % action.total_weight
                              : exchange.site().context().random.below(action.total_weight);
  return at_weight(action.clusters, at,
                   [](const WeightedCluster& cluster) { return cluster.weight; });
}

Error stood_still(Exchange& exchange, Duration limit) {
  return Error(
      ErrorKind::kTimeout, Fault::kUpstream,
      cat("cluster ", exchange.upstream().cluster, " sent nothing of an answer for ", to_ms(limit),
          " ms (per_try_idle_timeout of route ", exchange.route()->name, ")"));
}

// The upstream's body with what must end when it does: the endpoint's count, the cluster's figures.
class UpstreamBody final : public Body {
 public:
  // `copy`: the request, if it is not the exchange's own.
  UpstreamBody(Exchange& exchange, std::unique_ptr<Request> copy, std::unique_ptr<Call> call,
               Lease lease, TimePoint began, int status, float work)
      : exchange_(exchange),
        lease_(std::move(lease)),
        copy_(std::move(copy)),
        call_(std::move(call)),
        began_(began),
        status_(status),
        work_(work) {
    exchange.upstream().answering = call_.get();
    heed_grpc_status();
    const auto& policy = exchange.route()->forward->retry;
    if (!policy || policy->per_try_idle_timeout == 0s) return;
    idle_limit_ = policy->per_try_idle_timeout;
    idle_ = std::make_unique<CallbackTimer>(exchange.loop(), [this] { on_idle(); });
  }
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* at, std::size_t bytes) { pool_free(at, bytes); }
  ~UpstreamBody() override {
    // Of two copies, what the exchange knows is of the one whose answer came last.
    if (UpstreamReport& upstream = exchange_.upstream(); upstream.answering == call_.get()) {
      upstream.answering = nullptr;
      heed_grpc_status();
    }
    Cluster& cluster = lease_.endpoint().cluster();
    cluster.stats().time.record(exchange_.loop().now() - began_);
    ++cluster.stats().by_class[status_ / 100];
    ++(status_ < 500 ? lease_.endpoint().stats().requests_ok
                     : lease_.endpoint().stats().requests_failed);
    // What a client did wrong (4xx) never counts against a server.
    if (status_ >= 500) lease_.endpoint().load().failed(exchange_.loop().now());
  }

  Piece poll() override {
    Piece piece = call_->poll();
    exchange_.response_polled(piece.state);
    if (idle_ != nullptr) watch_idle(piece.state);
    if (exchange_.shadowed() != nullptr) show(piece);
    if (AnswerReader* const reader = exchange_.sight().answer.get()) {
      if (piece.state == State::kData) reader->push(piece.data.view(), exchange_.loop().now());
      if (piece.state == State::kEnd && !ended_) reader->finish();
    }
    const AnswerReader* const reader = exchange_.sight().answer.get();
    const bool begun = piece.state == State::kData && (reader == nullptr || reader->begun());
    if (begun || piece.state == State::kEnd) on_first();
    if (piece.state == State::kError) exchange_.upstream().reset_code = call_->reset_code();
    if (piece.state == State::kEnd && !std::exchange(ended_, true)) on_end();
    return piece;
  }
  std::optional<KernelPipe> poll_pipe() override {
    // Its bytes are looked at.
    if (exchange_.sight().answer != nullptr || exchange_.shadowed() != nullptr) return {};
    std::optional<KernelPipe> pipe = call_->poll_pipe();
    if (pipe) exchange_.response_polled(State::kData), on_first();
    if (pipe && idle_ != nullptr) watch_idle(State::kData);
    return pipe;
  }
  void wait(Waiter& waiter) override { call_->wait(waiter); }
  const Headers* trailers() const override { return trailers_ ? &*trailers_ : call_->trailers(); }
  std::optional<uint64_t> length() const override { return call_->length(); }
  Error error() const override { return call_->error(); }

 private:
  // As in Envoy, a gRPC status counts as the HTTP status that says the same.
  void heed_grpc_status() {
    if (status_ != 200 || !exchange_.is_grpc()) return;
    const auto status = parse_grpc_status(exchange_.upstream().grpc_status);
    if (status) status_ = http_status_of_grpc(*status);
  }
  void on_first() {
    if (std::exchange(answering_, true)) return;
    answer_begins(exchange_, lease_, status_, exchange_.loop().now() - began_, work_);
  }
  void on_end() {
    const Headers* const trailers = call_->trailers();
    if (trailers != nullptr) {
      if (const auto status = trailers->get("grpc-status")) {
        exchange_.upstream().grpc_status = *status;
      }
      hear_load(exchange_, lease_, *trailers);
    }
    trailers_ = trailers_with_load(exchange_, lease_, trailers);
  }

  // Counts only while the upstream is waited for: a client that does not read is not its fault.
  void watch_idle(State state) {
    if (state != State::kPending) return idle_->stop();
    if (!idle_->running()) idle_->start(idle_limit_);
  }
  void on_idle() {
    if (!exchange_.request_ended_at()) return idle_->start(idle_limit_);
    ++lease_.endpoint().cluster().stats().try_idle;
    exchange_.flag(ResponseFlag::kUpstreamTimeout);
    call_->cancel(stood_still(exchange_, idle_limit_));
  }

  // To whoever compares it with the answers to copies.
  void show(const Piece& piece) {
    ShadowedAnswer& shadowed = *exchange_.shadowed();
    if (piece.state == State::kData) shadowed.data(piece.data.view());
    const bool whole = piece.state == State::kEnd;
    if (!whole && piece.state != State::kError) return;
    shadowed.ended(whole ? ShadowedSide::End::kWhole : ShadowedSide::End::kBroken,
                   exchange_.loop().now() - began_);
  }

  Exchange& exchange_;
  Lease lease_;                    // Ends after the call.
  std::unique_ptr<Request> copy_;  // So does this.
  std::unique_ptr<Call> call_;
  TimePoint began_;
  int status_;
  const float work_;  // Tried::work
  bool answering_ = false, ended_ = false;
  std::unique_ptr<CallbackTimer> idle_;  // Null: it may stand still.
  Duration idle_limit_{0};
  std::optional<Headers> trailers_;  // Instead of the call's own.
};

void report_endpoint(Exchange& exchange, const Lease& lease) {
  UpstreamReport& upstream = exchange.upstream();
  upstream.address = lease.endpoint().config().address;
  const TlsInfo* tls = lease.connection().info().tls;
  if (tls != nullptr && !tls->peer_uri_sans.empty()) upstream.identity = tls->peer_uri_sans.front();
}

Result<void> rewrite(const ForwardAction& action, const Route& route, Exchange& exchange) {
  Request& request = exchange.request();
  if (!action.host_rewrite.empty()) {
    request.headers.set("x-envoy-original-host", request.authority);
    request.authority = exchange.arena()->copy(action.host_rewrite);
  }
  if (action.prefix_rewrite.empty() && !action.path_rewrite) return {};
  request.headers.set("x-envoy-original-path", request.path);
  request.path = exchange.arena()->copy(rewritten_path(action, route.match.path, request));
  // "/a.." behind "/a" is no dot segment until the prefix is gone.
  if (request.path.starts_with('/') && !has_dot_segment(path_of(request))) return {};
  return Error(ErrorKind::kInvalid, Fault::kDownstream,
               cat("route ", route.name,
                   " makes of the path one that does not begin with / or has "
                   "a segment \".\" or \"..\""));
}

Response direct(const DirectAction& action, Exchange& exchange) {
  Response response(exchange.arena());
  response.status = action.status;
  exchange.sign(response, "direct_response");
  if (!action.body.empty()) {
    response.headers.add_kept("content-type", "text/plain");
    response.body = std::make_unique<TextBody>(Slice::copy(action.body));
  }
  return response;
}

// As Envoy's RedirectAction.
Response redirect(const RedirectAction& action, const Route& route, Exchange& exchange) {
  const Request& request = exchange.request();
  Response response(exchange.arena());
  response.status = action.status;
  response.headers.add("location", redirect_location(action, route.match.path, request));
  exchange.sign(response, "redirect");
  return response;
}

// May a CONNECT take this route? Null status: yes.
Refusal check_connect(const Exchange& exchange, const ForwardAction& action) {
  const bool as_manager = action.connect == ConnectAction::kAsManager;
  const bool allowed =
      as_manager ? exchange.manager().connect : action.connect != ConnectAction::kRefuse;
  if (!exchange.request().is_connect() || allowed) return {};
  return {405, "CONNECT is not allowed on this route (upgrade_configs)"};
}

Error cannot_upgrade(Exchange& exchange) {
  return Error(ErrorKind::kProtocol, Fault::kUpstream,
               cat("cluster ", exchange.upstream().cluster, " speaks HTTP/2, and the upgrade to ",
                   exchange.request().upgrade,
                   " needs HTTP/1.1, or allow_connect in the cluster's http2_protocol_options and "
                   "an upstream that offers extended CONNECT (RFC 8441)"));
}

// Rings when an attempt had no answer within per_try_timeout, while no more of the request is to come.
class TryAlarm final : public Alarm {
 public:
  TryAlarm(Exchange& exchange, Duration limit)
      : Alarm(exchange.loop()), exchange_(exchange), began_(loop_.now()), limit_(limit) {
    start(limit);
  }

 private:
  void fire() override {
    const auto ended = exchange_.request_ended_at();
    if (!ended) return start(limit_);
    const TimePoint due = std::max(*ended, began_) + limit_;
    if (loop_.now() < due) return start(due - loop_.now());
    ring();
  }
  Exchange& exchange_;
  const TimePoint began_;
  const Duration limit_;
};

Task<Reply> wait_head(Call& call) { co_return co_await head_of(call); }

// How long an attempt may take to the head of its answer, by whichever limit is first; 0: any time.
Duration head_limit(const RetryPolicy& policy) {
  const Duration whole = policy.per_try_timeout, idle = policy.per_try_idle_timeout;
  return whole == 0s ? idle : idle == 0s ? whole : std::min(whole, idle);
}

Task<Reply> head_within(Exchange& exchange, Call& call, Cluster& cluster, Duration limit) {
  TryAlarm alarm(exchange, limit);
  std::optional<Reply> head = co_await until(alarm, wait_head(call));
  if (head) co_return std::move(*head);
  if (limit == exchange.route()->forward->retry->per_try_idle_timeout) {
    ++cluster.stats().try_idle;
    co_return stood_still(exchange, limit);
  }
  ++cluster.stats().try_timeouts;
  co_return Error(ErrorKind::kTimeout, Fault::kUpstream,
                  cat("cluster ", exchange.upstream().cluster, " did not answer an attempt within ",
                      to_ms(limit), " ms (per_try_timeout of route ", exchange.route()->name, ")"));
}

// An attempt that a policy asked for, while it waits for its answer: one of `count`, if it `counts`.
class Counted {
 public:
  Counted(uint64_t& count, bool counts) : count_(counts ? &count : nullptr) {
    if (count_ != nullptr) ++*count_;
  }
  Counted(const Counted&) = delete;
  ~Counted() {
    if (count_ != nullptr) --*count_;
  }

 private:
  uint64_t* const count_;
};

// One sending of the request: the exchange's own, or a second copy of it. Belongs to whoever awaits it.
struct Sending {
  Request& request;
  std::unique_ptr<Request> copy = nullptr;  // `request`, if it is one; goes to the answer's body.
  bool retrying = false;                    // As a retry_policy asked for.
  Lease* lease = nullptr;                   // While the answer is waited for.
};

Error not_configured(const Exchange& exchange, const WeightedCluster& chosen) {
  return Error(ErrorKind::kNoCluster, Fault::kSelf,
               cat("route ", exchange.route()->name, " names cluster ", chosen.cluster,
                   ", which is not configured"));
}

// `endpoint` took the request on a connection that was `alone` its, and gave no answer.
void note_failure(Endpoint& endpoint, bool alone, Tried& tried, ErrorKind kind, TimePoint now) {
  tried.failed.push_back(endpoint.config().address);
  if (kind == ErrorKind::kClosed) ++tried.turned_away;
  // Other idle connections may be as dead as this one was.
  if (alone || tried.turned_away >= Router::kMovesBehindOthers) tried.needs_fresh = true;
  ++endpoint.stats().requests_failed;
  // An orderly end of a connection is no failure.
  if (kind != ErrorKind::kClosed) endpoint.load().failed(now);
  if (kind == ErrorKind::kReset) ++endpoint.cluster().stats().resets;
}

// Sends the request to one endpoint of the chosen cluster; one that does not answer is added to `tried`.
Task<Reply> attempt(Exchange& exchange, const WeightedCluster& chosen, Tried& tried,
                    Sending& sending) {
  // Looked up each time: the cluster may have been replaced while an attempt waited.
  Cluster* cluster = exchange.site().clusters().find(chosen.cluster);
  if (cluster == nullptr) co_return not_configured(exchange, chosen);
  if (asks_for_load(exchange, cluster->config())) {
    co_return co_await answer_with_load(exchange, cluster->config().server_load);
  }
  if (asks_how_it_is(exchange, cluster->config())) {
    exchange.leave_unlogged();
    co_return tell_how_it_is(exchange, *cluster->config().server_load);
  }
  const bool second = sending.copy != nullptr;
  if (exchange.upstream().attempts++ > 0 && !second) ++cluster->stats().retries;
  // Ends after the lease; a cluster lives to the end of the turn in which its last lease ended.
  const Counted hedge(cluster->stats().hedges_active, second);
  exchange.upstream().reset_code.reset();
  exchange.upstream().head_after.reset();
  exchange.upstream().grpc_status.clear();
  const TimePoint began = exchange.loop().now();
  const bool ends_here = exchange.request().is_connect() &&
                         exchange.route()->forward->connect == ConnectAction::kTerminate;
  Result<Lease> lease = co_await cluster->lease(tried, &exchange.connection(),
                                                ends_here ? Carries::kBytes : Carries::kHttp,
                                                hints_of(exchange, cluster->config()));
  if (!lease) {
    if (!tried.failed.empty()) exchange.upstream().address = tried.failed.back();
    co_return std::move(lease).error();
  }
  report_endpoint(exchange, *lease);
  exchange.forward_deadline(sending.request);
  const bool upgrade = !exchange.request().upgrade.empty();
  if (upgrade && !lease->connection().takes_upgrade(exchange.request())) {
    co_return cannot_upgrade(exchange);
  }
  // Asked now: the connection may be gone when the answer is not to come.
  const bool alone = lease->connection().protocol() == Protocol::kHttp1;
  // The lease's: the one that was asked may be gone by now.
  Cluster& asked = lease->endpoint().cluster();
  const Counted retry(asked.stats().retries_active, sending.retrying);
  count_tokens(exchange, sending.request, *lease, tried);
  std::unique_ptr<Call> call = lease->connection().start(sending.request);
  sending.lease = &*lease;
  const auto& policy = exchange.route()->forward->retry;
  const Duration limit = policy ? head_limit(*policy) : Duration::zero();
  Reply response = limit > 0s ? co_await head_within(exchange, *call, asked, limit)
                              : Reply(co_await head_of(*call));
  if (!response) {
    exchange.upstream().reset_code = call->reset_code();
    note_failure(lease->endpoint(), alone, tried, response.error().kind(), exchange.loop().now());
    co_return response;
  }
  exchange.upstream().head_after = exchange.loop().now() - began;
  // A gRPC answer without a message has its status in the head ("trailers-only").
  exchange.upstream().grpc_status = response->headers.get("grpc-status").value_or("");
  const int status = response->status;
  if (exchange.shadowed() != nullptr) exchange.shadowed()->head(*response);
  talk_load(exchange, *lease, *response);
  Tallies* const tallies = exchange.site().context().tallies;
  const bool tallied = tallies != nullptr && tallies->find(chosen.cluster) != nullptr;
  if (exchange.model() != nullptr || tallied) {
    exchange.sight().look_at(exchange.request(), *response, tallied);
  }
  response->body =
      std::make_unique<UpstreamBody>(exchange, std::move(sending.copy), std::move(call),
                                     std::move(*lease), began, status, tried.work);
  co_return response;
}

// The first copy has been under way for so long that `copy` goes elsewhere: the first good answer of the
// two, else the last, and the other is cancelled. `sent` is `first`'s, which began then.
// Where neither was good, both are added to `tried`.
Task<Reply> first_good(Exchange& exchange, const WeightedCluster& chosen, Tried& tried,
                       const Sending& sent, Task<Reply>& first, TimePoint began,
                       std::unique_ptr<Request> copy) {
  Tried elsewhere = {.failed = tried.failed, .only_others = true};
  elsewhere.failed.push_back(sent.lease->endpoint().config().address);
  UpstreamReport& report = exchange.upstream();
  const Address address = report.address;
  const std::string identity = report.identity;
  report.hedge = "lost";
  Request& request = *copy;
  // For a sidecar, which believes it of callers that it knows, and of nobody in clear text.
  if (sent.lease->endpoint().cluster().config().tls != nullptr) {
    request.headers.add_kept(kCopyField, "1");
  }
  Sending again{.request = request, .copy = std::move(copy)};
  Task<Reply> second = attempt(exchange, chosen, elsewhere, again);
  const TimePoint again_at = exchange.loop().now();
  second.start();
  co_await either(first, &second, nullptr);
  bool of_first = first.done();
  Reply reply = of_first ? first.take() : second.take();
  if (!Hedge::good(reply)) {
    of_first = !of_first;
    Task<Reply>& other = of_first ? first : second;
    co_await either<Reply>(other, nullptr, nullptr);
    Reply last = other.take();
    if (last || !reply) {
      reply = std::move(last);
    } else {
      of_first = !of_first;
    }
  }
  if (!Hedge::good(reply)) {
    tried.failed = std::move(elsewhere.failed);
    tried.failed.push_back(report.address);
  }
  const bool won = !of_first && Hedge::good(reply);
  const TimePoint now = exchange.loop().now();
  if (Cluster* const cluster = exchange.site().clusters().find(chosen.cluster)) {
    cluster->stats().head_times.add(now - began, now);
    if (!of_first) cluster->stats().head_times.add(now - again_at, now);
    if (won) ++cluster->stats().hedges_won;
  }
  if (of_first) {
    report.address = address;
    report.identity = identity;
    second.cancel();
    co_return reply;
  }
  if (won) report.hedge = "won";
  if (!first.done()) answer_is_late(exchange, *sent.lease, now - began, tried.work);
  report.reset_code.reset();
  first.cancel();
  co_return reply;
}

// As attempt(), with a second copy if the first takes too long.
Task<Reply> attempt_twice(Exchange& exchange, const WeightedCluster& chosen, Tried& tried,
                          Sending& sending, Hedge& hedge) {
  const auto delay = hedge.delay(exchange.site().clusters().find(chosen.cluster));
  const TimePoint began = exchange.loop().now();
  Task<Reply> first = attempt(exchange, chosen, tried, sending);
  first.start();
  if (delay) {
    TryAlarm alarm(exchange, *delay);
    co_await either<Reply>(first, nullptr, &alarm);
  }
  // Of one that waits for a connection, nobody knows where another would go.
  if (!first.done() && delay && sending.lease != nullptr) {
    if (auto copy = hedge.second(sending.lease->endpoint().cluster())) {
      co_return co_await first_good(exchange, chosen, tried, sending, first, began,
                                    std::move(copy));
    }
  }
  co_await either<Reply>(first, nullptr, nullptr);
  Reply reply = first.take();
  if (Hedge::good(reply)) {
    if (Cluster* cluster = exchange.site().clusters().find(chosen.cluster)) {
      const TimePoint now = exchange.loop().now();
      cluster->stats().head_times.add(now - began, now);
    }
  }
  co_return reply;
}

// Where the route sends requests by now, if `from` has nobody left to take this one: a change of the
// mesh took its last endpoint after the exchange had pinned its drawing. Null: stay.
const WeightedCluster* moved_to(Exchange& exchange, const Reply& reply,
                                const WeightedCluster& from) {
  if (reply) return nullptr;
  const ErrorKind kind = reply.error().kind();
  if (kind != ErrorKind::kNoEndpoint && kind != ErrorKind::kNoCluster) return nullptr;
  const Route* route = exchange.route_by_now();
  if (route == nullptr || !route->forward) return nullptr;
  const WeightedCluster& to = choose(*route, exchange);
  // The model's name in the request is the old cluster's already.
  const bool renamed = to.model_name || from.model_name;
  return to.cluster == from.cluster || renamed ? nullptr : &to;
}

Task<Reply> forward(Exchange& exchange, const ForwardAction& action) {
  if (const Refusal no = check_connect(exchange, action); no.status != 0) {
    co_return exchange.refused(no);
  }
  const WeightedCluster* chosen = &choose(*exchange.route(), exchange);
  exchange.upstream().cluster = chosen->cluster;
  CO_TRY_VOID(rewrite(action, *exchange.route(), exchange));
  exchange.request().headers.remove(kCopyField);
  const auto& name = chosen->model_name ? chosen->model_name : exchange.route()->model_name;
  if (name) CO_TRY_VOID(rename_model(exchange, *name));
  for (const HeaderMutation& mutation : exchange.route()->request_headers) {
    apply_additions(mutation, exchange.request().headers);
  }
  apply_additions(chosen->request_headers, exchange.request().headers);
  if (!action.mirrors.empty()) {
    exchange.shadowed() = exchange.site().shadows().begin(exchange.request(), *exchange.route());
  }
  Chances chances(exchange, action);
  Hedge hedge(exchange, chances);
  Tried tried;
  for (;;) {
    Sending sending{.request = exchange.request(), .retrying = chances.retrying()};
    Reply reply = hedge.possible()
                      ? co_await attempt_twice(exchange, *chosen, tried, sending, hedge)
                      : co_await attempt(exchange, *chosen, tried, sending);
    if (const WeightedCluster* moved = moved_to(exchange, reply, *chosen);
        moved != nullptr && chances.move()) {
      chosen = moved;
      exchange.upstream().cluster = chosen->cluster;
      tried = {};
      continue;
    }
    if (!chances.take(reply, exchange.site().clusters().find(chosen->cluster))) {
      chances.answered();
      if (reply) apply_additions(chosen->response_headers, reply->headers);
      co_return reply;
    }
    if (reply) tried.failed.push_back(exchange.upstream().address);
    reply = Error(ErrorKind::kClosed, Fault::kUpstream, "tried again");  // Ends the call.
    if (const Duration pause = chances.pause(); pause > 0s) {
      co_await sleep_for(exchange.loop(), pause);
    }
  }
}

}  // namespace

Task<Reply> Router::handle(Exchange& exchange, Next) {
  const Route* route = exchange.route();
  if (route == nullptr) {
    co_return Error(ErrorKind::kNoRoute, Fault::kDownstream,
                    cat("no route for ", exchange.request().method, " ",
                        exchange.request().authority, path_of(exchange.request())));
  }
  Reply reply = route->direct     ? Reply(direct(*route->direct, exchange))
                : route->redirect ? Reply(redirect(*route->redirect, *route, exchange))
                                  : co_await forward(exchange, *route->forward);
  if (reply) {
    for (const HeaderMutation& mutation : route->response_headers) {
      apply_additions(mutation, reply->headers);
    }
  }
  co_return reply;
}

}  // namespace glia
