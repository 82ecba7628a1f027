// Thousands of echoed calls through a proxy, full duplex, while streams are dropped and whole
// connections break on every side; each echoed byte is checked, each call must end, nothing may
// stay.
#include <gtest/gtest.h>

#include <algorithm>
#include <list>

#include "proxy/http/h1_test_support.h"

namespace glia {
namespace {

char pattern(uint64_t seed, uint64_t at) {
  return static_cast<char>(seed * 131 + at * 7 + (at >> 8));
}

// `size` bytes of the pattern of `seed`, in pieces and with pauses that nobody chose.
class PatternBody final : public Body, private Timer {
 public:
  PatternBody(EventLoop& loop, Random& random, uint64_t seed, uint64_t size, bool announced)
      : Timer(loop), random_(random), seed_(seed), size_(size), announced_(announced) {}

  Piece poll() override {
    if (at_ == size_) return {State::kEnd, {}};
    if (!rested_ && random_.below(4) == 0) return {State::kPending, {}};
    rested_ = false;
    std::string piece(1 + random_.below(std::min<uint64_t>(size_ - at_, 6000)), '\0');
    for (char& c : piece) c = pattern(seed_, at_++);
    return {State::kData, Slice::copy(piece)};
  }
  void wait(Waiter& waiter) override {
    slot_.put(waiter);
    start(Duration(random_.below(3'000'000)));
  }
  std::optional<uint64_t> length() const override {
    return announced_ ? std::optional(size_) : std::nullopt;
  }

 private:
  void fire() override {
    rested_ = true;
    slot_.wake(loop_.ready());
  }

  Random& random_;
  WaitSlot slot_;
  const uint64_t seed_;
  const uint64_t size_;
  uint64_t at_ = 0;
  const bool announced_;
  bool rested_ = false;
};

// Passes a body on and breaks off after so many bytes.
class BreakingBody final : public Body {
 public:
  BreakingBody(std::unique_ptr<Body> body, uint64_t after) : body_(std::move(body)), left_(after) {}
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

// Echoes, mostly.
class MoodyEcho final : public Service {
 public:
  explicit MoodyEcho(Random& random) : random_(random) {}
  Task<void> serve(ServerStream& stream) override {
    Response response(stream.arena());
    response.status = 200;
    response.headers.add("x-length", "as asked");
    response.body = std::move(stream.request().body);
    switch (random_.below(20)) {
      case 0:
        if (response.body == nullptr) break;  // An empty request has nothing to break.
        response.body =
            std::make_unique<BreakingBody>(std::move(response.body), random_.below(20'000));
        break;
      case 1: response = text_response(stream.arena(), 403, "no"); break;
      case 2: co_return;
      case 3: stream.close_after(); break;
      case 4: co_await sleep_for(stream.loop(), Duration(random_.below(50'000'000))); break;
      default: break;
    }
    co_await stream.respond(std::move(response));
  }

 private:
  Random& random_;
};

// Upstream connections to one address.
class Pool final : private ClientConnection::Owner {
 public:
  Pool(SimWorld& world, const std::string& from, const Address& to, Codec codec)
      : world_(world), network_(world.host(from)), to_(to) {
    options_.codec = codec;
  }
  ~Pool() override {
    for (auto& connection : connections_) world_.loop().reap(std::move(connection));
    connections_.clear();
    world_.loop().turn(Duration(0));  // They count in our stats until they are gone.
  }

  // A connection with room, or null if none can be made.
  Task<ClientConnection*> lease() {
    for (int tries = 0; tries < 100; ++tries) {
      for (const auto& connection : connections_) {
        if (connection->capacity() > 0) co_return connection.get();
      }
      if (connections_.size() < kMost) {
        connections_.push_back(
            connect_http(world_.loop(), network_.connect(to_), options_, *this, stats));
      }
      co_await sleep_for(world_.loop(), 2ms);
    }
    co_return nullptr;
  }
  // Takes a connection away under its calls.
  void drop_one(Random& random) {
    if (connections_.empty()) return;
    const auto it = std::next(connections_.begin(),
                              static_cast<std::ptrdiff_t>(random.below(connections_.size())));
    world_.loop().reap(std::move(*it));
    connections_.erase(it);
  }
  void drain_one() {
    if (!connections_.empty()) connections_.front()->drain();
  }

  HttpClientStats stats;

 private:
  static constexpr std::size_t kMost = 10;  // connections

  void on_connected(ClientConnection&) override {}
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection& connection, const Error&) override {
    const auto it = std::ranges::find_if(
        connections_, [&](const auto& held) { return held.get() == &connection; });
    if (it == connections_.end()) return;
    world_.loop().reap(std::move(*it));
    connections_.erase(it);
  }

  SimWorld& world_;
  Network& network_;
  Address to_;
  ClientOptions options_;
  std::list<std::unique_ptr<ClientConnection>> connections_;
};

class ProxyService final : public Service {
 public:
  explicit ProxyService(Pool& pool) : pool_(pool) {}
  Task<void> serve(ServerStream& stream) override {
    ClientConnection* const upstream = co_await pool_.lease();
    if (upstream == nullptr) {
      co_await stream.respond(text_response(stream.arena(), 503, "no upstream"));
      co_return;
    }
    std::unique_ptr<Call> call = upstream->start(stream.request());
    Result<Response> reply = co_await head_of(*call);
    if (!reply) {
      call.reset();
      co_await stream.respond(text_response(stream.arena(), 502, reply.error().message()));
      co_return;
    }
    reply->body = std::move(call);
    co_await stream.respond(*std::move(reply));
  }

 private:
  Pool& pool_;
};

struct Tally {
  int calls = 0, complete = 0, refused = 0, broken = 0, dropped = 0;
  uint64_t bytes = 0;
};

// One caller's calls, one after the other.
class Caller {
 public:
  Caller(SimWorld& world, Pool& pool, Tally& tally, uint64_t seed, int calls)
      : world_(world), pool_(pool), tally_(tally), random_(seed), seed_(seed), task_(run(calls)) {}
  void start() { task_.start(); }
  bool done() const { return task_.done(); }

 private:
  Task<void> run(int calls) {
    for (int i = 0; i < calls; ++i) {
      ++tally_.calls;
      ClientConnection* const connection = co_await pool_.lease();
      if (connection == nullptr) {
        ++tally_.broken;
        continue;
      }
      co_await call(*connection, seed_ * 1000 + static_cast<uint64_t>(i));
    }
  }

  Task<void> call(ClientConnection& connection, uint64_t seed) {
    Request request(ArenaRef::create());
    request.method = "POST";
    request.scheme = "http";
    request.authority = "echo.test";
    request.path = "/";
    const uint64_t size = random_.below(4) == 0 ? random_.below(300'000) : random_.below(5'000);
    request.body =
        std::make_unique<PatternBody>(world_.loop(), random_, seed, size, random_.below(2) == 0);
    const uint64_t drop_after = random_.below(8) == 0 ? random_.below(size + 1) : size + 1;
    const std::unique_ptr<Call> call = connection.start(request);
    if (random_.below(30) == 0) {
      ++tally_.dropped;
      co_return;
    }
    Result<Response> head = co_await head_of(*call);
    if (!head) {
      ++tally_.broken;
      co_return;
    }
    if (head->status != 200) {
      ++tally_.refused;
      co_return;
    }
    uint64_t at = 0;
    for (;;) {
      Body::Piece piece = co_await next(*call);
      if (piece.state == Body::State::kEnd) break;
      if (piece.state == Body::State::kError) {
        ++tally_.broken;
        co_return;
      }
      for (const char c : piece.data.view()) {
        if (c != pattern(seed, at++)) {
          ADD_FAILURE() << "byte " << at - 1 << " of call " << seed << " is not what was sent";
          co_return;
        }
      }
      tally_.bytes += piece.data.size();
      if (at >= drop_after) {
        ++tally_.dropped;
        co_return;
      }
      if (random_.below(50) == 0) {
        co_await sleep_for(world_.loop(), Duration(random_.below(20'000'000)));
      }
    }
    EXPECT_EQ(at, size) << "call " << seed << " ended early without an error";
    ++tally_.complete;
  }

  SimWorld& world_;
  Pool& pool_;
  Tally& tally_;
  Random random_;
  const uint64_t seed_;
  Task<void> task_;
};

// Breaks things now and then.
Task<void> chaos(SimWorld& world, Random& random, ServerRig& origin, ServerRig& proxy,
                 Pool& upstream, Pool& clients) {
  for (;;) {
    co_await sleep_for(world.loop(), Duration(random.below(60'000'000)));
    switch (random.below(7)) {
      case 0: origin.drop_one(); break;
      case 1: proxy.drop_one(); break;
      case 2: upstream.drop_one(random); break;
      case 3: clients.drop_one(random); break;
      case 4: upstream.drain_one(); break;
      case 5: proxy.drain(); break;
      case 6:
        if (random.below(5) == 0) world.fabric().reset_all(origin.address());
        break;
    }
  }
}

struct Codecs {
  Codec downstream;
  Codec upstream;
};

void stress(SimWorld& world, const Codecs& codecs, Tally& tally) {
  constexpr int kCallers = 8;
  constexpr int kCallsEach = 25;
  Random random(world.seed() * 77);
  MoodyEcho echo(random);
  ServerRig origin(world, echo, codecs.upstream, "10.0.0.1");
  {
    Pool upstream(world, "10.0.0.3", origin.address(), codecs.upstream);
    ProxyService forward(upstream);
    ServerRig proxy(world, forward, codecs.downstream, "10.0.0.3");
    {
      Pool clients(world, "10.0.0.2", proxy.address(), codecs.downstream);
      {
        Task<void> breaking = chaos(world, random, origin, proxy, upstream, clients);
        breaking.start();
        std::list<Caller> callers;
        for (int i = 0; i < kCallers; ++i) {
          callers.emplace_back(world, clients, tally, world.seed() * 100 + static_cast<uint64_t>(i),
                               kCallsEach);
          callers.back().start();
        }
        EXPECT_TRUE(world.run_until(
            [&] { return std::ranges::all_of(callers, [](auto& c) { return c.done(); }); }, 600s));
      }
      EXPECT_EQ(clients.stats.requests_active, 0u);
    }
    EXPECT_TRUE(world.run_until([&] { return proxy.open() == 0; }, 60s));
    EXPECT_EQ(proxy.stats.requests_active, 0u);
    EXPECT_EQ(proxy.stats.connections_active, 0u);
    EXPECT_EQ(upstream.stats.requests_active, 0u);
  }
  EXPECT_TRUE(world.run_until([&] { return origin.open() == 0; }, 60s));
  EXPECT_EQ(origin.stats.requests_active, 0u);
}

void stress_many(const Codecs& codecs) {
  SimFaults faults;
  faults.reset = 0.3;
  faults.reset_within = 2s;
  Tally tally;
  for_each_seed(25, [&](SimWorld& world) { stress(world, codecs, tally); }, faults);
  // The chaos must leave something to check, and must have happened.
  EXPECT_GT(tally.complete, tally.calls / 3);
  EXPECT_GT(tally.broken, tally.calls / 100);
  EXPECT_GT(tally.dropped, tally.calls / 100);
  EXPECT_GT(tally.refused, tally.calls / 100);
  testing::Test::RecordProperty("calls", tally.calls);
  testing::Test::RecordProperty("complete", tally.complete);
  testing::Test::RecordProperty("broken", tally.broken);
}

TEST(DuplexStress, EveryCallEndsAndEveryByteIsRightOverHttp1) {
  stress_many({Codec::kHttp1, Codec::kHttp1});
}

TEST(DuplexStress, EveryCallEndsAndEveryByteIsRightFromHttp1ToHttp2) {
  stress_many({Codec::kHttp1, Codec::kHttp2});
}

TEST(DuplexStress, EveryCallEndsAndEveryByteIsRightFromHttp2ToHttp1) {
  stress_many({Codec::kHttp2, Codec::kHttp1});
}

TEST(DuplexStress, EveryCallEndsAndEveryByteIsRightOverHttp2) {
  stress_many({Codec::kHttp2, Codec::kHttp2});
}

}  // namespace
}  // namespace glia
