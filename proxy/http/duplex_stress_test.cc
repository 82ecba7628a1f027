// Thousands of echoed calls through a proxy, full duplex, while streams are dropped and whole
// connections break on every side; each echoed byte is checked, each call must end, nothing may
// stay.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <list>

#include "proxy/http/duplex_test_support.h"
#include "proxy/http/h1_test_support.h"

namespace glia {
namespace {

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

struct Codecs {
  Codec downstream;
  Codec upstream;
};

// Everything of one world; chaos() is called between turns.
class Stress {
 public:
  Stress(SimWorld& world, const Codecs& codecs, Tally& tally)
      : world_(world),
        random_(world.seed() * 77),
        echo_(random_, Mood::kMoody),
        origin_(world, echo_, codecs.upstream, "10.0.0.1"),
        // Some seeds have many calls on few connections.
        crowded_(world.seed() % 3 == 0),
        upstream_(std::make_unique<Pool>(world, "10.0.0.3", origin_.address(), codecs.upstream,
                                         crowded_ ? 3 : 10)),
        forward_(*upstream_),
        proxy_(std::make_unique<ServerRig>(world, forward_, codecs.downstream, "10.0.0.3")),
        clients_(std::make_unique<Pool>(world, "10.0.0.2", proxy_->address(), codecs.downstream,
                                        crowded_ ? 3 : 10)),
        tally_(tally) {
    if (world.seed() % 2 == 0) {
      for (ServerRig* server : {&origin_, proxy_.get()}) squeeze(server->options.limits);
      for (Pool* pool : {upstream_.get(), clients_.get()}) squeeze(pool->options.limits);
    }
  }

  void run() {
    const int callers = crowded_ ? 40 : 8;
    for (int i = 0; i < callers; ++i) {
      callers_.emplace_back(world_, *clients_, tally_,
                            world_.seed() * 100 + static_cast<uint64_t>(i),
                            Caller::Habits{.calls = crowded_ ? 5 : 25});
      callers_.back().start();
    }
    const auto done = [&] {
      return std::ranges::all_of(callers_, [](auto& c) { return c.done(); });
    };
    const Duration limit = world_.passed() + 600s;
    while (!done() && world_.passed() < limit) {
      world_.run_until(done, Duration(random_.below(60'000'000)));
      chaos();
    }
    EXPECT_TRUE(done()) << "calls hang";
    callers_.clear();
    leave_nothing();
  }

 private:
  // Breaks things now and then.
  void chaos() {
    switch (random_.below(8)) {
      case 0: return origin_.drop_one();
      case 1: return proxy_->drop_one();
      case 2: return upstream_->drop_one(random_);
      case 3: return clients_->drop_one(random_);
      case 4: return upstream_->drain_one();
      case 5: return proxy_->drain();
      case 6:
        if (random_.below(5) == 0) world_.fabric().reset_all(origin_.address());
        return;
      default:
        std::next(callers_.begin(), static_cast<std::ptrdiff_t>(random_.below(callers_.size())))
            ->hang_up();
    }
  }

  void leave_nothing() {
    // A call that was dropped counts until its reset has left.
    EXPECT_TRUE(world_.run_until([&] { return clients_->stats.requests_active == 0; }, 10s));
    clients_.reset();
    EXPECT_TRUE(world_.run_until([&] { return proxy_->open() == 0; }, 60s));
    EXPECT_EQ(proxy_->stats.requests_active, 0u);
    EXPECT_EQ(proxy_->stats.connections_active, 0u);
    EXPECT_EQ(upstream_->stats.requests_active, 0u);
    proxy_.reset();
    upstream_.reset();
    EXPECT_TRUE(world_.run_until([&] { return origin_.open() == 0; }, 60s));
    EXPECT_EQ(origin_.stats.requests_active, 0u);
    EXPECT_EQ(world_.fabric().open_streams(), 0u);
  }

  SimWorld& world_;
  Random random_;
  CheckingEcho echo_;
  ServerRig origin_;
  const bool crowded_;
  std::unique_ptr<Pool> upstream_;
  ProxyService forward_;
  std::unique_ptr<ServerRig> proxy_;
  std::unique_ptr<Pool> clients_;
  Tally& tally_;
  std::list<Caller> callers_;
};

void stress_many(const Codecs& codecs) {
  SimFaults faults;
  faults.reset = 0.3;
  faults.reset_within = 2s;
  Tally tally;
  for_each_seed(seeds(100), [&](SimWorld& world) { Stress(world, codecs, tally).run(); }, faults);
  EXPECT_EQ(tally.ended(), tally.calls);
  if (std::getenv("GLIA_SIM_SEED") != nullptr) return;
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
