#include "test/bench/origin.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "test/bench/errand.h"

namespace glia {

namespace {

Response plain_response(ServerStream& stream, int status) {
  Response response(stream.arena());
  response.status = status;
  response.headers.add_kept("server", "uvicorn");
  response.headers.add_kept("date", "Sun, 22 Nov 2026 17:00:00 GMT");
  response.headers.add_kept("content-type", "application/json");
  return response;
}

// Reads a body to its end and says how many bytes it had; nothing if it broke off.
Task<std::optional<uint64_t>> count_bytes(Body* body) {
  uint64_t bytes = 0;
  while (body != nullptr) {
    const Body::Piece piece = co_await next(*body);
    if (piece.state == Body::State::kError) co_return std::nullopt;
    if (piece.state == Body::State::kEnd) break;
    bytes += piece.data.size();
  }
  co_return bytes;
}

// One message, then trailers.
class GrpcBody final : public Body {
 public:
  GrpcBody(std::string_view message, const ArenaRef& arena)
      : message_(Slice::literal(message)), trailers_(arena) {
    trailers_.add_kept("grpc-status", "0");
    trailers_.add_kept("grpc-message", "");
    trailers_.add_kept("x-model-version", "7");
    trailers_.add_kept("x-compute-us", "1234");
  }
  Piece poll() override {
    if (message_.empty()) return {State::kEnd, {}};
    return {State::kData, std::exchange(message_, {})};
  }
  void wait(Waiter&) override {}
  const Headers* trailers() const override { return &trailers_; }

 private:
  Slice message_;
  Headers trailers_;
};

}  // namespace

// The body of one stream of events.
class Origin::Events final : public Body {
 public:
  Events(Origin& origin, uint64_t count) : origin_(origin), left_(count) {
    origin_.events_.push_back(this);
    if (origin_.events_.size() > 1) return;
    origin_.beat_at_ = origin_.loop_.clock().now();
    origin_.pacer_.start(origin_.beat_at_);
  }
  ~Events() override { std::erase(origin_.events_, this); }

  bool over() const { return left_ == 0; }
  void send(TimePoint now) {
    --left_;
    due_ += event_text(sent_++, now);
    slot_.wake(origin_.loop_.ready());
  }
  Piece poll() override {
    if (!due_.empty()) return {State::kData, Slice::copy(std::exchange(due_, {}))};
    return {over() ? State::kEnd : State::kPending, {}};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }

 private:
  Origin& origin_;
  uint64_t left_;
  uint64_t sent_ = 0;
  std::string due_;
  WaitSlot slot_;
};

Origin::Origin(EventLoop& loop, Network& network, Codec codec)
    : loop_(loop), network_(network), pacer_(loop, [this] { beat(); }) {
  options_.codec = codec;
  options_.limits.streams = kStreams;
  options_.limits.stream_window = kStreamWindow;
  options_.limits.connection_window = kConnectionWindow;
}

Origin::~Origin() {
  acceptor_.reset();
  for (auto& [key, connection] : connections_) loop_.reap(std::move(connection));
}

Result<void> Origin::listen() {
  TRY(const Address any, Address::ip("127.0.0.1", 0));
  TRY(acceptor_, network_.listen(any, ListenOptions(), *this));
  return {};
}

void Origin::on_accept(std::unique_ptr<Stream> stream) {
  auto connection = serve_http(loop_, std::move(stream), options_, *this, *this, stats_);
  ServerConnection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
}

Task<void> Origin::serve(ServerStream& stream) {
  const std::string_view path = stream.request().path;
  const std::size_t slash = path.rfind('/');
  const std::string_view kind = path.substr(0, slash);
  const auto amount = parse_decimal(path.substr(slash + 1));
  if (!amount || *amount > kMostBody) {
    (void)co_await stream.respond(plain_response(stream, 404));
  } else if (kind == "/answer") {
    Response response = plain_response(stream, 200);
    if (*amount > 0) response.body = std::make_unique<TextBody>(Slice::literal(filler(*amount)));
    (void)co_await stream.respond(std::move(response));
  } else if (kind == "/take") {
    co_await serve_take(stream, *amount);
  } else if (kind == "/grpc") {
    co_await serve_grpc(stream, *amount);
  } else if (kind == "/events") {
    Response response(stream.arena());
    response.status = 200;
    response.headers.add_kept("content-type", "text/event-stream");
    response.headers.add_kept("cache-control", "no-cache");
    response.body = std::make_unique<Events>(*this, *amount);
    (void)co_await stream.respond(std::move(response));
  } else {
    (void)co_await stream.respond(plain_response(stream, 404));
  }
}

Task<void> Origin::serve_take(ServerStream& stream, uint64_t bytes) {
  const auto seen = co_await count_bytes(stream.request().body.get());
  (void)co_await stream.respond(plain_response(stream, seen == bytes ? 200 : 400));
}

Task<void> Origin::serve_grpc(ServerStream& stream, uint64_t bytes) {
  const std::string_view message = grpc_message(bytes);
  const auto seen = co_await count_bytes(stream.request().body.get());
  Response response(stream.arena());
  response.status = seen == message.size() ? 200 : 400;
  response.headers.add_kept("content-type", "application/grpc");
  response.headers.add_kept("grpc-accept-encoding", "identity, deflate, gzip");
  response.headers.add_kept("x-endpoint", "reco-0");
  response.headers.add_kept("x-served-by", "bench");
  response.body = std::make_unique<GrpcBody>(message, stream.arena());
  (void)co_await stream.respond(std::move(response));
}

void Origin::on_finished(ServerConnection& connection) {
  const auto found = connections_.find(&connection);
  loop_.reap(std::move(found->second));
  connections_.erase(found);
}

Duration Origin::between_beats() const {
  return Duration(std::chrono::seconds(1)) /
         static_cast<int64_t>(kEventsPerSecond * events_.size());
}

void Origin::beat() {
  const TimePoint now = loop_.clock().now();
  while (!events_.empty() && beat_at_ <= now) {
    turn_ = (turn_ + 1) % events_.size();
    if (!events_[turn_]->over()) events_[turn_]->send(now);
    beat_at_ += between_beats();
  }
  if (!events_.empty()) pacer_.start(beat_at_);
}

}  // namespace glia
