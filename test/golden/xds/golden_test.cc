// Each *.txt here is a bootstrap, a line of dashes, and what becomes of it: the printed drawing, or
// all error sentences. A bootstrap that is the one line "file: configs/x.yaml" is read from there.
//
// To accept what changed: GLIA_UPDATE_GOLDEN=$PWD/test/golden/xds with --test_env, then look at the
// diff.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "proxy/net/x509.h"
#include "proxy/xds/file.h"
#include "proxy/xds/print.h"

namespace glia {
namespace {

namespace fs = std::filesystem;

const std::string kDashes = "--------------------------------------------------\n";

std::string read(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Certificates {
  std::string authority;
  Identity identity;
};

Certificates make_certificates() {
  const WallTime now = SystemClock().wall_now();
  const auto authority = CertificateAuthority::create("shop.example", now, 24h);
  EXPECT_TRUE(authority.ok());
  const auto identity =
      issue(*authority, {.uri_san = "spiffe://shop.example/ns/shop/sa/reco", .now = now});
  EXPECT_TRUE(identity.ok());
  return {authority->certificate(), *identity};
}

std::string drawn(const Draft& draft, Freezer& freezer) {
  const auto snapshot = freezer.freeze(draft);
  if (!snapshot.ok()) return snapshot.error().message() + "\n";
  std::string text = print(**snapshot);
  for (const std::string& waits : freezer.warming()) text += waits + "\n";
  return text;
}

std::string outcome(const std::string& text, const std::string& file,
                    const Certificates& certificates) {
  Errors errors;
  auto bootstrap = parse_bootstrap(text, file, {}, errors);
  if (!bootstrap) {
    std::string all;
    for (const std::string& sentence : errors.sentences()) all += sentence + "\n";
    return all;
  }
  Freezer freezer(bootstrap->node);
  std::string out = drawn(bootstrap->draft, freezer);
  if (freezer.warming().empty()) return out;
  bootstrap->draft.set_secret({.name = "default",
                               .certificate_chain = certificates.identity.certificate,
                               .private_key = certificates.identity.private_key});
  bootstrap->draft.set_secret({.name = "ROOTCA", .trusted_ca = certificates.authority});
  return out + "with the secrets default and ROOTCA:\n" + drawn(bootstrap->draft, freezer);
}

TEST(Golden, EveryFileBecomesWhatItSays) {
  const Certificates certificates = make_certificates();
  const fs::path scratch = std::getenv("TEST_TMPDIR");
  fs::create_directories(scratch / "certs");
  std::ofstream(scratch / "certs/gateway.pem") << certificates.identity.certificate;
  std::ofstream(scratch / "certs/gateway.key") << certificates.identity.private_key;
  const fs::path root = fs::current_path();
  const char* update = std::getenv("GLIA_UPDATE_GOLDEN");
  int files = 0;
  for (const auto& entry : fs::directory_iterator(root / "test/golden/xds")) {
    if (entry.path().extension() != ".txt") continue;
    ++files;
    const std::string all = read(entry.path());
    const std::size_t cut = all.find(kDashes);
    ASSERT_TRUE(cut != all.npos || update != nullptr)
        << entry.path() << " has no line of 50 dashes";
    const std::string input = all.substr(0, cut);
    std::string name = entry.path().stem().string() + ".yaml", text = input;
    if (input.starts_with("file: ")) {
      name = input.substr(6, input.size() - 7);
      text = read(root / name);
      ASSERT_FALSE(text.empty()) << name;
    }
    ASSERT_EQ(chdir(scratch.c_str()), 0);
    const std::string got = outcome(text, name, certificates);
    ASSERT_EQ(chdir(root.c_str()), 0);
    if (update != nullptr) {
      std::ofstream(fs::path(update) / entry.path().filename()) << input << kDashes << got;
    } else {
      EXPECT_EQ(got, all.substr(cut + kDashes.size())) << entry.path();
    }
  }
  EXPECT_GE(files, 6);
}

// Every file in configs/ has a golden file that names it.
TEST(Golden, EveryConfigurationIsTried) {
  std::string named;
  for (const auto& entry : fs::directory_iterator("test/golden/xds"))
    named += read(entry.path()).substr(0, 200);
  for (const auto& entry : fs::directory_iterator("configs")) {
    if (entry.path().extension() != ".yaml") continue;
    EXPECT_NE(named.find("file: " + entry.path().string() + "\n"), std::string::npos)
        << entry.path() << " has no golden file";
  }
}

}  // namespace
}  // namespace glia
