#include "proxy/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace glia {
namespace {

// A new name is on the disk only once its directory is.
bool sync_directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string directory =
      slash == path.npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  const int opened = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return false;
  const bool synced = ::fsync(opened) == 0;
  const int why = errno;
  ::close(opened);
  errno = why;
  return synced;
}

}  // namespace

bool write_whole(int file, std::string_view content) {
  while (!content.empty()) {
    const ssize_t wrote = ::write(file, content.data(), content.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return ::fsync(file) == 0;
}

int replace_file(const std::string& path, std::string_view content, mode_t mode,
                 std::optional<FileOwner> owner) {
  const std::string fresh = path + ".glia-new";
  ::unlink(fresh.c_str());  // Of a run that was cut off.
  const int file = ::open(fresh.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return errno;
  const bool written = (!owner || ::fchown(file, owner->user, owner->group) == 0) &&
                       ::fchmod(file, mode) == 0 && write_whole(file, content);
  int why = errno;
  ::close(file);
  if (written && ::rename(fresh.c_str(), path.c_str()) == 0) {
    return sync_directory_of(path) ? 0 : errno;
  }
  if (written) why = errno;
  ::unlink(fresh.c_str());  // It may be what filled the disk.
  return why;
}

}  // namespace glia
