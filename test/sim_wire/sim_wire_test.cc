// The wire in virtual time: callers, one to three proxies and origins, over HTTP/1.1 and HTTP/2, in
// networks that delay, split and break, while the proxies' drawings change.
//
// Each seed is another world. Whatever happens in it: no byte of one stream is seen in another, every
// call ends in exactly one way and in time, the proxies' counts add up, and in the end nothing is
// left: no exchange, no lease, no connection, no memory.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <list>
#include <memory>
#include <sstream>
#include <vector>

#include "proxy/base/pool.h"
#include "proxy/http/duplex_test_support.h"
#include "proxy/http/h1_test_support.h"
#include "test/harness/mesh_world.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/allocator_interface.h>
#define GLIA_COUNTS_BYTES
#endif
#endif

namespace glia {
namespace {

constexpr char kService[] = "service", kSpare[] = "spare";  // The clusters of each proxy.
constexpr Duration kRouteTimeout = 3s;
constexpr Duration kConnectTimeout = 1s;

Codec some_codec(Random& random) { return random.below(2) == 0 ? Codec::kHttp1 : Codec::kHttp2; }

// An origin: an echo at an address of its own.
struct Origin {
  Origin(SimWorld& world, Random& random, Mood mood, const std::string& at)
      : ip(at), echo(random, mood), rig(world, echo, Codec::kAuto, at) {}
  const std::string ip;
  CheckingEcho echo;
  ServerRig rig;
};

// A proxy, and which of the addresses behind it each of its clusters has.
class Hop {
 public:
  Hop(SimWorld& world, Random& random, Mood mood, const std::string& ip,
      std::vector<Address> behind)
      : random_(random),
        mood_(mood),
        ip_(ip),
        behind_(std::move(behind)),
        squeezed_(random.below(3) == 0) {
    start(world);
  }

  MeshWorld& world() { return *world_; }
  const std::string& ip() const { return ip_; }

  // A new process at the same place: its connections break, its counts begin at 0.
  void restart(SimWorld& world) {
    world_.reset();
    start(world);
  }

  // Another drawing. In a calm world it must not hurt any request.
  void redraw() {
    switch (random_.below(6)) {
      case 0: choose_endpoints(); break;
      case 1: choose_weights(); break;
      case 2: spare_ = !spare_; break;
      case 3: {
        ClusterConfig& cluster = world_->cluster(kService);
        cluster.codec = cluster.codec == Codec::kHttp1 ? Codec::kHttp2 : Codec::kHttp1;
        break;
      }
      case 4:
        world_->manager().server.limits.requests_per_connection =
            static_cast<uint32_t>(random_.below(20));
        break;
      default: break;  // The same again.
    }
    publish();
  }

  void drain() { world_->worker().discourage(false); }

  // No clusters any more: their connections end.
  void forget_upstreams() {
    world_->route().forward.reset();
    world_->route().direct = DirectAction{.status = 404};
    world_->remove_cluster(kService);
    world_->remove_cluster(kSpare);
    world_->publish();
  }

 private:
  void start(SimWorld& world) {
    world_ = std::make_unique<MeshWorld>(world, Codec::kHttp1, Codec::kHttp1, ip_);
    world_->route().forward->timeout = kRouteTimeout;
    if (squeezed_) squeeze(world_->manager().server.limits);
    choose_endpoints();
    choose_weights();
    publish();
  }

  // Which of the addresses each cluster has; at least one, unless the world is not calm.
  void choose_endpoints() {
    for (const char* name : {kService, kSpare}) {
      for (const Address& address : behind_) world_->remove_endpoint(address.ip_text(), name);
      const std::size_t kept = mood_ == Mood::kMoody && random_.below(8) == 0
                                   ? behind_.size()
                                   : random_.below(behind_.size());
      for (std::size_t i = 0; i < behind_.size(); ++i) {
        if (i == kept || random_.below(2) == 0) world_->add_endpoint(behind_[i], name);
      }
    }
  }

  void choose_weights() {
    for (uint32_t& weight : weights_) weight = static_cast<uint32_t>(random_.below(4));
    if (weights_[0] + weights_[1] == 0) weights_[0] = 1;
  }

  void publish() {
    ForwardAction& forward = *world_->route().forward;
    forward.clusters = {{.cluster = kService, .weight = 1}};
    forward.total_weight = 1;
    if (spare_) {
      forward.clusters = {{.cluster = kService, .weight = weights_[0]},
                          {.cluster = kSpare, .weight = weights_[1]}};
      forward.total_weight = weights_[0] + weights_[1];
    } else {
      world_->remove_cluster(kSpare);
    }
    for (const char* name : {kService, kSpare}) {
      if (name == kSpare && !spare_) continue;
      ClusterConfig& cluster = world_->cluster(name);
      cluster.connect_timeout = kConnectTimeout;
      if (squeezed_) squeeze(cluster.http);
      if (mood_ == Mood::kMoody) {
        cluster.limits = {.connections = 2 + static_cast<uint32_t>(random_.below(30)),
                          .pending_requests = 1 + static_cast<uint32_t>(random_.below(30)),
                          .requests = 4 + static_cast<uint32_t>(random_.below(60))};
      }
    }
    world_->publish();
  }

  Random& random_;
  const Mood mood_;
  const std::string ip_;
  const std::vector<Address> behind_;
  const bool squeezed_;
  uint32_t weights_[2] = {1, 1};
  bool spare_ = true;
  std::unique_ptr<MeshWorld> world_;
};

// The sum of a metric over its labels; 0 if there is none.
uint64_t metric(const std::string& page, const std::string& name) {
  std::istringstream lines(page);
  uint64_t sum = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name) || (line[name.size()] != '{' && line[name.size()] != ' ')) continue;
    sum += parse_decimal(std::string_view(line).substr(line.rfind(' ') + 1)).value_or(0);
  }
  return sum;
}

class Wire {
 public:
  Wire(SimWorld& world, Mood mood, Tally& tally)
      : world_(world), mood_(mood), random_(world.seed() * 77 + 1), tally_(tally) {
    choose_network();
    std::vector<Address> origins, backs;
    for (int i = 1; i <= 3; ++i) {
      origins_.emplace_back(world, random_, mood, cat("10.0.2.", i));
      origins.push_back(origins_.back().rig.address());
    }
    for (uint64_t i = random_.below(3); i > 0; --i) {
      hops_.emplace_back(world, random_, mood, cat("10.0.1.", i), origins);
      backs.push_back(hops_.back().world().address());
    }
    hops_.emplace_back(world, random_, mood, "10.0.0.1", backs.empty() ? origins : backs);
    for (int i = 1; i <= 2; ++i) {
      clients_.push_back(std::make_unique<Pool>(world, cat("10.0.9.", i), front().world().address(),
                                                some_codec(random_)));
      if (random_.below(3) == 0) squeeze(clients_.back()->options.limits);
    }
  }

  void run() {
    constexpr int kCallers = 6;
    for (int i = 0; i < kCallers; ++i) {
      const Caller::Habits habits{
          .calls = 6,
          .mood = mood_,
          // Above 64 KiB, HTTP/1 passes bodies through a pipe.
          .largest_body = uint64_t{random_.below(4) == 0 ? 300'000u : 60'000u},
          .pause_one_in = random_.below(4) == 0 ? 3 : 50};
      callers_.emplace_back(world_, *clients_[static_cast<std::size_t>(i) % 2], tally_,
                            world_.seed() * 10 + static_cast<uint64_t>(i), habits);
      callers_.back().start();
    }
    const auto done = [&] {
      return std::ranges::all_of(callers_, [](auto& c) { return c.done(); });
    };
    for (int step = 0; step < kSteps && !done(); ++step) {
      world_.run_until(done, Duration(random_.below(40'000'000)));
      some_hop().redraw();
      if (mood_ == Mood::kMoody) break_something();
    }
    mend();
    EXPECT_TRUE(world_.run_until(done, 120s)) << "calls hang";
    for (const Caller& caller : callers_) {
      if (mood_ == Mood::kCalm) EXPECT_EQ(caller.trouble(), "");
    }
    callers_.clear();
    leave_nothing();
  }

 private:
  static constexpr int kSteps = 60;

  Hop& front() { return hops_.back(); }
  Hop& some_hop() {
    return *std::next(hops_.begin(), static_cast<std::ptrdiff_t>(random_.below(hops_.size())));
  }
  Origin& some_origin() {
    return *std::next(origins_.begin(),
                      static_cast<std::ptrdiff_t>(random_.below(origins_.size())));
  }

  void choose_network() {
    SimFaults& faults = world_.fabric().faults();
    faults.most_latency = Duration(100'000 + random_.below(5'000'000));
    faults.short_read = faults.short_write = random_.below(3) == 0 ? 0.6 : 0.1;
    faults.pipe_capacity = random_.below(3) == 0 ? 2'000 : 64 * 1024;
    if (mood_ == Mood::kCalm) return;
    faults.refuse = 0.05;
    faults.reset = 0.3;
  }

  void break_something() {
    SimFabric& fabric = world_.fabric();
    switch (random_.below(14)) {
      case 0: return some_origin().rig.drop_one();
      case 1: return some_origin().rig.drain();
      case 2: return fabric.reset_all(some_origin().rig.address());
      case 3: return fabric.kill(some_origin().ip);
      case 4: return fabric.revive(some_origin().ip);
      case 5: return fabric.partition(some_origin().ip, some_hop().ip());
      case 6: return mend();
      case 7: return clients_[random_.below(2)]->drop_one(random_);
      case 8: return clients_[random_.below(2)]->drain_one();
      case 9: return fabric.reset_all(some_hop().world().address());
      case 10: return some_hop().drain();
      case 11:
        if (random_.below(4) == 0) some_hop().restart(world_);
        return;
      default:
        std::next(callers_.begin(), static_cast<std::ptrdiff_t>(random_.below(callers_.size())))
            ->hang_up();
    }
  }

  void mend() {
    for (Origin& origin : origins_) {
      world_.fabric().revive(origin.ip);
      for (Hop& hop : hops_) world_.fabric().heal(origin.ip, hop.ip());
    }
  }

  void leave_nothing() {
    for (const auto& client : clients_) {
      // A call that was dropped counts until its reset has left.
      EXPECT_TRUE(world_.run_until([&] { return client->stats.requests_active == 0; }, 10s));
    }
    clients_.clear();
    world_.run_for(kRouteTimeout + 5s);
    for (Hop& hop : hops_) expect_at_rest(hop);
    for (auto hop = hops_.rbegin(); hop != hops_.rend(); ++hop) hop->forget_upstreams();
    world_.run_for(1s);
    for (Hop& hop : hops_) {
      EXPECT_EQ(hop.world().worker().connections(), 0u) << "to proxy " << hop.ip();
    }
    for (Origin& origin : origins_) EXPECT_EQ(origin.rig.open(), 0u) << "to origin " << origin.ip;
    EXPECT_EQ(world_.fabric().open_streams(), 0u);
  }

  void expect_at_rest(Hop& hop) {
    SCOPED_TRACE(cat("proxy ", hop.ip()));
    for (const std::string& exchange : hop.world().worker().exchanges()) {
      ADD_FAILURE() << "still there: " << exchange;
    }
    const std::string page = hop.world().metrics();
    for (const char* gauge : {"envoy_http_downstream_rq_active", "envoy_cluster_upstream_rq_active",
                              "envoy_cluster_upstream_rq_pending_active"}) {
      EXPECT_EQ(metric(page, gauge), 0u) << gauge;
    }
    for (const EndpointRow& row : hop.world().worker().endpoints()) {
      EXPECT_EQ(row.rq_active, 0u) << row.cluster << " " << row.address;
      EXPECT_LE(row.rq_success + row.rq_error, row.rq_total) << row.cluster << " " << row.address;
    }
    // Each request that came in has ended once, with a status or without.
    const uint64_t requests = metric(page, "envoy_http_downstream_rq_total");
    const uint64_t answered = metric(page, "envoy_http_downstream_rq_xx");
    EXPECT_EQ(metric(page, "envoy_http_downstream_rq_time_count"), requests);
    EXPECT_LE(answered, requests);
    EXPECT_LE(requests - answered,
              metric(page, "envoy_http_downstream_cx_destroy_remote_active_rq") +
                  metric(page, "envoy_http_downstream_rq_timeout"));
    if (mood_ == Mood::kCalm) EXPECT_EQ(answered, requests);
  }

  SimWorld& world_;
  const Mood mood_;
  Random random_;
  Tally& tally_;
  std::list<Origin> origins_;
  std::list<Hop> hops_;  // From the back to the front.
  std::vector<std::unique_ptr<Pool>> clients_;
  std::list<Caller> callers_;
};

// What the program holds of the heap, as well as that can be told.
std::size_t bytes_held() {
#ifdef GLIA_COUNTS_BYTES
  return __sanitizer_get_current_allocated_bytes();
#else
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd - pool_kept();
#endif
}

void run_worlds(int count, Mood mood) {
  constexpr std::size_t kNoise = 1 << 20;  // bytes: caches of the allocator
  Tally tally;
  int worlds = 0;
  std::size_t at_first = 0;
  for_each_seed(count, [&](SimWorld& world) {
    // By the tenth world whatever is made once has been made.
    if (++worlds == 10) at_first = bytes_held();
    Wire(world, mood, tally).run();
  });
  if (worlds > 10) EXPECT_LT(bytes_held(), at_first + kNoise) << "memory is lost";
  EXPECT_EQ(tally.ended(), tally.calls);
  testing::Test::RecordProperty("calls", tally.calls);
  testing::Test::RecordProperty("complete", tally.complete);
  testing::Test::RecordProperty("refused", tally.refused);
  testing::Test::RecordProperty("broken", tally.broken);
  testing::Test::RecordProperty("dropped", tally.dropped);
  if (std::getenv("GLIA_SIM_SEED") != nullptr) return;
  // The weather must leave something to check, and must have been felt.
  EXPECT_GT(tally.complete, tally.calls / 4);
  if (mood == Mood::kCalm) EXPECT_EQ(tally.complete, tally.calls);
  if (mood == Mood::kMoody) EXPECT_GT(tally.broken + tally.refused, tally.calls / 50);
}

TEST(SimWire, EveryCallIsAnsweredWhileDrawingsChange) { run_worlds(seeds(1000), Mood::kCalm); }

TEST(SimWire, EveryCallEndsOnceAndNothingIsLeftWhateverBreaks) {
  run_worlds(seeds(1000), Mood::kMoody);
}

}  // namespace
}  // namespace glia
