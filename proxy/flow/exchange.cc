#include "proxy/flow/exchange.h"

#include "proxy/base/text.h"
#include "proxy/flow/forwarded.h"
#include "proxy/flow/grpc_answer.h"
#include "proxy/flow/model_figures.h"
#include "proxy/flow/rescue.h"
#include "proxy/http/canonical.h"
#include "proxy/http/syntax.h"
#include "proxy/mesh/discovery.h"
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
  std::optional<KernelPipe> poll_pipe() override {
    std::optional<KernelPipe> pipe = body_->poll_pipe();
    if (pipe) exchange_.watch_.upstreams_turn();
    return pipe;
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

std::optional<Reply> Exchange::check_request() {
  Request& wanted = request();
  wanted.authority = canonical_authority(wanted.authority, wanted.scheme, *arena());
  if (wanted.path != "*" && !wanted.is_connect()) {
    const CanonicalPath canonical = canonical_path(wanted.path, manager().path_rules, *arena());
    if (!canonical.fault.empty()) return refused({400, canonical.fault});
    wanted.path = canonical.path;
    if (canonical.redirect) {
      Response response(arena());
      response.status = 307;
      response.headers.add_kept("location", canonical.path);
      sign(response, "redirect");
      return response;
    }
  }
  if (const Refusal loop = write_via(*this); loop.status != 0) return refused(loop);
  if (forwards_left(wanted)) return {};
  Response response(arena());
  response.status = 204;
  sign(response, "max_forwards");
  return response;
}

namespace {

Error out_of_memory() {
  return Error(ErrorKind::kOverload, Fault::kSelf,
               "this proxy is short of memory and refuses new requests; try again, or elsewhere");
}

}  // namespace

Task<void> Exchange::run() {
  grpc_ = request().is_grpc();
  // A gRPC client that does not say so knows them nevertheless.
  if (grpc_) request().trailers_accepted = true;
  request_id_ = write_forwarded_fields(*this);
  if (site_.shedding_) {
    ++site_.stats_.shed;
    stream_.close_after();
    co_return co_await answer(out_of_memory());
  }
  // Before the route is chosen: a policy may belong to a route.
  if (auto early = check_request()) co_return co_await answer(std::move(*early));
  if (request().body != nullptr) {
    request().body = std::make_unique<WatchedBody>(*this, std::move(request().body));
  }
  if (manager().model) {
    if (auto early = co_await look_at_model()) co_return co_await answer(std::move(*early));
  }
  choose_route();
  if (route_ != nullptr && route_->discover) {
    if (auto early = co_await look_for_host()) co_return co_await answer(std::move(*early));
  }
  if (Result<void> set = set_deadline(); !set) co_return co_await answer(std::move(set).error());
  watch_.begin(limits(), nothing_to_come());
  std::optional<Reply> reply = co_await until(watch_, Next(*state_->filters)(*this));
  // Whatever its call broke with: the body that flowed behind what was held is why.
  if (reply && !*reply && sight_.held != nullptr && sight_.held->reader().refused()) {
    ++site_.stats_.model.refused;
    reply = sight_.held->error();
  }
  co_await answer(reply ? std::move(*reply) : Reply(out_of_time()));
}

void Exchange::choose_route() {
  const auto& routes = manager().routes;
  route_ = routes != nullptr ? routes->route_for(request(), meant_for(connection())) : nullptr;
}

// What follows an upgrade is not the request.
bool Exchange::nothing_to_come() const {
  return request().body == nullptr || !request().upgrade.empty() || watch_.request_over();
}

// The body may be waited for, so all that limits a request counts, as far as it does not depend on
// the route.
Task<std::optional<Reply>> Exchange::look_at_model() {
  if (Result<void> set = set_deadline(); !set) co_return Reply(std::move(set).error());
  WatchLimits early = limits();
  if (!grpc_) early.rate = MinimumRate();
  watch_.begin(early, nothing_to_come());
  const std::optional<Result<void>> seen = co_await until(watch_, read_model(*this));
  if (!seen) co_return Reply(out_of_time());
  if (!*seen) co_return Reply(seen->error());
  co_return std::nullopt;
}

Task<std::optional<Reply>> Exchange::look_for_host() {
  if (Result<void> set = set_deadline(); !set) co_return Reply(std::move(set).error());
  const bool looked = manager().model.has_value();
  watch_.begin(limits(), nothing_to_come());
  const std::optional<Result<void>> found = co_await until(watch_, find_host());
  if (!found) co_return Reply(out_of_time());
  if (!*found) co_return Reply(found->error());
  if (looked || !manager().model) co_return std::nullopt;
  // The routes that have come want to know the model.
  if (auto early = co_await look_at_model()) co_return early;
  choose_route();
  co_return std::nullopt;
}

Task<Result<void>> Exchange::find_host() {
  Discovery* const discovery = site_.context().discovery;
  if (discovery == nullptr || !discovery->possible()) co_return Result<void>();
  const Duration limit = route_->discover->timeout;
  const TimePoint until = loop().now() + limit;
  std::string host = to_lower(request().authority);
  std::optional<Error> no_such_name;
  while (route_ != nullptr && route_->discover) {
    if (loop().now() >= until) {
      co_return Error(
          ErrorKind::kNoCluster, Fault::kSelf,
          cat("the way to ", request().authority, " was not complete after ", to_ms(limit), " ms"));
    }
    // Another request may have brought it while this one's body was awaited.
    if (site_.state() == state_) {
      const Result<void> drawn = co_await discovery->next_drawing(host, until - loop().now());
      if (!drawn && no_such_name) co_return *std::move(no_such_name);
      if (!drawn) {
        // Where the name means nothing, the address counts that a captured connection was for.
        std::string address(meant_for(connection()));
        if (drawn.error().kind() != ErrorKind::kNoRoute || address.empty()) co_return drawn.error();
        no_such_name = drawn.error();
        host = std::move(address);
        continue;
      }
    }
    if (site_.state() == state_) continue;
    followed_.push_back(std::exchange(state_, site_.state()));
    choose_route();
  }
  co_return Result<void>();
}

// Both count from the first byte of the request, so that waiting in a queue of ours is counted too.
Result<void> Exchange::set_deadline() {
  const ForwardAction* forward = route_ != nullptr && route_->forward ? &*route_->forward : nullptr;
  Duration longest = manager().max_stream_duration;
  deadline_.reset();
  if (forward != nullptr) longest = forward->max_stream_duration.value_or(longest);
  if (longest > 0s) {
    deadline_ = began() + longest;
    deadline_name_ = "max_stream_duration";
  }
  if (!grpc_) return {};
  const auto text = request().headers.get("grpc-timeout");
  if (!text) return {};
  std::optional<Duration> asked = parse_grpc_timeout(*text);
  if (!asked || request().headers.count("grpc-timeout") > 1) {
    return Error(ErrorKind::kInvalid, Fault::kDownstream,
                 cat("grpc-timeout \"", *text, "\" is not one field of 1 to 8 digits and a unit, ",
                     "one of H M S m u n"));
  }
  if (forward != nullptr) {
    if (forward->grpc_timeout_max > 0s) asked = std::min(*asked, forward->grpc_timeout_max);
    *asked -= forward->grpc_timeout_offset;
  }
  // More than a year is as good as none, and could not be added to a moment.
  if (*asked > kForever) return {};
  const TimePoint at = began() + *asked;
  if (!deadline_ || at < *deadline_) {
    deadline_ = at;
    deadline_name_ = "grpc-timeout";
  }
  if (at > loop().now()) return {};
  flag(ResponseFlag::kDurationTimeout);
  return Error(ErrorKind::kTimeout, Fault::kDownstream,
               cat("the caller's grpc-timeout of ", *text, " is over already"));
}

void Exchange::forward_deadline(Request& request) const {
  if (!grpc_ || !deadline_ || !request.headers.has("grpc-timeout")) return;
  request.headers.set("grpc-timeout", format_grpc_timeout(*deadline_ - loop().now()));
}

const Route* Exchange::route_by_now() {
  const std::shared_ptr<const SiteState>& newest = site_.state();
  const auto& routes = newest->chain->http.routes;
  if (newest == state_ || routes == nullptr || route_->name.empty()) return nullptr;
  for (const VirtualHost& host : routes->hosts()) {
    const auto found = std::ranges::find(host.routes, route_->name, &Route::name);
    if (found == host.routes.end()) continue;
    if (followed_.empty() || followed_.back() != newest) followed_.push_back(newest);
    return &*found;
  }
  return nullptr;
}

WatchLimits Exchange::limits() const {
  WatchLimits limits{.request = manager().request_timeout,
                     .idle = manager().stream_idle_timeout,
                     .deadline = deadline_,
                     .rate = {.bytes_per_second = 0}};
  if (route_ == nullptr) return limits;
  limits.rate = route_->rate;
  if (limits.rate.bytes_per_second > 0) limits.stall = Watch::kTakesNothing;
  // A caller that streams messages may pause between them as long as it likes.
  if (grpc_) limits.rate.bytes_per_second = 0;
  if (!route_->forward) return limits;
  limits.response = route_->forward->timeout;
  limits.idle = route_->forward->idle_timeout.value_or(limits.idle);
  return limits;
}

// The head of the answer is on its way already.
void Exchange::on_late(Watch::Rang) {
  if (std::exchange(last_words_, true)) return stream_.abort();
  Error error = out_of_time();
  details_ = error.message();
  if (!grpc_ || upstream_.answering == nullptr) return stream_.abort();
  // The body ends with trailers that say so, if the client takes them.
  upstream_.answering->cancel(error);
  watch_.ring_again(kLastWords);
}

// Counts what ran out, and says it.
Error Exchange::out_of_time() {
  SiteStats& stats = site_.stats_;
  ++stats.timeouts;
  const WatchLimits& limits = watch_.limits();
  // Whoever was to send next is the one who stood still.
  const Fault next = watch_.request_over() ? Fault::kUpstream : Fault::kDownstream;
  const auto late = [](Fault fault, std::string sentence) {
    return Error(ErrorKind::kTimeout, fault, std::move(sentence));
  };
  const auto too_slow = [&](std::string_view what) {
    ++stats.too_slow;
    return late(Fault::kDownstream,
                cat(what, " less than ", limits.rate.bytes_per_second, " bytes a second for ",
                    to_ms(limits.rate.window), " ms (minimum rate",
                    route_ != nullptr ? cat(" of route ", route_->name) : "", ")"));
  };
  switch (watch_.rang()) {
    case Watch::Rang::kRequest:
      return late(Fault::kDownstream, cat("the request was not complete after ",
                                          to_ms(limits.request), " ms (request timeout)"));
    case Watch::Rang::kIdle:
      ++stats.idle_timeouts;
      flag(ResponseFlag::kIdleTimeout);
      return late(next, cat("nothing moved for ", to_ms(limits.idle), " ms (stream idle timeout)"));
    case Watch::Rang::kDeadline:
      ++stats.deadlines;
      flag(ResponseFlag::kDurationTimeout);
      return late(next, cat("not over ", to_ms(*deadline_ - began()), " ms after it began (",
                            deadline_name_, ")"));
    case Watch::Rang::kSlowSender: return too_slow("the client sent of its request");
    case Watch::Rang::kSlowReader: return too_slow("the client took of the answer");
    case Watch::Rang::kStalledReader:
      ++stats.too_slow;
      return late(Fault::kDownstream,
                  cat("the client took nothing of the answer that waits for it for ",
                      to_ms(limits.stall), " ms"));
    case Watch::Rang::kResponse:
    case Watch::Rang::kNotYet: break;
  }
  flag(ResponseFlag::kUpstreamTimeout);
  if (Cluster* cluster = site_.clusters().find(upstream_.cluster)) ++cluster->stats().timeouts;
  return late(Fault::kUpstream,
              cat("cluster ", upstream_.cluster, " did not answer within ", to_ms(limits.response),
                  " ms (timeout of route ", route_->name, ")"));
}

GrpcStatus Exchange::broke_off(const Error& error) {
  if (flags_.empty()) flag(rescue_for(error).flag.value_or(ResponseFlag::kUpstreamReset));
  details_ = error.message();
  return grpc_status_of(error);
}

GrpcStatus Exchange::grpc_status_of(const Error& error) const {
  if (error.kind() == ErrorKind::kReset && upstream_.reset_code) {
    return grpc_status_of_reset(*upstream_.reset_code);
  }
  return static_cast<GrpcStatus>(rescue_for(error).grpc_status);
}

Task<void> Exchange::answer(Reply reply) {
  // What only looks like a tunnel would be read as one.
  if (reply && request().switches(reply->status) && upstream_.answering == nullptr) {
    reply = Error(ErrorKind::kInternal, Fault::kSelf,
                  cat("only an upstream can agree to ", request().upgrade));
  }
  Response response = reply ? std::move(*reply) : refuse(reply.error());
  if (reply && grpc_) response = answer_for_grpc(*this, std::move(response));
  status_ = response.status;
  watch_.answering();
  if (request().switches(status_)) watch_.tunnel();
  append_via(manager(), response);
  if (watch_.rang() != Watch::Rang::kNotYet) {
    // Out of time before there was an answer: ours does not wait for ever for a client to take it.
    last_words_ = true;
    watch_.ring_again(kLastWords);
  }
  const Sent sent = co_await stream_.respond(std::move(response));
  answered_ = sent.complete;
  if (sent.complete) co_return;
  flag(ResponseFlag::kUpstreamReset);
  if (sent.error) details_ = sent.error->message();
}

void Exchange::sign(Response& response, std::string_view reason, std::string* text) const {
  const auto say = [&](std::string_view field, std::string_view word, std::string_view value) {
    if (value.empty()) return;
    if (is_value(value) && trim(value).size() == value.size()) {
      response.headers.add(field, value);
    } else {
      response.headers.add(field, escaped_value(trim(value)));
    }
    if (text != nullptr && !word.empty()) *text += cat(word, ": ", value, "\n");
  };
  say("x-glia-reason", "", reason);
  say("x-glia-hop", "hop", snapshot().node_id);
  say("x-glia-listener", "listener", state_->listener->name);
  if (route_ != nullptr) say("x-glia-route", "route", route_->name);
  say("x-glia-policy", "policy", policy_);
  say("x-glia-cluster", "cluster", upstream_.cluster);
  say("x-glia-config", "configuration", snapshot().version);
  if (text != nullptr && !request_id_.empty()) *text += cat("request id: ", request_id_, "\n");
}

Response Exchange::own_answer(int status, std::string_view reason,
                              std::string_view sentence) const {
  Response response(arena());
  response.status = status;
  response.headers.add_kept("content-type", "text/plain; charset=utf-8");
  response.headers.add("server", manager().server_name);  // The drawing may go before it leaves.
  std::string text = cat(sentence, "\n");
  sign(response, reason, &text);
  response.body = std::make_unique<TextBody>(Slice::copy(text));
  return response;
}

Response Exchange::refuse(const Error& error) {
  Rescue rescue = rescue_for(error);
  if (error.kind() == ErrorKind::kNoCluster && route_ != nullptr && route_->forward) {
    rescue.status = route_->forward->no_cluster_status;
  }
  if (rescue.flag && flags_.empty()) flag(*rescue.flag);
  details_ = error.message();
  Response response = own_answer(rescue.status, rescue.reason, details_);
  if (grpc_) {
    // The sentence is in the head, in the way of gRPC.
    response.status = 200;
    response.body = nullptr;
    upstream_.grpc_status = cat(static_cast<int>(grpc_status_of(error)));
    response.headers.set("content-type", "application/grpc");
    response.headers.add("grpc-status", upstream_.grpc_status);
    response.headers.add("grpc-message", encode_grpc_message(details_));
  }
  if (rescue.retry_after > 0) response.headers.add("retry-after", cat(rescue.retry_after));
  return response;
}

Response Exchange::refused(const Refusal& refusal) {
  flag(refusal.status == 408 ? ResponseFlag::kIdleTimeout : ResponseFlag::kDownstreamProtocol);
  details_ = refusal.reason;
  status_ = refusal.status;
  return own_answer(refusal.status, refusal_word(refusal.status), refusal.reason);
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

void Exchange::tell_answer(AccessRecord& record) {
  const ModelAnswer& answer = sight_.answer->answer();
  site_.model_figures().count(*sight_.record, upstream_.cluster, answer, began(), loop().now());
  record.model_input_tokens = answer.input_tokens;
  record.model_output_tokens = answer.output_tokens;
  if (answer.first_output_at) record.model_first_output = *answer.first_output_at - began();
  if (!answer.finish_reasons.empty()) record.model_finish_reason = answer.finish_reasons.front();
  if (!answer.failed) return;
  record.model_error = answer.error.empty() ? std::string_view("error") : answer.error;
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
  if (site_.context_.tallies != nullptr) tell_tally();
  AccessRecord record;
  if (sight_.record && sight_.answer != nullptr) tell_answer(record);
  if (site_.log_ == nullptr || unlogged_) return;
  const std::string flags = flags_.text();
  const std::string upstream_address =
      upstream_.attempts > 0 && upstream_.address.raw_size() > 0 ? upstream_.address.text() : "";
  const ConnectionTexts& texts = texts_of(connection());
  const std::string direct_address = direct_peer_text(connection());
  const auto field = [&](std::string_view name) {
    return request().headers.get(name).value_or(std::string_view());
  };
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
  record.downstream_address = texts.remote;
  record.direct_address = direct_address;
  record.listener_address = texts.local;
  put_identities(connection(), record);
  record.connection_fields = texts.log_fields;
  record.upstream_identity = upstream_.identity;
  record.request_id = request_id_;
  record.user_agent = field("user-agent");
  record.forwarded_for = field("x-forwarded-for");
  record.referer = field("referer");
  record.grpc_status = upstream_.grpc_status;
  record.policy = policy_;
  record.config_version = snapshot().version;
  record.node_id = snapshot().node_id;
  record.attempts = upstream_.attempts;
  record.hedge = upstream_.hedge;
  if (const ModelRequest* asked = model()) {
    record.model = asked->model;
    record.model_version = asked->version;
    record.model_dialect = name_of(asked->dialect);
    record.model_streaming = asked->streaming;
  }
  const RequestFields fields(request().headers);
  record.request_fields = &fields;
  site_.log_->write(record);
}

}  // namespace glia
