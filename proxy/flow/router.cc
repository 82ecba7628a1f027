#include "proxy/flow/router.h"

#include <vector>

#include "proxy/base/pool.h"
#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"
#include "proxy/flow/kept_body.h"
#include "proxy/flow/load_stream.h"
#include "proxy/flow/load_talk.h"
#include "proxy/http/canonical.h"
#include "proxy/http/syntax.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/weighted.h"

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

const WeightedCluster& choose(const ForwardAction& action, Random& random) {
  if (action.clusters.size() == 1) return action.clusters.front();
  return at_weight(action.clusters, random.below(action.total_weight),
                   [](const WeightedCluster& cluster) { return cluster.weight; });
}

// The upstream's body with what must end when it does: the endpoint's count, the cluster's figures.
class UpstreamBody final : public Body {
 public:
  UpstreamBody(Exchange& exchange, std::unique_ptr<Call> call, Lease lease, TimePoint began,
               int status)
      : exchange_(exchange),
        lease_(std::move(lease)),
        call_(std::move(call)),
        began_(began),
        status_(status) {
    exchange.upstream().answering = call_.get();
  }
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* at, std::size_t bytes) { pool_free(at, bytes); }
  ~UpstreamBody() override {
    UpstreamReport& upstream = exchange_.upstream();
    if (upstream.answering == call_.get()) upstream.answering = nullptr;
    // As in Envoy, a gRPC status counts as the HTTP status that says the same.
    if (const auto status = parse_grpc_status(upstream.grpc_status);
        status && exchange_.is_grpc()) {
      if (status_ == 200) status_ = http_status_of_grpc(*status);
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
    if (piece.state == State::kError) exchange_.upstream().reset_code = call_->reset_code();
    if (piece.state == State::kEnd && !std::exchange(ended_, true)) on_end();
    return piece;
  }
  void wait(Waiter& waiter) override { call_->wait(waiter); }
  const Headers* trailers() const override { return trailers_ ? &*trailers_ : call_->trailers(); }
  std::optional<uint64_t> length() const override { return call_->length(); }
  Error error() const override { return call_->error(); }

 private:
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

  Exchange& exchange_;
  Lease lease_;  // Ends after the call.
  std::unique_ptr<Call> call_;
  TimePoint began_;
  int status_;
  bool ended_ = false;
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
  if (action.prefix_rewrite.empty()) return {};
  request.headers.set("x-envoy-original-path", request.path);
  const std::size_t matched = route.match.path.kind == PathMatch::Kind::kExact
                                  ? path_of(request).size()
                                  : route.match.path.text.pattern().size();
  request.path = exchange.arena()->copy(cat(action.prefix_rewrite, request.path.substr(matched)));
  // "/a.." behind "/a" is no dot segment until the prefix is gone.
  if (!has_dot_segment(path_of(request))) return {};
  return Error(ErrorKind::kInvalid, Fault::kDownstream,
               cat("route ", route.name, " makes of the path one with a segment \".\" or \"..\""));
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

// The host without its port; the brackets of an IPv6 address keep their colons.
std::string_view without_port(std::string_view authority) {
  const std::size_t colon = authority.rfind(':');
  const bool port = colon != authority.npos && authority.find(']', colon) == authority.npos;
  return port ? authority.substr(0, colon) : authority;
}

// The host that a redirect names is used as it is written; the request's own loses the port that only
// the old scheme takes for granted.
std::string redirect_host(const RedirectAction& action, const Request& request) {
  std::string_view host = action.host.empty() ? std::string_view(request.authority) : action.host;
  const bool new_scheme = !action.scheme.empty() && action.scheme != request.scheme;
  const bool usual = host.ends_with(usual_port(request.scheme));
  if (action.host.empty() && new_scheme && usual) host = without_port(host);
  return action.port ? cat(without_port(host), ":", *action.port) : std::string(host);
}

std::string redirect_path(const RedirectAction& action, const Route& route,
                          const Request& request) {
  const std::string_view path = path_of(request);
  const std::string_view query = action.strip_query ? "" : request.path.substr(path.size());
  // A query of its own wins, also over strip_query.
  if (action.path.find('?') != action.path.npos) return action.path;
  if (!action.path.empty()) return cat(action.path, query);
  if (action.prefix.empty()) return cat(path, query);
  return cat(action.prefix, path.substr(route.match.path.text.pattern().size()), query);
}

// As Envoy's RedirectAction.
Response redirect(const RedirectAction& action, const Route& route, Exchange& exchange) {
  const Request& request = exchange.request();
  const std::string_view scheme = action.scheme.empty() ? request.scheme : action.scheme;
  Response response(exchange.arena());
  response.status = action.status;
  response.headers.add("location", cat(scheme, "://", redirect_host(action, request),
                                       redirect_path(action, route, request)));
  exchange.sign(response, "redirect");
  return response;
}

// Sends the request to one endpoint of `cluster`; one that does not answer is added to `tried`.
Task<Reply> attempt(Exchange& exchange, Cluster& cluster, Tried& tried) {
  ++exchange.upstream().attempts;
  exchange.upstream().reset_code.reset();
  const TimePoint began = exchange.loop().now();
  Result<Lease> lease =
      co_await cluster.lease(tried, &exchange.connection(), hints_of(exchange, cluster.config()));
  if (!lease) {
    if (!tried.failed.empty()) exchange.upstream().address = tried.failed.back();
    co_return std::move(lease).error();
  }
  report_endpoint(exchange, *lease);
  exchange.forward_deadline();
  const std::string_view upgrade = exchange.request().upgrade;
  if (!upgrade.empty() && lease->connection().protocol() != Protocol::kHttp1) {
    co_return Error(ErrorKind::kProtocol, Fault::kUpstream,
                    cat("cluster ", exchange.upstream().cluster,
                        " speaks HTTP/2, and the upgrade to ", upgrade, " needs HTTP/1.1"));
  }
  const bool alone = lease->connection().protocol() == Protocol::kHttp1;
  std::unique_ptr<Call> call = lease->connection().start(exchange.request());
  Reply response = co_await head_of(*call);
  if (!response) {
    exchange.upstream().reset_code = call->reset_code();
    tried.failed.push_back(lease->endpoint().config().address);
    // Other idle connections may be as dead as this one was.
    if (alone) tried.needs_fresh = true;
    if (response.error().kind() == ErrorKind::kClosed) ++tried.turned_away;
    if (tried.turned_away >= Router::kMovesBehindOthers) tried.needs_fresh = true;
    ++lease->endpoint().stats().requests_failed;
    // An orderly end of a connection is no failure.
    if (response.error().kind() != ErrorKind::kClosed) {
      lease->endpoint().load().failed(exchange.loop().now());
    }
    if (response.error().kind() == ErrorKind::kReset) ++lease->endpoint().cluster().stats().resets;
    co_return response;
  }
  exchange.upstream().head_after = exchange.loop().now() - began;
  // A gRPC answer without a message has its status in the head ("trailers-only").
  exchange.upstream().grpc_status = response->headers.get("grpc-status").value_or("");
  const int status = response->status;
  talk_load(exchange, *lease, tried.load, *response);
  response->body =
      std::make_unique<UpstreamBody>(exchange, std::move(call), std::move(*lease), began, status);
  co_return response;
}

// What may still be tried for one request.
class Chances {
 public:
  explicit Chances(Request& request) {
    if (request.body == nullptr) return;
    auto kept = std::make_unique<KeptBody>(std::move(request.body));
    kept_ = kept.get();
    request.body = std::move(kept);
  }
  // Takes one for another attempt after `error`.
  bool take(const Error& error) {
    if (error.retry() != Retry::kSafe || (kept_ != nullptr && !kept_->rewind())) return false;
    // An endpoint or a connection that was leaving says nothing about the next one.
    if (error.kind() == ErrorKind::kClosed) return ++moves_ < Router::kMoves;
    return ++failures_ < Router::kAttempts;
  }
  void answered() {
    if (kept_ != nullptr) kept_->forget();
  }

 private:
  KeptBody* kept_ = nullptr;  // In the request.
  int failures_ = 0;
  int moves_ = 0;
};

Task<Reply> forward(Exchange& exchange, const ForwardAction& action) {
  const WeightedCluster& chosen = choose(action, exchange.site().context().random);
  exchange.upstream().cluster = chosen.cluster;
  CO_TRY_VOID(rewrite(action, *exchange.route(), exchange));
  const auto& name = chosen.model_name ? chosen.model_name : exchange.route()->model_name;
  if (name) CO_TRY_VOID(rename_model(exchange, *name));
  for (const HeaderMutation& mutation : exchange.route()->request_headers) {
    apply_additions(mutation, exchange.request().headers);
  }
  apply_additions(chosen.request_headers, exchange.request().headers);
  Chances chances(exchange.request());
  Tried tried;
  for (;;) {
    // Looked up each time: the cluster may have been replaced while an attempt waited.
    Cluster* cluster = exchange.site().clusters().find(chosen.cluster);
    if (cluster == nullptr) {
      co_return Error(ErrorKind::kNoCluster, Fault::kSelf,
                      cat("route ", exchange.route()->name, " names cluster ", chosen.cluster,
                          ", which is not configured"));
    }
    if (asks_for_load(exchange, cluster->config())) {
      co_return co_await answer_with_load(exchange, cluster->config().server_load);
    }
    if (exchange.upstream().attempts > 0) ++cluster->stats().retries;
    Reply reply = co_await attempt(exchange, *cluster, tried);
    if (reply) {
      chances.answered();
      apply_additions(chosen.response_headers, reply->headers);
      co_return reply;
    }
    if (!chances.take(reply.error())) co_return reply;
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
