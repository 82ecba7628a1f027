#include "control_plane/store/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "proxy/base/text.h"

namespace glia {
namespace {

Error trouble(std::string message) {
  return Error(ErrorKind::kInternal, Fault::kSelf, std::move(message));
}

}  // namespace

Result<StateDirectory> StateDirectory::open(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::absolute(path).parent_path();
  std::error_code error;
  std::filesystem::create_directories(parent, error);
  if (!error && ::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    error = std::error_code(errno, std::generic_category());
  }
  if (error) return trouble(cat("cannot make the state directory ", path, ": ", error.message()));

  const std::string lock_path = cat(path, "/lock");
  const int lock = ::open(lock_path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (lock < 0) {
    return trouble(cat("cannot write in the state directory ", path, ": ", std::strerror(errno)));
  }
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    return trouble(cat("the state directory ", path,
                       " is in use by another glia-control; stop that "
                       "one, or choose another --state-dir"));
  }
  return StateDirectory(path, lock);
}

StateDirectory::~StateDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

std::string StateDirectory::file(std::string_view name) const { return cat(path_, "/", name); }

}  // namespace glia
