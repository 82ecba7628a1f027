// Full-duplex stress: clients, a proxy made of our server and our client, and an echo, with streams
// and whole connections cut at random from every side. Every echoed byte is checked, and at the end
// nothing may be left. It earns its keep under AddressSanitizer.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "proxy/base/random.h"
#include "proxy/http/h2_test_support.h"

namespace glia {
namespace {

char byte_of(uint64_t key, uint64_t offset) {
  return static_cast<char>((key * 0x9e3779b97f4a7c15ull + offset * 0x2545f491ull) >> 13);
}

// Wakes bodies that paused, a few a turn.
class Pauses {
 public:
  virtual ~Pauses() = default;
  std::set<WaitSlot*> slots;
  void wake(ReadyQueue& queue) {
    for (WaitSlot* slot : slots) slot->wake(queue);
  }
};

// `total` bytes that depend on the key and their place, in pieces and with pauses of random length.
class SeededBody final : public Body {
 public:
  SeededBody(Random& random, Pauses& pauses, uint64_t key, uint64_t total)
      : random_(random), pauses_(pauses), key_(key), total_(total) {
    pauses_.slots.insert(&slot_);
  }
  ~SeededBody() override { pauses_.slots.erase(&slot_); }

  Piece poll() override {
    if (sent_ == total_) return {State::kEnd, {}};
    if (random_.below(4) == 0) return {State::kPending, {}};
    const uint64_t most = random_.below(8) == 0 ? 60'000 : 700;
    const uint64_t count = std::min(total_ - sent_, 1 + random_.below(most));
    std::string text(count, '\0');
    for (uint64_t i = 0; i < count; ++i) text[i] = byte_of(key_, sent_ + i);
    sent_ += count;
    return {State::kData, Slice::copy(text)};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }
  std::optional<uint64_t> length() const override {
    return key_ % 2 == 0 ? std::optional(total_) : std::nullopt;
  }

 private:
  Random& random_;
  Pauses& pauses_;
  uint64_t key_;
  uint64_t total_;
  uint64_t sent_ = 0;
  WaitSlot slot_;
};

// Another body that breaks off after a while.
class CutBody final : public Body {
 public:
  CutBody(std::unique_ptr<Body> body, uint64_t most) : body_(std::move(body)), left_(most) {}
  Piece poll() override {
    if (left_ == 0) return {State::kError, {}};
    Piece piece = body_->poll();
    left_ -= std::min<uint64_t>(left_, piece.data.size());
    return piece;
  }
  void wait(Waiter& waiter) override { body_->wait(waiter); }

 private:
  std::unique_ptr<Body> body_;
  uint64_t left_;
};

constexpr int kConnections = 3;  // of clients, and as many of the proxy to the echo
constexpr int kCallsAtOnce = 48;

struct Tally {
  uint64_t complete = 0, cancelled = 0, failed = 0, refused = 0, bytes = 0, wrong = 0;
};

class World {
 public:
  explicit World(uint64_t seed)
      : random(seed),
        echo_service([this](ServerStream& stream) { return echo(stream); }),
        proxy_service([this](ServerStream& stream) { return forward(stream); }),
        echo_server(loop, echo_service),
        proxy_server(loop, proxy_service) {
    // Some seeds squeeze everything through windows and buffers smaller than the bodies.
    if (seed % 2 == 0) {
      for (TestServer* server : {&echo_server, &proxy_server}) squeeze(server->options.limits);
    }
    for (int i = 0; i < kConnections; ++i) {
      clients.push_back(std::make_unique<TestClient>(loop));
      upstreams.push_back(std::make_unique<TestClient>(loop));
      pipes.push_back(nullptr);
      pipes.push_back(nullptr);
    }
  }

  // Connections that were lost are made again.
  void reconnect() {
    for (int i = 0; i < kConnections; ++i) {
      connect(*clients[i], proxy_server, pipes[2 * i]);
      connect(*upstreams[i], echo_server, pipes[2 * i + 1]);
    }
  }
  static void squeeze(HttpLimits& limits) {
    limits.stream_window = 5'000;
    limits.connection_window = 20'000;
    limits.write_buffer = 3'000;
  }
  void drain_one() {
    TestServer& server = random.below(2) == 0 ? echo_server : proxy_server;
    if (server.connection() != nullptr) server.connection()->drain();
  }
  void cut_one() { pipes[random.below(pipes.size())]->kill(); }

  Task<void> call(uint64_t key) {
    TestClient& client = *clients[key % kConnections];
    if (!client.usable()) {
      ++tally.refused;
      co_return;
    }
    Request request = make_request("POST", cat("/", key));
    const uint64_t total = key % 7 == 0 ? 0 : random.below(key % 5 == 0 ? 200'000 : 3'000);
    if (total > 0) {
      request.body = std::make_unique<SeededBody>(random, pauses, key, total);
    }
    const uint64_t cancel_at = random.below(10) == 0 ? random.below(total + 1) : total + 1;
    const std::unique_ptr<Call> call = client.connection()->start(request);
    const Result<Response> head = co_await head_of(*call);
    if (!head) {
      ++tally.failed;
      co_return;
    }
    const bool checked = head->status == 200;
    uint64_t got = 0;
    while (true) {
      const Body::Piece piece = co_await next(*call);
      for (const char c : piece.data.view()) tally.wrong += checked && c != byte_of(key, got++);
      if (got > cancel_at) {
        ++tally.cancelled;
        co_return;
      }
      if (piece.state == Body::State::kError) {
        ++tally.failed;
        co_return;
      }
      if (piece.state == Body::State::kEnd) break;
    }
    tally.wrong += checked && got != total;
    tally.bytes += got;
    ++tally.complete;
  }

  Random random;
  EventLoop loop{std::make_unique<VirtualTime>()};
  Pauses pauses;
  Tally tally;
  FunctionService echo_service;
  FunctionService proxy_service;
  TestServer echo_server;
  TestServer proxy_server;
  std::vector<std::unique_ptr<TestClient>> clients;
  std::vector<std::unique_ptr<TestClient>> upstreams;
  std::vector<std::unique_ptr<Pipe>> pipes;

 private:
  void connect(TestClient& client, TestServer& server, std::unique_ptr<Pipe>& pipe) {
    if (client.connection() != nullptr) return;
    pipe = std::make_unique<Pipe>(loop);
    server.accept(pipe->end(1));
    client.connect(pipe->end(0));
  }

  Task<void> echo(ServerStream& stream) {
    const uint64_t way = random.below(20);
    if (way == 0) co_return;  // Never answers.
    if (way == 1) {
      (void)co_await stream.respond(make_response(202, "without reading"));
      co_return;
    }
    if (way == 2 && stream.request().body != nullptr) {
      const Body::Piece piece = co_await next(*stream.request().body);
      (void)piece;
      stream.abort();
      co_return;
    }
    Response response = make_response(200);
    response.body = std::move(stream.request().body);
    if (way == 3 && response.body != nullptr) {
      response.body = std::make_unique<CutBody>(std::move(response.body), random.below(3'000));
    }
    (void)co_await stream.respond(std::move(response));
  }

  Task<void> forward(ServerStream& stream) {
    TestClient& upstream = *upstreams[random.below(kConnections)];
    if (!upstream.usable()) {
      (void)co_await stream.respond(make_response(503, "no upstream"));
      co_return;
    }
    std::unique_ptr<Call> call = upstream.connection()->start(stream.request());
    Result<Response> head = co_await head_of(*call);
    if (!head) {
      (void)co_await stream.respond(make_response(502, head.error().message()));
      co_return;
    }
    Response response = *std::move(head);
    response.body = std::move(call);
    (void)co_await stream.respond(std::move(response));
  }
};

void run(uint64_t seed, uint64_t calls, bool cut_connections) {
  SCOPED_TRACE(cat("seed ", seed));
  World world(seed);
  uint64_t started = 0;
  uint64_t idle_turns = 0;
  {
    std::vector<Task<void>> tasks(kCallsAtOnce);
    bool busy = true;
    while ((busy || started < calls) && idle_turns < 20'000) {
      world.reconnect();
      busy = false;
      ++idle_turns;
      for (Task<void>& task : tasks) {
        // From outside, wherever it sleeps: what a client's hang-up does to its caller.
        if (task && !task.done() && world.random.below(2000) == 0) {
          task.cancel();
          ++world.tally.cancelled;
        }
        if ((!task || task.done()) && started < calls &&
            world.clients[(started + 1) % kConnections]->usable()) {
          task = world.call(++started);
          task.start();
          idle_turns = 0;
        }
        busy = busy || (task && !task.done());
      }
      if (cut_connections && world.random.below(300) == 0) world.cut_one();
      if (cut_connections && world.random.below(600) == 0) world.drain_one();
      world.pauses.wake(world.loop.ready());
      world.loop.turn(Duration::zero());
    }
    EXPECT_FALSE(busy) << "calls hang";
  }
  for (int i = 0; i < 200; ++i) world.loop.turn(Duration::zero());
  const Tally& tally = world.tally;
  EXPECT_EQ(tally.wrong, 0u);
  EXPECT_GT(tally.complete, calls / 2);
  EXPECT_EQ(tally.complete + tally.failed + tally.cancelled + tally.refused, calls);
  EXPECT_EQ(world.echo_server.stats.requests_active, 0u);
  EXPECT_EQ(world.proxy_server.stats.requests_active, 0u);
  for (auto& pipe : world.pipes) pipe->kill();
  for (int i = 0; i < 50; ++i) world.loop.turn(Duration::zero());
  EXPECT_EQ(world.echo_server.stats.connections_active, 0u);
  EXPECT_EQ(world.proxy_server.stats.connections_active, 0u);
  for (const auto* group : {&world.clients, &world.upstreams}) {
    for (const auto& client : *group) {
      EXPECT_EQ(client->stats.requests_active, 0u);
      EXPECT_EQ(client->stats.connections_active, 0u);
    }
  }
  EXPECT_TRUE(world.pauses.slots.empty());
  std::printf(
      "seed %llu: %llu complete, %llu failed, %llu cancelled, %llu refused, %llu bytes\n",
      static_cast<unsigned long long>(seed), static_cast<unsigned long long>(tally.complete),
      static_cast<unsigned long long>(tally.failed),
      static_cast<unsigned long long>(tally.cancelled),
      static_cast<unsigned long long>(tally.refused), static_cast<unsigned long long>(tally.bytes));
}

// GLIA_STRESS_CALLS makes it longer.
uint64_t calls_of_a_run() {
  const char* const text = std::getenv("GLIA_STRESS_CALLS");
  return text != nullptr ? parse_decimal(text).value_or(0) : 6000;
}

TEST(Http2Stress, EchoesEveryByteWhileStreamsAreReset) { run(1, calls_of_a_run(), false); }

TEST(Http2Stress, LeavesNothingBehindWhenWholeConnectionsAreCut) {
  for (uint64_t seed : {2, 3, 4, 5}) run(seed, calls_of_a_run(), true);
}

}  // namespace
}  // namespace glia
