#include "proxy/flow/exchange.h"

#include "proxy/base/text.h"
#include "proxy/flow/forwarded.h"
#include "proxy/flow/rescue.h"
#include "proxy/http/grpc.h"
#include "proxy/http/syntax.h"
#include "proxy/mesh/route.h"

namespace glia {

// The request's body, watched for its end and for whose turn it is.
class Exchange::WatchedBody final : public Body {
 public:
  WatchedBody(Exchange& exchange, std::unique_ptr<Body> body)
      : exchange_(exchange), body_(std::move(body)) {}
  Piece poll() override {
    Piece piece = body_->poll();
    if (ended_) return piece;
    Watch& watch = exchange_.watch_;
    if (piece.state == State::kData) watch.upstreams_turn();
    if (piece.state == State::kPending) watch.clients_turn();
    if (piece.state == State::kEnd) watch.request_ended();
    ended_ = piece.state == State::kEnd;
    return piece;
  }
  void wait(Waiter& waiter) override { body_->wait(waiter); }
  const Headers* trailers() const override { return body_->trailers(); }
  std::optional<uint64_t> length() const override { return body_->length(); }
  Error error() const override { return body_->error(); }

 private:
  Exchange& exchange_;
  std::unique_ptr<Body> body_;
  bool ended_ = false;
};

Task<Reply> Next::operator()(Exchange& exchange) const {
  exchange.filters_left_ = rest_.size();
  return rest_.front()->handle(exchange, Next(rest_.subspan(1)));
}

Exchange::Exchange(ServerStream& stream, Site& site)
    : stream_(stream), site_(site), state_(site.state()), watch_(stream, *this) {
  site_.enter(*this);
}

Exchange::~Exchange() {
  site_.leave(*this);
  log();
}

namespace {

Error ambiguous_path() {
  return Error(
      ErrorKind::kInvalid, Fault::kDownstream,
      "the path has a segment \".\" or \"..\", which applications read in different ways; send "
      "the path that is meant");
}

Error out_of_memory() {
  return Error(ErrorKind::kOverflow, Fault::kDownstream,
               "this proxy is short of memory and refuses new requests; try again, or elsewhere");
}

}  // namespace

Task<void> Exchange::run() {
  request_id_ = write_forwarded_fields(*this);
  if (site_.shedding_) {
    ++site_.stats_.shed;
    stream_.close_after();
    co_return co_await answer(out_of_memory());
  }
  // Before the route is chosen: a policy may belong to a route.
  if (has_dot_segment(path_of(request()))) co_return co_await answer(ambiguous_path());
  if (manager().routes != nullptr) route_ = manager().routes->route_for(request());
  watch_.begin(limits(), request().body == nullptr);
  if (request().body != nullptr) {
    request().body = std::make_unique<WatchedBody>(*this, std::move(request().body));
  }
  std::optional<Reply> reply = co_await until(watch_, Next(*state_->filters)(*this));
  co_await answer(reply ? std::move(*reply) : timed_out());
}

WatchLimits Exchange::limits() const {
  const Duration request = manager().request_timeout, idle = manager().stream_idle_timeout;
  if (route_ == nullptr || !route_->forward) return {.request = request, .idle = idle};
  return {.request = request,
          .response = route_->forward->timeout,
          .idle = route_->forward->idle_timeout.value_or(idle)};
}

void Exchange::on_late(Watch::Rang rang) {
  const bool idle = rang == Watch::Rang::kIdle;
  flag(idle ? ResponseFlag::kIdleTimeout : ResponseFlag::kUpstreamTimeout);
  details_ = idle ? "stream_idle_timeout" : "response_timeout";
  ++site_.stats_.timeouts;
  stream_.abort();
}

Reply Exchange::timed_out() {
  ++site_.stats_.timeouts;
  if (watch_.rang() == Watch::Rang::kRequest) {
    return Error(ErrorKind::kTimeout, Fault::kDownstream,
                 cat("the request was not complete after ", to_ms(watch_.limits().request),
                     " ms (request timeout)"));
  }
  if (watch_.rang() == Watch::Rang::kIdle) {
    flag(ResponseFlag::kIdleTimeout);
    // Whoever was to send next is the one who stood still.
    return Error(
        ErrorKind::kTimeout, watch_.request_over() ? Fault::kUpstream : Fault::kDownstream,
        cat("nothing moved for ", to_ms(watch_.limits().idle), " ms (stream idle timeout)"));
  }
  if (Cluster* cluster = site_.clusters().find(upstream_.cluster)) ++cluster->stats().timeouts;
  return Error(ErrorKind::kTimeout, Fault::kUpstream,
               cat("cluster ", upstream_.cluster, " did not answer within ",
                   to_ms(watch_.limits().response), " ms (timeout of route ", route_->name, ")"));
}

Task<void> Exchange::answer(Reply reply) {
  Response response = reply ? std::move(*reply) : refuse(reply.error());
  status_ = response.status;
  watch_.answering();
  const Sent sent = co_await stream_.respond(std::move(response));
  answered_ = sent.complete;
  if (sent.complete) co_return;
  flag(ResponseFlag::kUpstreamReset);
  if (sent.error) details_ = sent.error->message();
}

// A response of our own: it names the reason, the hop, the route or policy and the configuration.
Response Exchange::refuse(const Error& error) {
  const Rescue rescue = rescue_for(error);
  if (rescue.flag && flags_.empty()) flag(*rescue.flag);
  details_ = error.message();
  Response response(arena());
  Headers& headers = response.headers;
  if (request().is_grpc()) {
    response.status = 200;
    headers.add_kept("content-type", "application/grpc");
    headers.add("grpc-status", cat(rescue.grpc_status));
    headers.add("grpc-message", encode_grpc_message(error.message()));
    upstream_.grpc_status = cat(rescue.grpc_status);
  } else {
    response.status = rescue.status;
    headers.add_kept("content-type", "text/plain; charset=utf-8");
  }
  headers.add_kept("server", manager().server_name);
  headers.add_kept("x-glia-reason", rescue.reason);
  if (rescue.retry_after > 0) headers.add("retry-after", cat(rescue.retry_after));
  describe_refusal(error, response);
  return response;
}

void Exchange::describe_refusal(const Error& error, Response& response) {
  Headers& headers = response.headers;
  std::string body = cat(error.message(), "\n");
  const auto say = [&](std::string_view field, std::string_view word, std::string_view value) {
    if (value.empty()) return;
    headers.add(field, value);
    body += cat(word, ": ", value, "\n");
  };
  say("x-glia-hop", "hop", snapshot().node_id);
  say("x-glia-listener", "listener", state_->listener->name);
  if (route_ != nullptr) say("x-glia-route", "route", route_->name);
  say("x-glia-policy", "policy", policy_);
  say("x-glia-cluster", "cluster", upstream_.cluster);
  say("x-glia-config", "configuration", snapshot().version);
  if (!request_id_.empty()) body += cat("request id: ", request_id_, "\n");
  if (response.status != 200) response.body = std::make_unique<TextBody>(Slice::copy(body));
}

std::string_view Exchange::peer_identity() const {
  const TlsInfo* tls = connection().tls;
  if (tls == nullptr || !tls->peer_certificate || tls->peer_uri_sans.empty()) return {};
  return tls->peer_uri_sans.front();
}

namespace {

// The request's fields for a configured log line.
class RequestFields final : public FieldLookup {
 public:
  explicit RequestFields(const Headers& headers) : headers_(headers) {}
  std::optional<std::string_view> field(std::string_view name) const override {
    return headers_.get(name);
  }

 private:
  const Headers& headers_;
};

}  // namespace

std::string Exchange::describe() const {
  return cat(request().method, " ", request().authority, path_of(request()), ", at filter ",
             state_->filters->size() - filters_left_ + 1, " of ", state_->filters->size(),
             ", status ", status_, ", upstream ",
             upstream_.cluster.empty() ? "none yet" : upstream_.cluster);
}

void Exchange::log() {
  SiteStats& stats = site_.stats_;
  const Duration duration = loop().now() - began();
  ++stats.by_class[status_ / 100];
  stats.time.record(duration);
  if (!answered_ && flags_.empty()) {
    flag(ResponseFlag::kDownstreamGone);
    ++stats.downstream_gone;
  }
  if (site_.log_ == nullptr) return;
  const TlsInfo* tls = connection().tls;
  const std::string flags = flags_.text();
  const std::string upstream_address =
      upstream_.attempts > 0 && upstream_.address.raw_size() > 0 ? upstream_.address.text() : "";
  const std::string downstream_address = connection().remote.text();
  const std::string listener_address = connection().local.text();
  const auto field = [&](std::string_view name) {
    return request().headers.get(name).value_or(std::string_view());
  };
  AccessRecord record;
  record.start = loop().clock().wall_now() - duration;
  record.method = request().method;
  record.path = request().path;
  record.authority = request().authority;
  record.scheme = request().scheme;
  record.protocol = name_of(protocol());
  record.status = status_;
  record.response_flags = flags;
  record.response_details = !details_.empty()      ? std::string_view(details_)
                            : upstream_.head_after ? "via_upstream"
                                                   : "";
  record.bytes_received = stream_.request_bytes();
  record.bytes_sent = stream_.response_bytes();
  record.duration = duration;
  record.upstream_duration = upstream_.head_after.value_or(Duration::zero());
  if (route_ != nullptr) record.route = route_->name;
  record.cluster = upstream_.cluster;
  record.upstream_address = upstream_address;
  record.downstream_address = downstream_address;
  record.listener_address = listener_address;
  record.peer_identity = peer_identity();
  record.upstream_identity = upstream_.identity;
  if (tls != nullptr) {
    if (!tls->local_uri_sans.empty()) record.local_identity = tls->local_uri_sans.front();
    record.tls_version = tls->version;
    record.requested_server_name = tls->server_name;
  }
  record.request_id = request_id_;
  record.user_agent = field("user-agent");
  record.forwarded_for = field("x-forwarded-for");
  record.referer = field("referer");
  record.grpc_status = upstream_.grpc_status;
  record.policy = policy_;
  record.config_version = snapshot().version;
  record.node_id = snapshot().node_id;
  record.attempts = upstream_.attempts;
  const RequestFields fields(request().headers);
  record.request_fields = &fields;
  site_.log_->write(record);
}

}  // namespace glia
