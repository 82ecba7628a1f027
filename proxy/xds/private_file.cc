#include "proxy/xds/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proxy/base/file.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

Error trouble(std::string_view doing, const std::string& path) {
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot ", doing, " ", path, ": ", std::strerror(errno)));
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }

 private:
  const int number_;
};

Result<std::string> read_all(int file, const std::string& path, std::size_t most) {
  std::string content;
  char piece[65536];
  while (true) {
    const ssize_t size = ::read(file, piece, sizeof piece);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return trouble("read", path);
    if (size == 0) return content;
    content.append(piece, static_cast<std::size_t>(size));
    if (content.size() > most) return invalid(cat(path, " is larger than ", most, " bytes"));
  }
}

}  // namespace

Result<void> write_private_file(const std::string& directory, std::string_view name,
                                std::string_view content) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return trouble("make", directory);
  const std::string path = cat(directory, "/", name);
  errno = replace_file(path, content, 0600);
  if (errno != 0) return trouble("write", path);
  return {};
}

Result<std::optional<std::string>> read_private_file(const std::string& directory,
                                                     std::string_view name, std::size_t most) {
  const std::string path = cat(directory, "/", name);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (file.number() < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return trouble("read", path);
  }
  struct stat facts = {};
  if (::fstat(file.number(), &facts) != 0) return trouble("read", path);
  if (!S_ISREG(facts.st_mode)) return invalid(cat(path, " is no file"));
  // Its own group may: kubelet gives it that right where a pod has an fsGroup.
  const mode_t writers = facts.st_gid == ::getegid() ? S_IWOTH : S_IWGRP | S_IWOTH;
  const bool ours = facts.st_uid == 0 || facts.st_uid == ::geteuid();
  if (!ours || (facts.st_mode & writers) != 0) {
    return invalid(cat(path, " can be written by others, so it is not trusted; delete it"));
  }
  TRY(std::string content, read_all(file.number(), path, most));
  return std::optional<std::string>(std::move(content));
}

}  // namespace glia
