#include "proxy/xds/identity_file.h"

#include "proxy/base/text.h"
#include "proxy/xds/private_file.h"

namespace glia {
namespace {

constexpr std::string_view kChain = "# certificate chain\n";
constexpr std::string_view kBundle = "# trust bundle\n";

constexpr std::size_t kMostIdentity = 1 << 20;  // bytes

}  // namespace

Result<void> write_identity_file(const std::string& directory, const HeldIdentity& identity) {
  return write_private_file(
      directory, kIdentityFile,
      cat("# Identity of ", identity.spiffe_id, "; holds its private key.\n", identity.private_key,
          kChain, identity.certificate_chain, kBundle, identity.trust_bundle));
}

Result<std::optional<HeldIdentity>> read_identity_file(const std::string& directory) {
  const std::string path = cat(directory, "/", kIdentityFile);
  TRY(const auto content, read_private_file(directory, kIdentityFile, kMostIdentity));
  if (!content) return std::optional<HeldIdentity>();
  const std::string& text = *content;
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
