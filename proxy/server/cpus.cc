#include "proxy/server/cpus.h"

#include <sched.h>

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/server/cgroup.h"

namespace glia {

std::optional<uint32_t> cpus_of_quota(std::string_view cpu_max) {
  const std::string_view line = trim(cpu_max, " \t\n");
  const std::size_t space = line.find(' ');
  if (space == line.npos) return {};
  const auto quota = parse_decimal(line.substr(0, space));
  const auto period = parse_decimal(line.substr(space + 1));
  if (!quota || !period || *quota == 0 || *period == 0) return {};
  return static_cast<uint32_t>(std::min<uint64_t>((*quota + *period - 1) / *period, UINT32_MAX));
}

std::optional<uint32_t> cgroup_cpus(const std::string& root, const std::string& self) {
  std::optional<uint32_t> least;
  for (const std::string& quota : cgroup_values(root, self, "cpu.max")) {
    if (const auto cpus = cpus_of_quota(quota)) least = std::min(*cpus, least.value_or(*cpus));
  }
  return least;
}

uint32_t usable_cpus() {
  cpu_set_t pinned;
  CPU_ZERO(&pinned);
  const bool known = sched_getaffinity(0, sizeof pinned, &pinned) == 0;
  const auto cpus = static_cast<uint32_t>(known ? CPU_COUNT(&pinned) : 1);
  return std::max(1u, std::min(cpus, cgroup_cpus(kCgroupRoot, kOwnCgroup).value_or(cpus)));
}

}  // namespace glia
