#include "proxy/server/cgroup.h"

#include <fstream>
#include <iterator>

#include "proxy/base/text.h"

namespace glia {
namespace {

// "0::/system.slice/glia.service" -> "/system.slice/glia.service"
std::string own_cgroup(std::string_view proc_self_cgroup) {
  const std::size_t at = proc_self_cgroup.find("0::/");
  if (at != 0 && (at == proc_self_cgroup.npos || proc_self_cgroup[at - 1] != '\n')) return "";
  const std::string_view path = proc_self_cgroup.substr(at + 3);
  return std::string(path.substr(0, path.find('\n')));
}

}  // namespace

std::string file_contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> cgroup_values(const std::string& root, const std::string& self,
                                       const std::string& file) {
  std::vector<std::string> values;
  std::string path = own_cgroup(file_contents(self));
  // Inside a container the path may not exist below root, but then root is the container's own.
  for (;;) {
    values.push_back(file_contents(cat(root, path, "/", file)));
    if (path.empty()) return values;
    path.resize(path.rfind('/'));
  }
}

}  // namespace glia
