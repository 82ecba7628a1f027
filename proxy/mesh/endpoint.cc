#include "proxy/mesh/endpoint.h"

#include <algorithm>

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
        limit_(endpoint.cluster_.loop(), [this] { timed_out(); }) {
    options_.limits.idle_time = config_->pool_idle_time;
    http_ = connect_http(endpoint.cluster_.loop(), std::move(stream), options_, *this,
                         endpoint.cluster_.http_stats());
    limit_.start(config_->connect_timeout);
  }

  ClientConnection& http() { return *http_; }
  bool open() const { return open_; }
  bool in_ready = false;
  // Given to the reaper: what the codec still tells in this turn is not heard.
  bool gone = false;
  // False once a limit on requests was reached: it only finishes what it began.
  bool may_start() const {
    return config_->requests_per_connection == 0 ||
           http_->calls_started() < config_->requests_per_connection;
  }

 private:
  void on_connected(ClientConnection&) override {
    if (gone) return;
    open_ = true;
    limit_.stop();
    --endpoint_.connecting_;
    endpoint_.on_ready(*this);
  }
  void on_capacity(ClientConnection&) override {
    if (!gone) endpoint_.on_ready(*this);
  }
  void on_finished(ClientConnection&, const Error& error) override {
    limit_.stop();
    endpoint_.on_gone(*this, error, open_);
  }
  void timed_out() {
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
  std::unique_ptr<ClientConnection> http_;
};

// A request that waits for a connection; unlinks itself when its task is cancelled.
class Endpoint::Pending {
 public:
  explicit Pending(Endpoint& endpoint) : endpoint_(endpoint) {
    place_ = endpoint.pending_.insert(endpoint.pending_.end(), this);
    ++endpoint.cluster_.stats().pending_active;
  }
  Pending(const Pending&) = delete;
  ~Pending() {
    --endpoint_.cluster_.stats().pending_active;
    endpoint_.pending_.erase(place_);
    endpoint_.released();
  }
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
}

Lease::Lease() = default;

Lease::Lease(std::unique_ptr<LoneConnection> alone)
    : endpoint_(&alone->endpoint()), connection_(&alone->http()), alone_(std::move(alone)) {}

Lease::Lease(Lease&& other) noexcept
    : endpoint_(std::exchange(other.endpoint_, nullptr)),
      connection_(other.connection_),
      alone_(std::move(other.alone_)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  std::swap(endpoint_, other.endpoint_);
  std::swap(connection_, other.connection_);
  std::swap(alone_, other.alone_);
  return *this;
}

Lease::~Lease() {
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
    : cluster_(cluster), config_(std::move(config)) {}

Endpoint::~Endpoint() { CHECK(active_ == 0 && pending_.empty()); }

bool Endpoint::idle() const { return active_ == 0 && pending_.empty() && connections_.empty(); }

std::optional<Lease> Endpoint::try_lease() {
  while (!ready_.empty()) {
    Connection& connection = *ready_.back();
    if (connection.http().capacity() > 0 && connection.may_start()) {
      return Lease(*this, connection.http());
    }
    if (!connection.may_start()) connection.http().drain();
    connection.in_ready = false;
    ready_.pop_back();
  }
  return {};
}

bool Endpoint::may_connect() const {
  // One connection that is on its way serves one request on HTTP/1, and many on HTTP/2.
  constexpr uint32_t kStreamsExpected = 100;
  const uint32_t each = cluster_.config().codec == Codec::kHttp1 ? 1 : kStreamsExpected;
  if (draining_ || connecting_ * each >= pending_.size()) return false;
  // An endpoint may always have one: all that the limit allows may rest in the pools of others, and
  // nothing would wake who waits here.
  return connections_.empty() ||
         cluster_.stats().connections_active < cluster_.config().limits.connections;
}

Task<Result<Lease>> Endpoint::wait_lease() {
  if (cluster_.stats().pending_active >= cluster_.config().limits.pending_requests) {
    ++cluster_.stats().pending_overflow;
    co_return Error(
        ErrorKind::kOverflow, Fault::kSelf,
        cat("cluster ", cluster_.config().name, " has ", cluster_.stats().pending_active,
            " requests waiting for a connection, its limit (max_pending_requests)"));
  }
  Pending pending(*this);
  while (!pending.error) {
    if (std::optional<Lease> lease = try_lease()) co_return std::move(*lease);
    if (draining_ && others_) co_return removed();
    if (may_connect()) connect();
    co_await wait_in(pending.slot);
  }
  co_return std::move(*pending.error);
}

void Endpoint::connect() {
  ++connecting_;
  ++stats_.connections;
  ++stats_.connections_active;
  ++cluster_.stats().connections;
  ++cluster_.stats().connections_active;
  connections_.push_back(std::make_unique<Connection>(*this, dial(nullptr)));
}

std::unique_ptr<Stream> Endpoint::dial(const ConnectionInfo* client) {
  std::unique_ptr<Stream> stream = cluster_.network().connect(config_.address);
  const ClusterConfig& config = cluster_.config();
  if (config.proxy_protocol) {
    const Address nobody;
    stream = std::make_unique<PrefixStream>(
        std::move(stream),
        write_proxy_header(*config.proxy_protocol, client != nullptr ? client->remote : nobody,
                           client != nullptr ? client->local : nobody));
  }
  if (config.tls == nullptr) return stream;
  return config.tls->wrap(cluster_.loop(), std::move(stream), config.connect_timeout);
}

void Endpoint::on_ready(Connection& connection) {
  if (draining_ && pending_.empty()) return connection.http().drain();
  if (!connection.in_ready && connection.http().capacity() > 0) {
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
  if (!was_open) {
    --connecting_;
    ++stats_.connect_failed;
    ++cluster_.stats().connect_failed;
    for (Pending* pending : pending_) {
      pending->error = draining_ && others_ ? removed()
                                            : Error(ErrorKind::kConnectFailed, Fault::kUpstream,
                                                    error.message(), Retry::kSafe);
      pending->slot.wake(cluster_.loop().ready());
    }
  } else {
    wake_pending();
  }
  released();
}

void Endpoint::wake_pending() {
  // Each looks for itself whether there is room, and asks for a connection if not.
  for (Pending* pending : pending_) pending->slot.wake(cluster_.loop().ready());
}

void Endpoint::drain(bool others) {
  draining_ = true;
  others_ = others;
  if (others_ || pending_.empty()) close_unused();
  wake_pending();
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
