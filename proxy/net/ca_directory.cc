#include "proxy/net/ca_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "proxy/base/file.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

Error trouble(std::string_view doing, const std::string& path) {
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot ", doing, " ", path, ": ", std::strerror(errno)));
}

// Held while files are made, so that two sidecars that start together agree.
class Lock {
 public:
  explicit Lock(const std::string& path)
      : fd_(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) {
    held_ = fd_ >= 0 && ::flock(fd_, LOCK_EX) == 0;
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_ = false;
};

// Nothing if there is no such file.
Result<std::optional<std::string>> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file && errno == ENOENT) return std::optional<std::string>();
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) return trouble("read", path);
  return std::optional(std::move(text));
}

Result<void> write_file(const std::string& path, std::string_view text, mode_t mode) {
  errno = replace_file(path, text, mode);
  if (errno != 0) return trouble("write", path);
  return {};
}

Result<CertificateAuthority> load(const std::string& directory, std::string_view certificate,
                                  std::string_view key, std::string_view trust_domain,
                                  WallTime now) {
  Result<CertificateAuthority> loaded = CertificateAuthority::load(certificate, key);
  if (!loaded) return std::move(loaded).error().in(directory);
  if (loaded->trust_domain() != trust_domain) {
    return invalid(cat(directory, " holds the authority of trust domain ", loaded->trust_domain(),
                       ", but the Mesh object says ", trust_domain,
                       "; set spec.trustDomain back, or give another --ca-dir"));
  }
  if (loaded->not_after() <= now) {
    return invalid(cat("the authority in ", directory,
                       " has expired; give another --ca-dir to all "
                       "sidecars of the mesh"));
  }
  return loaded;
}

}  // namespace

Result<CertificateAuthority> open_ca_directory(const std::string& directory,
                                               std::string_view trust_domain, WallTime now) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return trouble("make", directory);
  const std::string certificate_path = cat(directory, "/", kCaCertificateFile);
  const std::string key_path = cat(directory, "/", kCaKeyFile);
  const std::string lock_path = cat(directory, "/lock");
  std::optional<Lock> lock;
  // A directory that has both files may be read-only.
  if (::access(certificate_path.c_str(), F_OK) != 0) {
    lock.emplace(lock_path);
    if (!lock->held()) return trouble("lock", lock_path);
  }
  TRY(const std::optional<std::string> certificate, read_file(certificate_path));
  TRY(const std::optional<std::string> key, read_file(key_path));
  if (certificate && key) return load(directory, *certificate, *key, trust_domain, now);
  if (certificate) {
    return invalid(cat(directory, " has ", kCaCertificateFile, " but no ", kCaKeyFile,
                       "; put the key back, or remove both"));
  }
  // A key alone is of a run that was cut off: nothing was signed with it yet.
  TRY(CertificateAuthority made, CertificateAuthority::create(trust_domain, now, kCaLifetime));
  TRY_VOID(write_file(key_path, made.private_key(), 0600));
  TRY_VOID(write_file(certificate_path, made.certificate(), 0644));
  LOG(info, "made the certificate authority of trust domain ", trust_domain, " in ", directory);
  return made;
}

}  // namespace glia
