#include "test/sim/sim.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "proxy/base/text.h"

namespace glia {

SimWorld::SimWorld(uint64_t seed, SimFaults faults)
    : seed_(seed),
      time_(*new VirtualTime()),
      loop_(std::unique_ptr<LoopBackend>(&time_)),
      random_(seed),
      fabric_(loop_, seed ^ 0x5EEDF00D5EEDF00D, faults) {}

SimWorld::~SimWorld() { loop_.turn(Duration(0)); }

bool SimWorld::run_until(const std::function<bool()>& done, Duration limit) {
  const TimePoint end = loop_.clock().now() + limit;
  for (int turns = 0; !done(); ++turns) {
    CHECK(turns < kMostTurns);
    const Duration left = end - loop_.clock().now();
    if (left <= Duration(0)) return false;
    loop_.turn(left);
  }
  return true;
}

void SimWorld::run_for(Duration time) {
  run_until([] { return false; }, time);
}

int seeds(int usual) {
  bool sanitizer = false;
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  sanitizer = true;
#endif
#endif
  const bool longer = std::getenv("GLIA_LONG") != nullptr;
  return std::max(1, usual * (longer ? 10 : 1) / (sanitizer ? 10 : 1));
}

namespace {

std::string replay(uint64_t seed) {
  const char* const target = std::getenv("TEST_TARGET");  // Set by Bazel.
  const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
  return cat(
      "bazel test ", target == nullptr ? "TARGET" : target,
      test == nullptr ? "" : cat(" --test_filter=", test->test_suite_name(), ".", test->name()),
      " --test_env=GLIA_SIM_SEED=", seed);
}

}  // namespace

void for_each_seed(int count, const std::function<void(SimWorld&)>& scenario,
                   const SimFaults& faults) {
  uint64_t first = 1;
  uint64_t last = static_cast<uint64_t>(count);
  if (const char* chosen = std::getenv("GLIA_SIM_SEED"); chosen != nullptr) {
    const std::optional<uint64_t> seed = parse_decimal(chosen);
    ASSERT_TRUE(seed.has_value()) << "GLIA_SIM_SEED=" << chosen << " is not a number";
    first = last = *seed;
  }
  for (uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE(cat("seed ", seed, "; run it alone with: ", replay(seed)));
    SimWorld world(seed, faults);
    scenario(world);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace glia
