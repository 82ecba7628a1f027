// What the cgroup of this process (version 2) allows it: each file from its own group up to the root.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace glia {

inline constexpr const char* kCgroupRoot = "/sys/fs/cgroup";
inline constexpr const char* kOwnCgroup = "/proc/self/cgroup";

// The whole of a file; "" if it cannot be read.
std::string file_contents(const std::string& path);

// Contents of `file` ("cpu.max") in the cgroup that `self` names and in each one above it, up to
// `root`; "" where there is none. Empty parts without cgroup v2.
std::vector<std::string> cgroup_values(const std::string& root, const std::string& self,
                                       const std::string& file);

}  // namespace glia
