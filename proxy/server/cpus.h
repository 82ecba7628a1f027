// How many processors this process may use: what it is pinned to, and at most what its cgroup pays
// for. More workers than that would only take turns.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace glia {

// At least 1.
uint32_t usable_cpus();

// "cpu.max" of cgroup v2, "150000 100000" -> 2: rounded up. Nothing for "max".
std::optional<uint32_t> cpus_of_quota(std::string_view cpu_max);
// The smallest quota from the cgroup that `self` ("/proc/self/cgroup") names up to `root`
// ("/sys/fs/cgroup"). Nothing without cgroup v2 or without a quota.
std::optional<uint32_t> cgroup_cpus(const std::string& root, const std::string& self);

}  // namespace glia
