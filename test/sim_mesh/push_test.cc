// The promise that a change of the mesh loses no request and cuts no stream: pushes of every kind
// at random, in virtual time, while HTTP/1.1, HTTP/2 and slow streams go on all the time.
//
// With GLIA_LONG the whole promise: 1,000 pushes under more than 200,000 requests.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "test/sim_mesh/mesh_scenario.h"

namespace glia {
namespace {

// Weights at random; nothing goes to what is not in service, and something to something.
void choose_weights(Random& random, MeshPlan& plan) {
  int sum = 0;
  for (std::size_t i = 0; i < MeshPlan::kApps; ++i) {
    plan.weights[i] = plan.in_service[i] ? static_cast<int>(random.below(4)) : 0;
    sum += plan.weights[i];
  }
  if (sum > 0) return;
  for (std::size_t i = 0; i < MeshPlan::kApps; ++i) plan.weights[i] = plan.in_service[i] ? 1 : 0;
}

void change_endpoints(Random& random, MeshPlan& plan) {
  bool& one = plan.in_service[random.below(MeshPlan::kApps)];
  one = !one;
  if (std::ranges::count(plan.in_service, true) == 0) one = true;
  choose_weights(random, plan);
}

void change_traffic(Random& random, MeshPlan& plan) {
  constexpr std::array<const char*, 4> kSpecs = {
      "", "balancing: Random", "balancing: RoundRobin, timeouts: {idle: 1m}",
      "retry: {on: [ConnectFailure], attempts: 2}, timeouts: {backendRequest: 4s}"};
  plan.traffic = kSpecs[random.below(kSpecs.size())];
}

constexpr int kKindsOfPush = 10;

void push(int kind, Random& random, MeshScenario& mesh) {
  MeshPlan& plan = mesh.plan();
  switch (kind) {
    case 0: choose_weights(random, plan); break;
    case 1: change_endpoints(random, plan); break;
    case 2: plan.deny_secret = !plan.deny_secret; break;
    case 3: plan.extra_service = !plan.extra_service; break;
    case 4: ++plan.generation; break;  // Every cluster that the route names gets another name.
    case 5: plan.port_name = plan.port_name == "http" ? "web" : "http"; break;  // Listeners, too.
    case 6: plan.extra_port = !plan.extra_port; break;
    case 7: change_traffic(random, plan); break;
    case 8: return mesh.renew_certificate(random.below(1 + MeshPlan::kApps));
    default: return mesh.control().edit("kind: Nonsense\n");  // Changes nothing.
  }
  mesh.edit();
}

struct Load {
  int pushes, requests_per_push;
};

class Promise {
 public:
  Promise(SimWorld& world, MeshScenario& mesh) : world_(world), mesh_(mesh) {}

  void run(const Load& load) {
    ASSERT_TRUE(mesh_.settle(30s));
    for (int i = 0; i < load.pushes && !testing::Test::HasFailure(); ++i) {
      keep_streams();
      push(static_cast<int>(world_.random().below(kKindsOfPush)), world_.random(), mesh_);
      send(load.requests_per_push);
      if (world_.random().below(4) == 0) ASSERT_TRUE(mesh_.settle(30s));
      look();
    }
    ASSERT_TRUE(mesh_.finish(30s));
    look();
    EXPECT_GE(requests_, load.pushes * load.requests_per_push);
    EXPECT_GE(streams_, load.pushes / 20);
    mesh_.edit();
    ASSERT_TRUE(mesh_.settle(60s));
    mesh_.pass(1s);
    for (const std::string& line : mesh_.left_over()) ADD_FAILURE() << line;
  }

 private:
  static constexpr Duration kPace =
      100ms;  // 60 pieces: each stream lives through dozens of pushes.
  static constexpr std::size_t kStreams = 6;

  void keep_streams() {
    const auto& now = mesh_.requests();
    const auto slow = [](const Trial& sent) { return sent.body.size() > 2000; };
    for (auto n = std::ranges::count_if(now, slow); n < static_cast<int>(kStreams); ++n) {
      mesh_.send_small(host(), kPace);
      ++streams_;
    }
  }

  void send(int requests) {
    constexpr int kAtOnce = 5;
    for (int sent = 0; sent < requests; sent += kAtOnce) {
      for (int i = 0; i < kAtOnce; ++i) mesh_.send_small(host());
      mesh_.pass(Duration(world_.random().below(10'000'000)));
    }
  }

  std::string host() { return world_.random().below(3) == 0 ? "pool" : "reco"; }

  void look() {
    for (const Trial& sent : mesh_.take_ended()) {
      ++requests_;
      EXPECT_EQ(mesh_.wrong_with(sent), "") << mesh_.describe(sent);
    }
  }

  SimWorld& world_;
  MeshScenario& mesh_;
  int requests_ = 0, streams_ = 0;
};

TEST(PushTest, NoRequestFailsAndNoStreamIsCutWhateverIsPushed) {
  set_log_level(std::getenv("GLIA_SIM_SEED") != nullptr ? LogLevel::debug : LogLevel::off);
  const bool whole = std::getenv("GLIA_LONG") != nullptr;
  const Load load = whole ? Load{1000, 205} : Load{60, 40};
  SimOffice office("sim.mesh");
  for_each_seed(whole ? 1 : seeds(5), [&](SimWorld& world) {
    MeshScenario mesh(world, office);
    Promise(world, mesh).run(load);
  });
}

}  // namespace
}  // namespace glia
