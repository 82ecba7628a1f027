#include "test/sim_load/sim_model_server.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/mesh/engine_scraper.h"

namespace glia {

// One request's place: in the queue, then in a slot. Gives it up when its task ends, however.
class SimModelServer::Turn {
 public:
  explicit Turn(SimModelServer& server) : server_(server), came_(server.world_.loop().now()) {
    server.queue_.push_back(this);
    server.wake_next();
  }
  Turn(const Turn&) = delete;
  ~Turn() {
    std::erase(server_.queue_, this);
    if (running_) --server_.running_;
    server_.wake_next();
  }
  bool running() const { return running_; }
  void run() {
    running_ = true;
    ++server_.running_;
    server_.waits_.push_back(server_.world_.loop().now() - came_);
    slot.wake(server_.world_.loop().ready());
  }
  WaitSlot slot;

 private:
  SimModelServer& server_;
  const TimePoint came_;
  bool running_ = false;
};

SimModelServer::SimModelServer(SimWorld& world, const std::string& ip, std::size_t slots,
                               double slowness)
    : world_(world), address_(*Address::ip(ip, 8080)), slots_(slots), slowness_(slowness) {
  options_.codec = Codec::kHttp1;
  auto acceptor = world.host(ip).listen(address_, {}, *this);
  CHECK(acceptor.ok());
  acceptor_ = *std::move(acceptor);
}

SimModelServer::~SimModelServer() { connections_.clear(); }

void SimModelServer::wake_next() {
  if (queue_.empty() || running_ >= slots_) return;
  Turn* const next = queue_.front();
  queue_.pop_front();
  next->run();
}

void SimModelServer::on_accept(std::unique_ptr<Stream> stream) {
  connections_.push_back(
      serve_http(world_.loop(), std::move(stream), options_, *this, *this, stats_));
}

void SimModelServer::on_finished(ServerConnection& connection) {
  const auto place = std::ranges::find_if(
      connections_, [&](const auto& owned) { return owned.get() == &connection; });
  world_.loop().reap(std::move(*place));
  connections_.erase(place);
}

std::string SimModelServer::page() const {
  const bool lies = metrics_ == Metrics::kEmptyAlways;
  return cat("# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running ",
             lies ? 0 : running_, "\nvllm:num_requests_waiting ", lies ? 0 : queue_.size(),
             "\nvllm:kv_cache_usage_perc ",
             lies ? 0.0 : static_cast<double>(running_) / static_cast<double>(slots_) / 2, "\n");
}

Task<void> SimModelServer::serve(ServerStream& stream) {
  const Request& request = stream.request();
  Response response(stream.arena());
  response.status = 200;
  if (request.path == "/metrics") {
    ++scraped_;
    if (metrics_ == Metrics::kNone) response.status = 503;
    if (metrics_ == Metrics::kHangs) co_await sleep_for(world_.loop(), 3600s);
    if (metrics_ == Metrics::kHuge) {
      response.body = std::make_unique<TextBody>(
          Slice::copy(page() + std::string(EngineScraper::kLargestPage, '#')));
      co_await stream.respond(std::move(response));
      co_return;
    }
    response.body = std::make_unique<TextBody>(Slice::copy(page()));
    co_await stream.respond(std::move(response));
    co_return;
  }
  if (fails_) {
    response.status = 500;
    co_await stream.respond(std::move(response));
    co_return;
  }
  Turn turn(*this);
  while (!turn.running()) co_await wait_in(turn.slot);
  const auto work = parse_decimal(request.headers.get("x-work").value_or("1000")).value_or(1000);
  const auto takes = Duration(static_cast<int64_t>(static_cast<double>(work) * slowness_ * 1000));
  if (streams_) {
    co_await answer_in_pieces(stream, takes);
    co_return;
  }
  co_await sleep_for(world_.loop(), takes);
  ++served_;
  response.body = std::make_unique<TextBody>(Slice::literal("done"));
  co_await stream.respond(std::move(response));
}

namespace {

class StreamedBody final : public Body {
 public:
  StreamedBody(EventLoop& loop, int pieces, Duration pause)
      : loop_(loop), left_(pieces), pause_(pause), timer_(loop, [this] {
          due_ = true;
          slot_.wake(loop_.ready());
        }) {}
  Piece poll() override {
    if (left_ == 0) return {State::kEnd, {}};
    if (!std::exchange(due_, false)) return {State::kPending, {}};
    --left_;
    timer_.start(pause_);
    return {State::kData, Slice::literal("data: token\n\n")};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }

 private:
  EventLoop& loop_;
  int left_;
  const Duration pause_;
  CallbackTimer timer_;
  WaitSlot slot_;
  bool due_ = true;
};

}  // namespace

Task<void> SimModelServer::answer_in_pieces(ServerStream& stream, Duration work) {
  Response response(stream.arena());
  response.status = 200;
  response.headers.add_kept("content-type", "text/event-stream");
  response.body = std::make_unique<StreamedBody>(world_.loop(), kPieces, work / kPieces);
  co_await stream.respond(std::move(response));
  ++served_;
}

}  // namespace glia
