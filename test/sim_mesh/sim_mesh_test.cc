// A whole mesh in virtual time, changed and broken while it is used. A failure names its seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "test/sim_mesh/mesh_scenario.h"

namespace glia {
namespace {

class SimMesh : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    set_log_level(std::getenv("GLIA_SIM_SEED") != nullptr ? LogLevel::debug : LogLevel::off);
    office_ = std::make_unique<SimOffice>("sim.mesh");
  }
  static void TearDownTestSuite() { office_.reset(); }

  static std::unique_ptr<MeshScenario> scenario(SimWorld& world) {
    return std::make_unique<MeshScenario>(world, *office_);
  }
  // Says which requests did not end as they must.
  static void expect_all_answered(const MeshScenario& mesh) {
    for (const Trial& sent : mesh.requests()) {
      EXPECT_EQ(mesh.wrong_with(sent), "") << mesh.describe(sent);
    }
  }
  static void expect_at_rest(const MeshScenario& mesh) {
    for (const std::string& line : mesh.left_over()) ADD_FAILURE() << line;
  }

  // Made once: no scenario asks it to remember anything.
  static inline std::unique_ptr<SimOffice> office_;
};

// Weights at random; nothing goes to what is not in service, and something to something.
void choose_weights(SimWorld& world, MeshPlan& plan) {
  int sum = 0;
  for (std::size_t i = 0; i < MeshPlan::kApps; ++i) {
    plan.weights[i] = plan.in_service[i] ? static_cast<int>(world.random().below(4)) : 0;
    sum += plan.weights[i];
  }
  if (sum > 0) return;
  for (std::size_t i = 0; i < MeshPlan::kApps; ++i) plan.weights[i] = plan.in_service[i] ? 1 : 0;
}

// One edit of a kind that must not hurt anybody.
void edit_something(SimWorld& world, MeshScenario& mesh) {
  MeshPlan& plan = mesh.plan();
  switch (world.random().below(5)) {
    case 0: {
      auto& one = plan.in_service[world.random().below(MeshPlan::kApps)];
      one = !one;
      if (std::ranges::count(plan.in_service, true) == 0) one = true;
      break;
    }
    case 1: plan.deny_secret = !plan.deny_secret; break;
    case 2: plan.extra_service = !plan.extra_service; break;
    case 3: return mesh.control().edit("kind: Nonsense\n");  // Changes nothing.
    default: break;
  }
  choose_weights(world, plan);
  mesh.edit();
}

void change_something(SimWorld& world, MeshScenario& mesh) {
  if (!mesh.control().alive()) {
    mesh.edit();  // While nobody looks.
    mesh.control().start();
  } else if (world.random().below(6) == 0) {
    mesh.control().die();
  } else {
    edit_something(world, mesh);
  }
}

TEST_F(SimMesh, NoRequestFailsWhileTheMeshChanges) {
  for_each_seed(seeds(200), [](SimWorld& world) {
    auto mesh = scenario(world);
    ASSERT_TRUE(mesh->settle(30s));
    for (int step = 0; step < 15; ++step) {
      mesh->send_some(4);
      mesh->pass(Duration(world.random().below(40'000'000)));
      change_something(world, *mesh);
      mesh->send_some(4);
      mesh->pass(Duration(world.random().below(300'000'000)));
    }
    EXPECT_TRUE(mesh->finish(10s));
    if (!mesh->control().alive()) mesh->control().start();
    mesh->edit();
    ASSERT_TRUE(mesh->settle(60s));
    expect_all_answered(*mesh);
    mesh->pass(1s);
    expect_at_rest(*mesh);
  });
}

// Breaks something, or mends it.
void break_something(SimWorld& world, MeshScenario& mesh) {
  const std::string ip = MeshPlan::ip(world.random().below(MeshPlan::kApps));
  switch (world.random().below(8)) {
    case 0: return world.fabric().kill(ip);
    case 1:
    case 2: return world.fabric().revive(ip);
    case 3: return world.fabric().partition(ip, MeshScenario::kFront);
    case 4: return world.fabric().heal(ip, MeshScenario::kFront);
    case 5: return world.fabric().reset_all(*Address::ip(ip, 8080));
    default: return change_something(world, mesh);
  }
}

void mend_everything(SimWorld& world, MeshScenario& mesh) {
  world.fabric().faults().reset = 0;
  world.fabric().faults().refuse = 0;
  for (std::size_t i = 0; i < MeshPlan::kApps; ++i) {
    world.fabric().revive(MeshPlan::ip(i));
    world.fabric().heal(MeshPlan::ip(i), MeshScenario::kFront);
  }
  if (!mesh.control().alive()) mesh.control().start();
  mesh.edit();
}

TEST_F(SimMesh, EveryRequestEndsInTimeWhateverBreaks) {
  const SimFaults faults{.most_latency = 5ms, .refuse = 0.02, .reset = 0.1};
  for_each_seed(
      seeds(200),
      [](SimWorld& world) {
        auto mesh = scenario(world);
        ASSERT_TRUE(mesh->settle(200s));
        for (int step = 0; step < 15; ++step) {
          mesh->send_some(4);
          mesh->pass(Duration(world.random().below(100'000'000)));
          break_something(world, *mesh);
          mesh->send_some(4);
          mesh->pass(Duration(world.random().below(1'000'000'000)));
        }
        // The route's time, and a little for the way to the sidecar and back. Only reco has a route.
        const Duration longest = std::chrono::seconds(mesh->plan().timeout_s) + 1s;
        mesh->pass(longest);
        for (const Trial& sent : mesh->requests()) {
          if (sent.host != "reco") continue;
          EXPECT_TRUE(sent.answer->finished && sent.ended - sent.at <= longest)
              << to_ms(sent.ended - sent.at) << " ms: " << mesh->describe(sent);
        }
        if (HasFailure()) expect_at_rest(*mesh);  // Who has it in hand?
        mend_everything(world, *mesh);
        ASSERT_TRUE(mesh->settle(200s));
        // A connect that was under way has its time, three times.
        EXPECT_TRUE(mesh->finish(16s));
        for (const Trial& sent : mesh->requests()) {
          if (sent.answer->status != 200 || !sent.answer->error.empty()) continue;
          EXPECT_EQ(mesh->wrong_with(sent), "") << mesh->describe(sent);
        }
        mesh->pass(15s);
        expect_at_rest(*mesh);
        mesh->forget_requests();
        for (int i = 0; i < 10; ++i) mesh->send();
        EXPECT_TRUE(mesh->finish(longest));
        expect_all_answered(*mesh);
      },
      faults);
}

TEST_F(SimMesh, WeightsAreKeptAndAPolicyHoldsOnceItIsInForce) {
  for_each_seed(seeds(5), [](SimWorld& world) {
    auto mesh = scenario(world);
    mesh->plan().weights = {7, 2, 1};
    mesh->plan().deny_secret = true;
    mesh->edit();
    ASSERT_TRUE(mesh->settle(30s));
    constexpr int kRequests = 500;
    for (int i = 0; i < kRequests; ++i) {
      mesh->send();
      mesh->pass(5ms);
    }
    ASSERT_TRUE(mesh->finish(10s));
    expect_all_answered(*mesh);
    std::map<std::string, int> share;
    for (const Trial& sent : mesh->requests()) ++share[sent.answer->header("x-app")];
    // Five standard deviations of a binomial distribution.
    EXPECT_NEAR(share["a"], 350, 52);
    EXPECT_NEAR(share["b"], 100, 45);
    EXPECT_NEAR(share["c"], 50, 34);

    mesh->forget_requests();
    for (int i = 0; i < 10; ++i) mesh->send("/secret");
    ASSERT_TRUE(mesh->finish(10s));
    for (const Trial& sent : mesh->requests())
      EXPECT_EQ(sent.answer->status, 403) << mesh->describe(sent);
    mesh->pass(1s);
    expect_at_rest(*mesh);
  });
}

}  // namespace
}  // namespace glia
