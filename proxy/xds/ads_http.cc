#include "proxy/xds/ads_http.h"

#include <optional>

#include "proxy/base/text.h"
#include "proxy/http/grpc.h"
#include "proxy/mesh/connected.h"

namespace glia {

namespace {

constexpr std::string_view kPath =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
constexpr std::string_view kDeltaPath =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
constexpr std::string_view kReportPath = "/glia.v1.ReportService/StreamReports";
constexpr std::string_view kHealthPath = "/glia.v1.HealthService/StreamHealth";
constexpr std::size_t kMessageMax = 64 << 20;  // bytes of one DiscoveryResponse
// A control plane may have nothing to say for days; one that vanished must not look like that.
constexpr Duration kKeepaliveInterval = 30s;
constexpr Duration kKeepaliveTimeout = 10s;

ClientOptions ads_options() {
  ClientOptions options{.codec = Codec::kHttp2};
  options.limits.keepalive_interval = kKeepaliveInterval;
  options.limits.keepalive_timeout = kKeepaliveTimeout;
  return options;
}

// The request's side: messages in the order in which they were sent; it never ends by itself.
class OutgoingMessages final : public Body {
 public:
  explicit OutgoingMessages(EventLoop& loop) : loop_(loop) {}
  void push(std::string_view message) {
    std::string framed;
    append_grpc_message(framed, message);
    queue_.append(Slice::copy(framed));
    waiting_.wake(loop_.ready());
  }
  std::size_t size() const { return queue_.size(); }
  Piece poll() override {
    if (queue_.empty()) return {State::kPending, {}};
    return {State::kData, queue_.pop_slice()};
  }
  void wait(Waiter& waiter) override { waiting_.put(waiter); }

 private:
  EventLoop& loop_;
  ByteQueue queue_;
  WaitSlot waiting_;
};

class HttpAdsCall final : public AdsCall {
 public:
  // `cluster` may be null: not drawn yet.
  HttpAdsCall(EventLoop& loop, Network& network, std::shared_ptr<const ClusterConfig> cluster,
              std::size_t turn, std::string_view path, Watcher& watcher)
      : loop_(loop),
        network_(network),
        cluster_(std::move(cluster)),
        turn_(turn),
        watcher_(watcher),
        begin_(loop, [this] { begin(); }),
        connecting_(loop, [this] { give_up(); }),
        arena_(ArenaRef::create()),
        request_(arena_) {
    auto messages = std::make_unique<OutgoingMessages>(loop);
    outgoing_ = messages.get();
    request_.method = "POST";
    request_.path = path;
    request_.headers.add("content-type", "application/grpc");
    request_.headers.add("user-agent", "glia-proxy");
    request_.trailers_accepted = true;
    request_.body = std::move(messages);
    begin_.start(Duration::zero());
  }
  ~HttpAdsCall() override { drop(); }
  void send(std::string message) override { outgoing_->push(message); }
  std::size_t unsent() const override { return outgoing_->size(); }

 private:
  void drop() {
    task_.cancel();
    call_.reset();
    if (connected_) loop_.reap(std::move(connected_));
  }
  void begin() {
    if (cluster_ == nullptr)
      return end("the cluster for ADS is not ready, its certificate has not arrived");
    if (!cluster_->endpoints || cluster_->endpoints->endpoints.empty()) {
      return end(cat("cluster ", cluster_->name, " has no endpoints"));
    }
    const auto& endpoints = cluster_->endpoints->endpoints;
    connecting_.start(cluster_->connect_timeout);
    task_ = run(endpoints[turn_ % endpoints.size()]);
    task_.start();
  }
  // Too late is never: the answer may still be on its way, and must not be heard after the end.
  void give_up() {
    drop();
    end("no connection within the cluster's connect_timeout");
  }
  // Told once.
  void end(std::string_view why) {
    if (ended_) return;
    ended_ = true;
    connecting_.stop();
    watcher_.on_end(why);
  }

  Task<void> run(EndpointConfig endpoint) {
    const Result<std::string> finished = co_await talk(std::move(endpoint));
    end(finished.ok() ? *finished : finished.error().message());
  }
  // Why the call ended.
  Task<Result<std::string>> talk(EndpointConfig endpoint) {
    Address to = endpoint.address;
    if (!endpoint.host.empty()) {
      CO_TRY(const auto addresses, co_await network_.resolve(endpoint.host, endpoint.port));
      if (addresses.empty()) co_return invalid(cat(endpoint.host, " has no address"));
      to = addresses[turn_ % addresses.size()];
    }
    std::unique_ptr<Stream> stream = network_.connect(to);
    const bool secure = cluster_->tls != nullptr;
    if (secure) stream = cluster_->tls->wrap(loop_, std::move(stream), cluster_->connect_timeout);
    connected_ = std::make_unique<Connected>(loop_, std::move(stream), ads_options());
    while (!connected_->decided()) co_await wait_in(connected_->changed());
    if (connected_->error()) co_return *connected_->error();
    request_.scheme = secure ? "https" : "http";
    request_.authority = arena_->copy(endpoint.host.empty() ? to.text() : endpoint.host);
    call_ = connected_->connection().start(request_);
    CO_TRY(const Response head, co_await head_of(*call_));
    connecting_.stop();
    if (head.status != 200)
      co_return cat("the control plane answered with HTTP status ", head.status);
    if (const auto status = head.headers.get("grpc-status"))
      co_return refusal(*status, head.headers);
    co_return co_await receive();
  }
  Task<Result<std::string>> receive() {
    GrpcDecoder decoder(kMessageMax);
    while (true) {
      const Body::Piece piece = co_await next(*call_);
      if (piece.state == Body::State::kError) co_return call_->error().message();
      if (piece.state == Body::State::kEnd) break;
      decoder.add(piece.data.view());
      while (true) {
        CO_TRY(const auto message, decoder.next());
        if (!message) break;
        watcher_.on_message(*message);
      }
    }
    const Headers* trailers = call_->trailers();
    const auto status = trailers == nullptr ? std::nullopt : trailers->get("grpc-status");
    if (!status) co_return std::string("the control plane ended the stream without a status");
    co_return refusal(*status, *trailers);
  }
  static std::string refusal(std::string_view status, const Headers& headers) {
    const auto message = headers.get("grpc-message");
    return cat("the control plane ended the stream with status ", status,
               message ? cat(" ", decode_grpc_message(*message)) : "");
  }

  EventLoop& loop_;
  Network& network_;
  std::shared_ptr<const ClusterConfig> cluster_;
  std::size_t turn_;
  Watcher& watcher_;
  CallbackTimer begin_;
  CallbackTimer connecting_;
  ArenaRef arena_;
  Request request_;
  OutgoingMessages* outgoing_ = nullptr;  // In request_.
  std::unique_ptr<Connected> connected_;
  std::unique_ptr<Call> call_;
  Task<void> task_;
  bool ended_ = false;
};

// `path` is asked for with each call.
OpenAds over_http(EventLoop& loop, Network& network, const Configuration& configuration,
                  std::function<std::string_view()> path) {
  return [&loop, &network, &configuration, path = std::move(path),
          turn = std::size_t{0}](AdsCall::Watcher& watcher) mutable {
    std::shared_ptr<const ClusterConfig> cluster;
    if (configuration.snapshot() != nullptr) {
      const auto& clusters = configuration.snapshot()->clusters;
      const auto found = clusters.find(configuration.bootstrap().ads_cluster);
      if (found != clusters.end()) cluster = found->second;
    }
    return std::unique_ptr<AdsCall>(
        std::make_unique<HttpAdsCall>(loop, network, std::move(cluster), turn++, path(), watcher));
  };
}

}  // namespace

OpenAds ads_over_http(EventLoop& loop, Network& network, const Configuration& configuration) {
  return over_http(loop, network, configuration, [&configuration] {
    return configuration.bootstrap().ads_delta ? kDeltaPath : kPath;
  });
}

OpenAds reports_over_http(EventLoop& loop, Network& network, const Configuration& configuration) {
  return over_http(loop, network, configuration, [] { return kReportPath; });
}

OpenAds health_over_http(EventLoop& loop, Network& network, const Configuration& configuration) {
  return over_http(loop, network, configuration, [] { return kHealthPath; });
}

}  // namespace glia
