#include "proxy/server/control_channel.h"

#include <utility>

#include "proxy/base/text.h"
#include "proxy/http/grpc.h"

namespace glia {
namespace {

constexpr std::string_view kAdsPath =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

Slice framed(std::string_view message) {
  std::string bytes;
  append_grpc_message(bytes, message);
  return Slice::copy(bytes);
}

// The messages of a call that is still being written.
class MessageQueue final : public Body {
 public:
  explicit MessageQueue(EventLoop& loop) : loop_(loop) {}
  void send(std::string_view message) {
    queue_.append(framed(message));
    slot_.wake(loop_.ready());
  }
  Piece poll() override {
    if (queue_.empty()) return {State::kPending, {}};
    return {State::kData, queue_.pop_slice()};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }

 private:
  EventLoop& loop_;
  ByteQueue queue_;
  WaitSlot slot_;
};

// What a gRPC server says at the end, from trailers or, without any message, from the head.
Result<void> status_of(const Headers& fields) {
  const auto status = fields.get("grpc-status");
  if (status == "0") return {};
  const auto code = status ? parse_grpc_status(*status) : std::nullopt;
  return Error(ErrorKind::kInternal, Fault::kUpstream,
               cat("the control plane answered ", code ? name_of(*code) : "without a grpc-status", ": ",
                   decode_grpc_message(fields.get("grpc-message").value_or(""))));
}

Result<void> check_head(const Response& response) {
  if (response.status != 200) {
    return Error(ErrorKind::kProtocol, Fault::kUpstream,
                 cat("the control plane answered with HTTP status ", response.status));
  }
  if (response.headers.has("grpc-status")) return status_of(response.headers);
  return {};
}

}  // namespace

ControlChannel::ControlChannel(EventLoop& loop, Network& network, uint64_t seed)
    : loop_(loop), random_(seed), context_{loop, network, random_}, clusters_(context_) {}

void ControlChannel::use(std::shared_ptr<const ClusterConfig> cluster) {
  Snapshot only;
  only.clusters.emplace(cluster->name, cluster);
  cluster_ = std::move(cluster);
  clusters_.apply(only);
}

Task<Result<Lease>> ControlChannel::lease() {
  Cluster* cluster = cluster_ == nullptr ? nullptr : clusters_.find(cluster_->name);
  if (cluster == nullptr) {
    co_return Error(ErrorKind::kNoCluster, Fault::kSelf, "the control plane's cluster is not ready");
  }
  co_return co_await cluster->lease();
}

Request ControlChannel::make_request(ArenaRef arena, std::string_view path) const {
  Request request(std::move(arena));
  request.method = "POST";
  request.scheme = cluster_ != nullptr && cluster_->tls != nullptr ? "https" : "http";
  request.authority = cluster_ == nullptr ? "" : std::string_view(cluster_->name);
  request.path = path;
  request.trailers_accepted = true;
  request.headers.add_kept("content-type", "application/grpc");
  request.headers.add_kept("user-agent", "glia-proxy");
  return request;
}

class ControlChannel::StreamingCall final : public AdsCall {
 public:
  StreamingCall(ControlChannel& channel, std::string_view path, Watcher& watcher)
      : channel_(channel),
        watcher_(watcher),
        request_(channel.make_request(ArenaRef::create(), path)) {
    auto queue = std::make_unique<MessageQueue>(channel.loop_);
    queue_ = queue.get();
    request_.body = std::move(queue);
    begin_.start(0s);
  }
  void send(std::string message) override { queue_->send(message); }

 private:
  Task<void> run() {
    const Result<void> end = co_await receive();
    watcher_.on_end(end ? "the control plane ended the stream" : end.error().message());
  }

  Task<Result<void>> receive() {
    CO_TRY(Lease lease, co_await channel_.lease());
    const std::unique_ptr<Call> call = lease.connection().start(request_);
    CO_TRY(const Response response, co_await head_of(*call));
    CO_TRY_VOID(check_head(response));
    GrpcDecoder decoder(kMostMessage);
    for (;;) {
      const Body::Piece piece = co_await next(*call);
      if (piece.state == Body::State::kError) co_return call->error();
      if (piece.state == Body::State::kEnd) break;
      decoder.add(piece.data.view());
      for (;;) {
        CO_TRY(const std::optional<std::string> message, decoder.next());
        if (!message) break;
        watcher_.on_message(*message);
      }
    }
    if (call->trailers() == nullptr) co_return Result<void>();
    co_return status_of(*call->trailers());
  }

  ControlChannel& channel_;
  Watcher& watcher_;
  Request request_;
  MessageQueue* queue_ = nullptr;  // request_.body
  Task<void> run_;                 // Destroyed before what it uses.
  // The watcher is not called before the call was handed to it.
  CallbackTimer begin_{channel_.loop_, [this] {
                         run_ = run();
                         run_.start();
                       }};
};

std::unique_ptr<AdsCall> ControlChannel::open_ads(AdsCall::Watcher& watcher) {
  return std::make_unique<StreamingCall>(*this, kAdsPath, watcher);
}

}  // namespace glia
