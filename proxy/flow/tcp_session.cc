#include "proxy/flow/tcp_session.h"

#include <algorithm>
#include <utility>

#include "proxy/base/text.h"
#include "proxy/flow/forwarded.h"
#include "proxy/flow/rescue.h"
#include "proxy/mesh/weighted.h"

namespace glia {

// A connection to an endpoint, on its way; tells a coroutine how that went.
class TcpSession::Opening final : public Stream::Watcher, private Timer {
 public:
  Opening(EventLoop& loop, std::unique_ptr<Stream> stream, Duration limit)
      : Timer(loop), stream_(std::move(stream)), limit_(limit) {
    stream_->watch(*this);
    start(limit);
  }
  WaitSlot& over() { return over_; }
  bool is_over() const { return open_ || error_; }
  // Once over: the stream, or why there is none.
  Result<std::unique_ptr<Stream>> take() {
    if (error_) return std::move(*error_);
    return std::move(stream_);
  }

 private:
  void on_open() override {
    stop();
    open_ = true;
    over_.wake(loop_.ready());
  }
  void on_readable() override {}
  void on_writable() override {}
  void on_broken() override { fail(stream_->error()); }
  void fire() override {
    fail(Error(ErrorKind::kConnectFailed, Fault::kUpstream,
               cat("connecting to ", stream_->info().remote.text(), " took longer than ",
                   to_ms(limit_), " ms"),
               Retry::kSafe));
  }
  void fail(Error error) {
    stop();
    if (!error_) error_ = std::move(error);
    over_.wake(loop_.ready());
  }

  std::unique_ptr<Stream> stream_;
  Duration limit_;
  WaitSlot over_;
  std::optional<Error> error_;
  bool open_ = false;
};

// A connection that is open before it is needed.
class TcpSession::Ready final : public Stream::Watcher {
 public:
  explicit Ready(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
    stream_->watch(*this);
    stream_->pause_reading(true);
  }
  bool is_to(const Address& endpoint) const {
    return stream_ != nullptr && !broken_ && stream_->info().remote == endpoint;
  }
  std::unique_ptr<Stream> take() { return std::move(stream_); }

 private:
  void on_open() override {}
  void on_readable() override { stream_->pause_reading(true); }
  void on_writable() override {}
  void on_broken() override { broken_ = true; }
  std::unique_ptr<Stream> stream_;
  bool broken_ = false;
};

TcpSession::TcpSession(Site& site, std::unique_ptr<Stream> stream, ServerConnection::Owner& owner,
                       std::unique_ptr<Stream> upstream)
    : Timer(site.context().loop),
      site_(site),
      owner_(owner),
      state_(site.state()),
      stream_(std::move(stream)),
      ready_(upstream != nullptr ? std::make_unique<Ready>(std::move(upstream)) : nullptr),
      began_(loop_.now()),
      moved_(began_) {
  ++site_.tcp_stats().connections;
  ++site_.tcp_stats().connections_active;
  stream_->watch(*this);
  set_timer();
}

TcpSession::~TcpSession() {
  connecting_.cancel();
  if (!finished_) flags_.set(ResponseFlag::kLocalReset);  // Cut from outside.
  --site_.tcp_stats().connections_active;
  log();
}

const ConnectionInfo& TcpSession::client() const {
  return stream_ != nullptr ? stream_->info() : relay_->stream(Relay::Side::kDownstream).info();
}

void TcpSession::on_open() {
  if (finished_) return;
  open_ = true;
  stream_->pause_reading(true);
  judge();
  if (finished_) return;
  connecting_ = connect();
  connecting_.start();
}

void TcpSession::judge() {
  if (finished_ || !open_ || site_.gate() == nullptr) return;
  Gate::Verdict verdict = site_.gate()->admit(client());
  policy_ = std::move(verdict.policy);
  if (!verdict.allowed) finish({}, verdict.why);
}

const std::string& TcpSession::choose_cluster() const {
  const auto& targets = config().targets;
  if (targets.size() == 1) return targets.front().cluster;
  return at_weight(targets, site_.context().random.below(config().total_weight),
                   [](const TcpProxy::Target& target) { return target.weight; })
      .cluster;
}

Task<void> TcpSession::connect() {
  cluster_ = &choose_cluster();
  std::unique_ptr<Stream> upstream;
  for (uint32_t i = 0; i < config().connect_attempts && upstream == nullptr; ++i) {
    upstream = co_await try_endpoint(*cluster_);
    if (upstream == nullptr && error_->retry() == Retry::kNo) break;
  }
  if (upstream == nullptr) co_return finish(rescue_for(*error_).flag, error_->message());
  const TlsInfo* tls = upstream->info().tls;
  if (tls != nullptr && !tls->peer_uri_sans.empty()) {
    upstream_identity_ = tls->peer_uri_sans.front();
  }
  moved_ = loop_.now();
  Relay::Owner& owner = *this;
  relay_ = std::make_unique<Relay>(loop_, std::move(stream_), std::move(upstream), config().buffer,
                                   owner);
}

// Null with error_ set if there is no connection.
Task<std::unique_ptr<Stream>> TcpSession::try_endpoint(const std::string& name) {
  // Looked up each time: the cluster may have been replaced while an attempt waited.
  Cluster* cluster = site_.clusters().find(name);
  if (cluster == nullptr) {
    ++site_.tcp_stats().no_route;
    error_.emplace(ErrorKind::kNoCluster, Fault::kSelf,
                   cat("tcp_proxy ", config().stat_prefix, " names cluster ", name,
                       ", which is not configured"));
    co_return nullptr;
  }
  Result<Hold> hold = co_await cluster->hold(failed_, &client());
  if (!hold) {
    // After a failed attempt, that one's error says more than that nobody else is left.
    if (!error_) error_ = std::move(hold).error();
    co_return nullptr;
  }
  ++attempts_;
  hold_ = std::move(*hold);
  endpoint_ = hold_.endpoint().config().address;
  if (ready_ != nullptr && ready_->is_to(endpoint_)) co_return ready_->take();
  Opening opening(loop_, hold_.endpoint().dial(&client()),
                  hold_.endpoint().cluster().config().connect_timeout);
  while (!opening.is_over()) co_await wait_in(opening.over());
  Result<std::unique_ptr<Stream>> stream = opening.take();
  if (stream) co_return std::move(*stream);
  error_.emplace(ErrorKind::kConnectFailed, Fault::kUpstream, stream.error().message(),
                 Retry::kSafe);
  failed_.push_back(endpoint_);
  hold_.count_failure();
  hold_ = Hold();
  co_return nullptr;
}

void TcpSession::on_moved(Relay::Side from, std::size_t bytes) {
  moved_ = loop_.now();
  HttpClientStats& upstream = hold_.endpoint().cluster().http_stats();
  if (from == Relay::Side::kDownstream) {
    site_.tcp_stats().bytes_received += bytes;
    upstream.bytes_sent += bytes;
  } else {
    site_.tcp_stats().bytes_sent += bytes;
    upstream.bytes_received += bytes;
  }
}

void TcpSession::on_held(Relay::Side from, bool held) {
  if (from == Relay::Side::kUpstream) return;
  ++(held ? site_.tcp_stats().paused : site_.tcp_stats().resumed);
}

void TcpSession::on_broken(Relay::Side side) {
  const bool downstream = side == Relay::Side::kDownstream;
  if (!downstream) ++hold_.endpoint().cluster().stats().resets;
  finish(downstream ? ResponseFlag::kDownstreamGone : ResponseFlag::kUpstreamReset,
         relay_->stream(side).error().message());
}

std::string TcpSession::describe() const {
  std::string text = cat("TCP ", client().remote.text(), " to ",
                         cluster_ == nullptr ? std::string("no cluster yet") : *cluster_);
  if (relay_ == nullptr) return text + ", not connected yet";
  return cat(text, " at ", endpoint_.text(), ", ", relay_->received(Relay::Side::kDownstream),
             " bytes in, ", relay_->received(Relay::Side::kUpstream), " out, last ",
             to_ms(loop_.now() - moved_), " ms ago");
}

// One timer for both limits; it looks at the time of the last byte when it fires, so that moving bytes
// costs nothing.
void TcpSession::set_timer() {
  TimePoint at = TimePoint::max();
  if (config().idle_timeout > 0s) at = moved_ + config().idle_timeout;
  if (config().longest > 0s) at = std::min(at, began_ + config().longest);
  if (at != TimePoint::max()) start(at - loop_.now());
}

void TcpSession::fire() {
  const TimePoint now = loop_.now();
  if (config().longest > 0s && now >= began_ + config().longest) {
    ++site_.tcp_stats().duration_timeouts;
    return finish(ResponseFlag::kDurationTimeout, "max_downstream_connection_duration");
  }
  if (config().idle_timeout > 0s && now >= moved_ + config().idle_timeout) {
    ++site_.tcp_stats().idle_timeouts;
    return finish(ResponseFlag::kIdleTimeout, "idle_timeout");
  }
  set_timer();
}

void TcpSession::finish(std::optional<ResponseFlag> flag, std::string_view why) {
  if (std::exchange(finished_, true)) return;
  stop();
  if (flag) flags_.set(*flag);
  details_ = why;
  owner_.on_finished(*this);
}

void TcpSession::log() const {
  RequestLog* const log = site_.log();
  if (log == nullptr) return;
  const ConnectionInfo& client = this->client();
  const Duration duration = loop_.now() - began_;
  const ConnectionTexts& texts = texts_of(client);
  const std::string flags = flags_.text(),
                    upstream = attempts_ > 0 ? endpoint_.text() : std::string(),
                    direct = direct_peer_text(client);
  AccessRecord record;
  record.start = loop_.clock().wall_now() - duration;
  record.protocol = "TCP";
  record.response_flags = flags;
  record.response_details = details_;
  record.duration = duration;
  if (relay_ != nullptr) {
    record.bytes_received = relay_->received(Relay::Side::kDownstream);
    record.bytes_sent = relay_->received(Relay::Side::kUpstream);
  }
  if (cluster_ != nullptr) record.cluster = *cluster_;
  record.upstream_address = upstream;
  record.upstream_identity = upstream_identity_;
  record.downstream_address = texts.remote;
  record.direct_address = direct;
  record.listener_address = texts.local;
  put_identities(client, record);
  record.connection_fields = texts.log_fields;
  record.policy = policy_;
  record.config_version = state_->snapshot->version;
  record.node_id = state_->snapshot->node_id;
  record.attempts = attempts_;
  log->write(record);
}

}  // namespace glia
