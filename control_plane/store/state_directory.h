// StateDirectory: where a control plane keeps its database and sockets, for one process at a time.
//
// A second process would take over the sockets and sign beside the first, so the directory is
// locked while it is in use; the kernel drops the lock with the process, however that ends.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "proxy/base/result.h"

namespace glia {

class StateDirectory {
 public:
  // Makes the directory (mode 0700) with its parents if it is missing, and locks it.
  static Result<StateDirectory> open(const std::string& path);
  StateDirectory(StateDirectory&& other) noexcept
      : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}
  StateDirectory& operator=(StateDirectory&&) = delete;
  ~StateDirectory();

  // The path of a file in it.
  std::string file(std::string_view name) const;

 private:
  StateDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_;  // Descriptor of the lock file.
};

}  // namespace glia
