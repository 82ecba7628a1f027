#include "vm/machine.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "proxy/base/text.h"
#include "vm/hosts.h"

namespace glia {
namespace {

namespace fs = std::filesystem;

const std::string kJoin =
    "workload: default/reco\ncontrol: mesh.example:15012\nadmin: \"127.0.0.1:15000\"\n"
    "token: glia-286e\ntrustBundle: |\n  -----BEGIN CERTIFICATE-----\n";

class MachineTest : public testing::Test {
 protected:
  MachineTest() {
    root_ = cat(std::getenv("TEST_TMPDIR"), "/",
                testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    fs::create_directories(root_);
    plan_.root = root_;
    plan_.join_file = kJoin;
  }
  std::string text(std::string_view path) const {
    std::stringstream all;
    all << std::ifstream(cat(root_, path)).rdbuf();
    return all.str();
  }
  int mode(std::string_view path) const {
    struct stat found;
    EXPECT_EQ(::stat(cat(root_, path).c_str(), &found), 0) << path;
    return found.st_mode & 07777;
  }
  std::vector<std::string> all_files() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      if (entry.is_regular_file()) files.push_back(entry.path().string().substr(root_.size()));
    }
    std::ranges::sort(files);
    return files;
  }
  std::string root_;
  VmPlan plan_;
};

TEST(VmToken, IsOneLineAndComesBackAsTheJoinFile) {
  const std::string token = vm_token(kJoin);
  EXPECT_EQ(token.find('\n'), token.npos);
  const auto file = join_file_of(" " + token + "\n");
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_EQ(*file, kJoin);
}

TEST(VmToken, ThatIsCutOffOrOfAnotherKindIsRefusedWithAFix) {
  const std::string token = vm_token(kJoin);
  for (const std::string& wrong : {std::string(), token.substr(0, token.size() / 2),
                                   std::string("glia-286ebd12"), token.substr(1), kJoin}) {
    const auto file = join_file_of(wrong);
    ASSERT_FALSE(file.ok()) << wrong;
    EXPECT_NE(file.error().message().find("glia vm token"), std::string::npos);
  }
}

TEST_F(MachineTest, JoiningWritesASecretForRootAloneAndHardenedUnits) {
  ASSERT_TRUE(join_machine(plan_).ok());
  EXPECT_EQ(mode(kJoinFile), 0600);
  EXPECT_EQ(mode(kProxyUnit), 0644);
  EXPECT_NE(text(kJoinFile).find(kJoin), std::string::npos);
  const std::string proxy = text(kProxyUnit), capture = text(kCaptureUnit);
  EXPECT_NE(proxy.find("\nExecStart=/usr/bin/glia-proxy --join ${CREDENTIALS_DIRECTORY}/join.yaml "
                       "--state-dir /var/lib/glia\n"),
            std::string::npos);
  EXPECT_NE(proxy.find("\nCapabilityBoundingSet=\n"), std::string::npos);
  for (const char* line : {"\nUser=glia\n", "\nNoNewPrivileges=yes\n", "\nProtectSystem=strict\n",
                           "\nMemoryDenyWriteExecute=yes\n", "\nRestart=always\n"}) {
    EXPECT_NE(proxy.find(line), std::string::npos) << line;
  }
  EXPECT_NE(capture.find("\nExecStart=/usr/bin/glia capture install\n"
                         "ExecStart=/usr/bin/glia capture check\n"
                         "ExecStop=/usr/bin/glia capture remove\n"),
            std::string::npos);
  EXPECT_NE(text(kUserFile).find("u glia 1337:1337 "), std::string::npos);
}

TEST_F(MachineTest, FlagsOfCaptureAreThoseOfTheUnit) {
  plan_.capture.mode = "tproxy";
  plan_.capture.exclude_inbound_ports = "80, 9000";
  plan_.capture.proxy_uid = "2000";
  ASSERT_TRUE(join_machine(plan_).ok());
  EXPECT_NE(text(kCaptureUnit)
                .find("capture install --mode tproxy --proxy-uid 2000 "
                      "--exclude-inbound-ports 80,9000\n"),
            std::string::npos);
  EXPECT_NE(text(kProxyUnit).find("\nAmbientCapabilities=CAP_NET_ADMIN\n"), std::string::npos);
  EXPECT_NE(text(kUserFile).find("u glia 2000:1337 "), std::string::npos);
  plan_.capture.exclude_interfaces = "eth0; rm";
  EXPECT_FALSE(join_machine(plan_).ok());
}

TEST_F(MachineTest, JoiningTwiceIsJoiningOnce) {
  ASSERT_TRUE(join_machine(plan_).ok());
  const auto files = all_files();
  const std::string unit = text(kProxyUnit);
  ASSERT_TRUE(join_machine(plan_).ok());
  EXPECT_EQ(all_files(), files);
  EXPECT_EQ(text(kProxyUnit), unit);
}

TEST_F(MachineTest, LeavingTakesAllAway) {
  ASSERT_TRUE(join_machine(plan_).ok());
  fs::create_directories(root_ + "/var/lib/glia");
  std::ofstream(root_ + "/var/lib/glia/identity.pem") << "key";
  const auto gone = leave_machine(root_);
  ASSERT_TRUE(gone.ok()) << gone.error().message();
  EXPECT_EQ(gone->size(), 6u);
  EXPECT_EQ(all_files(), std::vector<std::string>());
  EXPECT_TRUE(leave_machine(root_)->empty());
}

TEST_F(MachineTest, NamesAreKeptByAUnitThatMayWriteTheHostsFileAndNothingElse) {
  ASSERT_TRUE(join_machine(plan_).ok());
  const std::string names = text(kNamesUnit);
  EXPECT_NE(names.find("\nExecStart=/usr/bin/glia vm names --follow\n"
                       "ExecStopPost=/usr/bin/glia vm names --remove\n"),
            std::string::npos);
  EXPECT_NE(names.find("\nReadWritePaths=/etc\n"), std::string::npos);
  EXPECT_NE(names.find("\nProtectSystem=strict\n"), std::string::npos);
  ASSERT_TRUE(leave_machine(root_).ok());
  plan_.names = false;
  ASSERT_TRUE(join_machine(plan_).ok());
  EXPECT_FALSE(fs::exists(cat(root_, kNamesUnit)));
}

TEST_F(MachineTest, LeavingTakesTheNamesOutOfTheHostsFile) {
  ASSERT_TRUE(join_machine(plan_).ok());
  const std::string hosts = cat(root_, kHostsFile), before = "127.0.0.1 localhost";
  std::ofstream(hosts) << before;
  ASSERT_TRUE(*write_names(hosts, {{"10.96.0.1", {"reco"}}}));
  const auto gone = leave_machine(root_);
  ASSERT_TRUE(gone.ok());
  EXPECT_EQ(gone->size(), 6u);
  EXPECT_EQ(text(kHostsFile), before);
  EXPECT_TRUE(leave_machine(root_)->empty());
}

TEST_F(MachineTest, FilesOfOthersAreLeftAlone) {
  fs::create_directories(root_ + "/etc/systemd/system");
  std::ofstream(cat(root_, kProxyUnit)) << "[Unit]\n";
  const auto joined = join_machine(plan_);
  ASSERT_FALSE(joined.ok());
  EXPECT_NE(joined.error().message().find("move it away first"), std::string::npos);
  EXPECT_EQ(all_files(), std::vector<std::string>{std::string(kProxyUnit)});
  EXPECT_FALSE(leave_machine(root_).ok());
  EXPECT_EQ(text(kProxyUnit), "[Unit]\n");
}

}  // namespace
}  // namespace glia
