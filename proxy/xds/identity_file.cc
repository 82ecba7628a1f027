#include "proxy/xds/identity_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kChain = "# certificate chain\n";
constexpr std::string_view kBundle = "# trust bundle\n";

Error trouble(std::string_view doing, const std::string& path) {
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot ", doing, " ", path, ": ", std::strerror(errno)));
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(file, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return ::fsync(file) == 0;
}

}  // namespace

Result<void> write_identity_file(const std::string& directory, const HeldIdentity& identity) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return trouble("make", directory);
  const std::string path = cat(directory, "/", kIdentityFile), fresh = path + ".new";
  ::unlink(fresh.c_str());  // Of a run that was cut off.
  const int file = ::open(fresh.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return trouble("create", fresh);
  const bool written =
      write_all(file, cat("# Identity of ", identity.spiffe_id, "; holds its private key.\n",
                          identity.private_key, kChain, identity.certificate_chain, kBundle,
                          identity.trust_bundle));
  ::close(file);
  if (!written) return trouble("write", fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return trouble("replace", path);
  return {};
}

Result<std::optional<HeldIdentity>> read_identity_file(const std::string& directory) {
  const std::string path = cat(directory, "/", kIdentityFile);
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno == ENOENT) return std::optional<HeldIdentity>();
    return trouble("read", path);
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t key = text.find('\n'), chain = text.find(kChain), bundle = text.find(kBundle);
  if (key == std::string::npos || chain == std::string::npos || bundle == std::string::npos ||
      key > chain || chain > bundle) {
    return invalid(cat(path, " is not an identity that this program wrote"));
  }
  const std::size_t chain_text = chain + kChain.size();
  Result<HeldIdentity> identity =
      make_identity(text.substr(chain_text, bundle - chain_text),
                    text.substr(key + 1, chain - key - 1), text.substr(bundle + kBundle.size()));
  if (!identity) return std::move(identity).error().in(path);
  return std::optional<HeldIdentity>(*std::move(identity));
}

}  // namespace glia
