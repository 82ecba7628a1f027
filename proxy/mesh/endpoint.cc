#include "proxy/mesh/endpoint.h"

#include <algorithm>
#include <iterator>

#include "proxy/base/text.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/lone_connection.h"
#include "proxy/net/prefix_stream.h"

namespace glia {

// A pooled connection: owns the HTTP connection and hears of its life.
class Endpoint::Connection final : public ClientConnection::Owner, public Reapable {
 public:
  Connection(Endpoint& endpoint, std::unique_ptr<Stream> stream)
      : endpoint_(endpoint),
        config_(endpoint.cluster_.config_ref()),
        options_{config_->codec, config_->http},
        limit_(endpoint.cluster_.loop(), [this] { time_is_up(); }) {
    options_.limits.idle_time = config_->pool_idle_time;
    options_.calls_before_settings = endpoint.calls_each_;
    http_ = connect_http(endpoint.cluster_.loop(), std::move(stream), options_, *this,
                         endpoint.cluster_.http_stats());
    limit_.start(config_->connect_timeout);
  }

  ClientConnection& http() { return *http_; }
  const ClientConnection& http() const { return *http_; }
  bool open() const { return open_; }
  bool in_ready = false;
  // Given to the reaper: what the codec still tells in this turn is not heard.
  bool gone = false;
  // A call may be started here now.
  bool usable() const { return http_->capacity() > 0 && !used_up(); }
  bool usable(const Tried& tried) const {
    return usable() && (!tried.needs_fresh || http_->calls_started() == 0);
  }
  // Has carried as many requests as it may: it only finishes what it began.
  bool used_up() const {
    return config_->requests_per_connection != 0 &&
           http_->calls_started() >= config_->requests_per_connection;
  }
  // No new calls, and what runs is cut off after kUnwantedTime.
  void unwanted() {
    if (cut_at_) return;
    cut_at_ = endpoint_.cluster_.loop().now() + kUnwantedTime;
    retire();
  }
  bool to_be_cut() const { return cut_at_ && endpoint_.cluster_.loop().now() >= *cut_at_; }
  bool peer_expired() const {
    const TlsInfo* const tls = open_ ? http_->info().tls : nullptr;
    return tls != nullptr && tls->peer_certificate &&
           endpoint_.cluster_.loop().clock().wall_now() >= tls->peer_not_after + kExpiredGrace;
  }
  // No new calls; the connection ends with its last one.
  void retire() {
    if (!std::exchange(retired_, true) && used_up()) ++endpoint_.cluster_.stats().max_requests;
    http_->drain();
  }

 private:
  void on_connected(ClientConnection&) override {
    if (gone) return;
    open_ = true;
    limit_.stop();
    if (config_->http.connection_age != kForever) limit_.start(config_->http.connection_age);
    --endpoint_.connecting_;
    endpoint_.on_ready(*this);
  }
  void on_capacity(ClientConnection&) override {
    if (gone) return;
    if (used_up()) retire();
    endpoint_.on_ready(*this);
  }
  void on_finished(ClientConnection&, const Error& error) override {
    limit_.stop();
    endpoint_.on_gone(*this, error, open_);
  }
  // To connect; once open, to live.
  void time_is_up() {
    if (open_) {
      ++endpoint_.cluster_.stats().max_duration;
      return retire();
    }
    endpoint_.on_gone(*this,
                      Error(ErrorKind::kConnectFailed, Fault::kUpstream,
                            cat("connecting to ", endpoint_.config_.address.text(),
                                " took longer than ", to_ms(config_->connect_timeout), " ms"),
                            Retry::kSafe),
                      false);
  }

  Endpoint& endpoint_;
  std::shared_ptr<const ClusterConfig> config_;  // Pinned: the context that TLS was made from.
  ClientOptions options_;
  CallbackTimer limit_;
  bool open_ = false;
  bool retired_ = false;
  std::optional<TimePoint> cut_at_;
  std::unique_ptr<ClientConnection> http_;
};

// A request that waits for a connection; unlinks itself when its task is cancelled.
class Endpoint::Pending {
 public:
  Pending(Endpoint& endpoint, const Tried& tried) : tried(tried), endpoint_(endpoint) {
    auto before = endpoint.pending_.end();
    while (before != endpoint.pending_.begin() &&
           (*std::prev(before))->tried.turned_away < tried.turned_away) {
      --before;
    }
    place_ = endpoint.pending_.insert(before, this);
    ++endpoint.cluster_.stats().pending_active;
  }
  Pending(const Pending&) = delete;
  ~Pending() {
    --endpoint_.cluster_.stats().pending_active;
    endpoint_.pending_.erase(place_);
    // It may have been woken for room that it did not take, or not all of.
    if (!endpoint_.ready_.empty()) endpoint_.wake_pending();
    endpoint_.released();
  }
  const Tried& tried;
  WaitSlot slot;
  std::optional<Error> error;

 private:
  Endpoint& endpoint_;
  std::list<Pending*>::iterator place_;
};

Lease::Lease(Endpoint& endpoint, ClientConnection& connection)
    : endpoint_(&endpoint), connection_(&connection) {
  ++endpoint.active_;
  ++endpoint.stats_.requests;
  ++endpoint.cluster_.stats().requests_active;
  ++endpoint.cluster_.stats().requests;
  count();
}

Lease::Lease() = default;

Lease::Lease(std::unique_ptr<LoneConnection> alone)
    : endpoint_(&alone->endpoint()), connection_(&alone->http()), alone_(std::move(alone)) {
  count();
}

void Lease::count() {
  counted_ = endpoint_->cluster().config().server_load;
  if (counted_ != nullptr) in_flight_ = counted_->begin();
}

Lease::Lease(Lease&& other) noexcept
    : endpoint_(std::exchange(other.endpoint_, nullptr)),
      connection_(other.connection_),
      alone_(std::move(other.alone_)),
      counted_(std::move(other.counted_)),
      in_flight_(other.in_flight_),
      reading_(std::exchange(other.reading_, 0)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  std::swap(endpoint_, other.endpoint_);
  std::swap(connection_, other.connection_);
  std::swap(alone_, other.alone_);
  std::swap(counted_, other.counted_);
  std::swap(in_flight_, other.in_flight_);
  std::swap(reading_, other.reading_);
  return *this;
}

void Lease::reads(uint32_t tokens) {
  const int64_t more = int64_t{tokens} - std::exchange(reading_, tokens);
  endpoint_->load().reads(static_cast<float>(more));
  if (counted_ != nullptr) counted_->reads(more);
}

Lease::~Lease() {
  if (endpoint_ != nullptr) has_read();
  if (counted_ != nullptr) counted_->end();
  if (endpoint_ == nullptr) return;
  if (alone_ != nullptr) {
    endpoint_->cluster().loop().reap(std::move(alone_));
    return;
  }
  --endpoint_->active_;
  --endpoint_->cluster_.stats().requests_active;
  endpoint_->released();
}

Hold::Hold(Endpoint& endpoint) : endpoint_(&endpoint) {
  ClusterStats& cluster = endpoint.cluster_.stats();
  ++endpoint.active_;
  ++endpoint.stats_.connections, ++endpoint.stats_.connections_active, ++endpoint.stats_.requests;
  ++cluster.connections, ++cluster.connections_active;
  ++cluster.requests, ++cluster.requests_active;
}

Hold::~Hold() {
  if (endpoint_ == nullptr) return;
  ClusterStats& cluster = endpoint_->cluster_.stats();
  --endpoint_->active_;
  --endpoint_->stats_.connections_active;
  --cluster.connections_active;
  --cluster.requests_active;
  endpoint_->released();
}

void Hold::count_failure() {
  ++endpoint_->stats_.connect_failed;
  ++endpoint_->stats_.requests_failed;
  ++endpoint_->cluster_.stats().connect_failed;
}

Endpoint::Endpoint(Cluster& cluster, EndpointConfig config)
    : cluster_(cluster),
      config_(std::move(config)),
      calls_each_(cluster.config().codec == Codec::kHttp1 ? 1
                                                          : ClientOptions().calls_before_settings) {
}

Endpoint::~Endpoint() { CHECK(active_ == 0 && pending_.empty()); }

bool Endpoint::idle() const { return active_ == 0 && pending_.empty() && connections_.empty(); }

std::optional<Lease> Endpoint::try_lease(const Tried& tried) {
  std::optional<Lease> lease = take(tried);
  if (lease) preconnect();
  return lease;
}

std::optional<Lease> Endpoint::take(const Tried& tried) {
  while (!ready_.empty()) {
    Connection& connection = *ready_.back();
    if (connection.usable()) break;
    if (connection.used_up()) connection.retire();
    connection.in_ready = false;
    ready_.pop_back();
  }
  const auto found =
      std::ranges::find_if(ready_.rbegin(), ready_.rend(),
                           [&](const Connection* connection) { return connection->usable(tried); });
  if (found == ready_.rend()) return {};
  return Lease(*this, (*found)->http());
}

void Endpoint::learn_calls_each() {
  const auto open = std::ranges::find_if(connections_.rbegin(), connections_.rend(),
                                         [](const auto& connection) { return connection->open(); });
  if (open == connections_.rend()) return;
  calls_each_ = static_cast<uint32_t>(std::max<std::size_t>(1, (*open)->http().most_calls()));
}

bool Endpoint::wants_connection() const {
  return !draining_ && uint64_t{connecting_} * calls_each_ < pending_.size();
}

bool Endpoint::may_connect() const {
  // An endpoint may always have one: all that the limit allows may rest in the pools of others, and
  // nothing would wake who waits here.
  if (connections_.empty()) return true;
  const CircuitLimits& limits = cluster_.config().limits;
  return stats_.connections_active < limits.connections_per_endpoint &&
         cluster_.stats().connections_active < limits.connections;
}

Task<Result<Lease>> Endpoint::wait_lease(const Tried& tried) {
  CO_TRY_VOID(cluster_.may_wait());
  Pending pending(*this, tried);
  bool counted = false;
  while (!pending.error) {
    if (std::optional<Lease> lease = take(tried)) co_return std::move(*lease);
    if (draining_ && others_) co_return removed();
    learn_calls_each();
    while (wants_connection() && may_connect()) connect();
    if (wants_connection()) {
      if (!std::exchange(counted, true)) ++cluster_.stats().connections_overflow;
      if (tried.needs_fresh) close_one_unused();
    }
    preconnect();
    co_await wait_in(pending.slot);
  }
  co_return std::move(*pending.error);
}

void Endpoint::preconnect() {
  const double ratio = cluster_.config().preconnect_ratio;
  if (ratio <= 1 || draining_) return;
  uint64_t provided = 0;
  for (const auto& connection : connections_) {
    provided += connection->open()
                    ? connection->http().capacity() + connection->http().active_calls()
                    : calls_each_;
  }
  const double wanted = static_cast<double>(active_ + pending_.size()) * ratio;
  for (; static_cast<double>(provided) < wanted && may_connect(); provided += calls_each_) {
    connect();
  }
}

void Endpoint::close_one_unused() {
  for (Connection* connection : ready_) {
    if (connection->http().active_calls() == 0 && connection->usable()) {
      return connection->retire();
    }
  }
}

void Endpoint::connect() {
  ++connecting_;
  ++stats_.connections;
  ++stats_.connections_active;
  ++cluster_.stats().connections;
  ++cluster_.stats().connections_active;
  connections_.push_back(std::make_unique<Connection>(*this, dial(nullptr)));
}

Address Endpoint::source() const {
  for (const Address& source : cluster_.config().sources) {
    if (source.family() == config_.address.family()) return source;
  }
  return {};
}

std::unique_ptr<Stream> Endpoint::dial(const ConnectionInfo* client) {
  std::unique_ptr<Stream> stream = cluster_.network().connect(config_.address, source());
  const ClusterConfig& config = cluster_.config();
  if (config.proxy_protocol) {
    const Address nobody;
    stream = std::make_unique<PrefixStream>(
        std::move(stream),
        write_proxy_header(*config.proxy_protocol, client != nullptr ? client->remote : nobody,
                           client != nullptr ? client->local : nobody));
  }
  if (config.tls == nullptr) return stream;
  return config.tls->wrap(cluster_.loop(), std::move(stream), config.connect_timeout,
                          {.stats = &cluster_.stats().tls, .sessions = &sessions_});
}

void Endpoint::on_ready(Connection& connection) {
  if (draining_ && pending_.empty()) return connection.http().drain();
  const std::size_t capacity = connection.http().capacity();
  if (!connection.in_ready && capacity > 0) {
    connection.in_ready = true;
    ready_.push_back(&connection);
  }
  wake_pending();
}

void Endpoint::on_gone(Connection& connection, const Error& error, bool was_open) {
  if (std::exchange(connection.gone, true)) return;
  --stats_.connections_active;
  --cluster_.stats().connections_active;
  if (connection.in_ready) std::erase(ready_, &connection);
  const auto place = std::ranges::find_if(
      connections_, [&](const auto& owned) { return owned.get() == &connection; });
  CHECK(place != connections_.end());
  cluster_.loop().reap(std::move(*place));
  connections_.erase(place);
  if (!was_open) connect_failed(error);
  wake_pending();
  released();
}

// Tells the requests that the failed connection would have served. The rest waits on for those that
// are open or on their way.
void Endpoint::connect_failed(const Error& error) {
  --connecting_;
  ++stats_.connect_failed;
  ++cluster_.stats().connect_failed;
  const bool any_open =
      std::ranges::any_of(connections_, [](const auto& other) { return other->open(); });
  const std::size_t waiting = static_cast<std::size_t>(
      std::ranges::count_if(pending_, [](const Pending* pending) { return !pending->error; }));
  const std::size_t others = uint64_t{connecting_} * calls_each_;
  std::size_t lost = any_open ? calls_each_ : waiting - std::min(waiting, others);
  for (Pending* pending : pending_) {
    if (lost == 0) return;
    if (pending->error) continue;
    --lost;
    pending->error = draining_ && others_ ? removed()
                                          : Error(ErrorKind::kConnectFailed, Fault::kUpstream,
                                                  error.message(), Retry::kSafe);
    pending->slot.wake(cluster_.loop().ready());
  }
}

// The first that can use any room there is; when it leaves, it wakes the next. Those before it that
// need a fresh connection see for themselves.
void Endpoint::wake_pending() {
  for (Pending* pending : pending_) {
    if (!pending->slot.waiting()) continue;
    pending->slot.wake(cluster_.loop().ready());
    if (!pending->tried.needs_fresh) return;
  }
}

void Endpoint::wake_all_pending() {
  for (Pending* pending : pending_) pending->slot.wake(cluster_.loop().ready());
}

void Endpoint::drain(bool others) {
  draining_ = true;
  others_ = others;
  if (others_ || pending_.empty()) close_unused();
  wake_all_pending();
}

void Endpoint::end_unwanted() {
  for (const auto& connection : connections_) connection->unwanted();
}

void Endpoint::check_peers() {
  std::vector<Connection*> over;
  for (const auto& connection : connections_) {
    if (connection->peer_expired()) connection->unwanted();
    if (connection->to_be_cut()) over.push_back(connection.get());
  }
  for (Connection* connection : over) {
    on_gone(*connection,
            Error(ErrorKind::kReset, Fault::kUpstream,
                  cat("the certificate of ", config_.address.text(), " is no longer accepted")),
            connection->open());
  }
}

// Connections end with their calls; those that have not opened end now.
void Endpoint::close_unused() {
  for (const auto& connection : connections_) {
    if (connection->open()) connection->http().drain();
  }
  const auto opening = [](const auto& connection) { return !connection->open(); };
  for (;;) {
    const auto found = std::ranges::find_if(connections_, opening);
    if (found == connections_.end()) return;
    on_gone(**found, removed(), false);
  }
}

Error Endpoint::removed() const {
  return Error(ErrorKind::kClosed, Fault::kSelf,
               cat("endpoint ", config_.address.text(), " is being removed"), Retry::kSafe);
}

void Endpoint::released() {
  if (!draining_) return;
  // The last request that still waited here has ended.
  if (active_ == 0 && pending_.empty() && !connections_.empty()) close_unused();
  if (idle()) cluster_.on_endpoint_idle(*this);
}

}  // namespace glia
