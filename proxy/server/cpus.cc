#include "proxy/server/cpus.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "proxy/base/text.h"

namespace glia {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// "0::/system.slice/glia.service" -> "/system.slice/glia.service"
std::string own_cgroup(std::string_view proc_self_cgroup) {
  const std::size_t at = proc_self_cgroup.find("0::/");
  if (at != 0 && (at == proc_self_cgroup.npos || proc_self_cgroup[at - 1] != '\n')) return "";
  const std::string_view path = proc_self_cgroup.substr(at + 3);
  return std::string(path.substr(0, path.find('\n')));
}

}  // namespace

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
  std::string path = own_cgroup(contents(self));
  // Inside a container the path may not exist below root, but then root is the container's own.
  for (;;) {
    const auto cpus = cpus_of_quota(contents(cat(root, path, "/cpu.max")));
    if (cpus) least = std::min(*cpus, least.value_or(*cpus));
    if (path.empty()) return least;
    path.resize(path.rfind('/'));
  }
}

uint32_t usable_cpus() {
  cpu_set_t pinned;
  CPU_ZERO(&pinned);
  const bool known = sched_getaffinity(0, sizeof pinned, &pinned) == 0;
  const auto cpus = static_cast<uint32_t>(known ? CPU_COUNT(&pinned) : 1);
  return std::max(
      1u, std::min(cpus, cgroup_cpus("/sys/fs/cgroup", "/proc/self/cgroup").value_or(cpus)));
}

}  // namespace glia
