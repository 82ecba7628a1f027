#include "proxy/server/overload.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "proxy/base/text.h"
#include "test/sim/virtual_time.h"

namespace glia {
namespace {

TEST(Pressure, RisesAtItsBarsAndEndsBelowThem) {
  using enum Pressure;
  struct Row {
    uint64_t percent;
    Pressure before, after;
  };
  const Row rows[] = {
      {0, kNone, kNone},    {85, kNone, kNone},    {86, kNone, kShed},     {95, kNone, kShed},
      {96, kNone, kRefuse}, {100, kShed, kRefuse}, {96, kRefuse, kRefuse}, {90, kRefuse, kRefuse},
      {84, kRefuse, kShed}, {84, kShed, kShed},    {81, kShed, kShed},     {80, kShed, kNone},
      {80, kRefuse, kNone}, {81, kNone, kNone},
  };
  constexpr uint64_t kLimit = 1000;
  for (const Row& row : rows) {
    EXPECT_EQ(pressure_of(row.percent * kLimit / 100, kLimit, row.before), row.after)
        << row.percent << " % after " << static_cast<int>(row.before);
  }
}

TEST(Overload, TellsOnceWhenTheLevelChanges) {
  EventLoop loop(std::make_unique<VirtualTime>());
  uint64_t resident = 100;
  std::vector<Pressure> told;
  const Overload overload(
      loop, 1000, [&] { return resident; }, [&](Pressure now) { told.push_back(now); });
  const auto look = [&] {
    for (int i = 0; i < 4; ++i) loop.turn(kMemoryLook);
  };
  look();
  EXPECT_TRUE(told.empty());
  resident = 900;
  look();
  resident = 990;
  look();
  resident = 500;
  look();
  EXPECT_EQ(told, (std::vector<Pressure>{Pressure::kShed, Pressure::kRefuse, Pressure::kNone}));
}

TEST(Overload, ReadsWhatThisProcessHolds) {
  EXPECT_GT(resident_memory(), 1u << 20);
  EXPECT_LT(resident_memory(), 64ull << 30);
}

TEST(Overload, TakesTheLeastLimitOfItsCgroups) {
  const std::string root = cat(::testing::TempDir(), "/overload-cgroup");
  std::filesystem::create_directories(root + "/a/b");
  const auto write = [&](const std::string& path, std::string_view text) {
    std::ofstream(root + path) << text;
  };
  write("/self", "0::/a/b\n");
  const auto limit = [&] { return cgroup_memory(root, root + "/self"); };
  EXPECT_EQ(limit(), std::nullopt);
  write("/a/b/memory.max", "max\n");
  EXPECT_EQ(limit(), std::nullopt);
  write("/a/memory.max", "134217728\n");
  EXPECT_EQ(limit(), 134217728u);
  write("/a/b/memory.max", "67108864\n");
  EXPECT_EQ(limit(), 67108864u);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace glia
