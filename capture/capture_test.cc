#include "capture/capture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "capture/command.h"
#include "capture/kernel.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

namespace fs = std::filesystem;

const std::string kDashes = "--------------------------------------------------\n";

// What `flags` ("--mode tproxy" a line) say.
WrittenCapture written(const std::string& flags) {
  WrittenCapture out;
  const std::map<std::string, std::string*> known = {
      {"--backend", &out.backend},
      {"--mode", &out.mode},
      {"--families", &out.families},
      {"--outbound-port", &out.outbound_port},
      {"--inbound-port", &out.inbound_port},
      {"--proxy-uid", &out.proxy_uid},
      {"--proxy-gid", &out.proxy_gid},
      {"--include-inbound-ports", &out.include_inbound_ports},
      {"--exclude-inbound-ports", &out.exclude_inbound_ports},
      {"--include-outbound-ports", &out.include_outbound_ports},
      {"--exclude-outbound-ports", &out.exclude_outbound_ports},
      {"--include-outbound-networks", &out.include_outbound_networks},
      {"--exclude-outbound-networks", &out.exclude_outbound_networks},
      {"--include-interfaces", &out.include_interfaces},
      {"--exclude-interfaces", &out.exclude_interfaces},
      {"--exclude-uids", &out.exclude_uids},
      {"--exclude-gids", &out.exclude_gids}};
  std::istringstream lines(flags);
  for (std::string flag, value; lines >> flag >> value;) {
    EXPECT_TRUE(known.contains(flag)) << flag;
    if (known.contains(flag)) *known.at(flag) = value;
  }
  return out;
}

std::string outcome(const std::string& flags) {
  const Result<Capture> capture = read_capture(written(flags));
  return capture ? printed(*capture) : capture.error().message() + "\n";
}

// Each *.txt of test/golden/capture is flags, a line of dashes, and the rules. To accept what changed:
// GLIA_UPDATE_GOLDEN=$PWD/test/golden/capture with --test_env, then look at the diff.
TEST(Capture, EveryGoldenFileBecomesTheRulesThatItSays) {
  const char* const update = std::getenv("GLIA_UPDATE_GOLDEN");
  int files = 0;
  for (const auto& entry : fs::directory_iterator(update ? update : "test/golden/capture")) {
    if (entry.path().extension() != ".txt") continue;
    ++files;
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const std::string whole = text.str();
    const std::size_t dashes = std::min(whole.find(kDashes), whole.size());
    const std::string flags = whole.substr(0, dashes);
    const std::string now = flags + kDashes + outcome(flags);
    if (update) {
      std::ofstream(entry.path()) << now;
    } else {
      EXPECT_EQ(now, whole) << entry.path();
    }
  }
  EXPECT_GE(files, 8);
}

std::string refusal(const std::string& flags) {
  const Result<Capture> capture = read_capture(written(flags));
  return capture ? "taken" : capture.error().message();
}

TEST(Capture, RefusesWhatItCannotMeanWithAFix) {
  EXPECT_EQ(refusal("--exclude-inbound-ports 80,90000"),
            "--exclude-inbound-ports 90000: not a port; write 8080, or a range as 8000-8010");
  EXPECT_EQ(refusal("--include-outbound-ports 90-80"),
            "--include-outbound-ports 90-80: not a port; write 8080, or a range as 8000-8010");
  EXPECT_EQ(
      refusal("--exclude-outbound-networks 10.0.0.0/33"),
      "--exclude-outbound-networks 10.0.0.0/33: not a network; write 10.0.0.0/8, 192.0.2.7 or "
      "fd00::/8");
  EXPECT_EQ(
      refusal("--exclude-interfaces eth0\";drop"),
      "--exclude-interfaces eth0\";drop: not the name of an interface, as in eth1 or docker0");
  EXPECT_EQ(refusal("--exclude-uids root"),
            "--exclude-uids root: not the number of a user or group; `id -u NAME` says it");
  EXPECT_EQ(refusal("--proxy-uid 0"),
            "--proxy-uid 0: the proxy must not run as root: give it a user of its own");
  EXPECT_EQ(refusal("--mode divert"), "--mode divert: is none of redirect, tproxy");
  EXPECT_EQ(
      refusal("--inbound-port 15001"),
      "--outbound-port and --inbound-port are both 15001; the proxy tells the directions apart "
      "by them, so give two");
  EXPECT_NE(refusal("--exclude-inbound-ports 80,,81").find("an entry is empty"), std::string::npos);
}

TEST(Capture, TakesAThousandEntriesAndNoMore) {
  std::string ports = "1000";
  for (int i = 1; i < 990; ++i) ports += cat(",", 1000 + 2 * i);
  EXPECT_EQ(refusal("--exclude-inbound-ports " + ports), "taken");
  for (int i = 990; i < 1002; ++i) ports += cat(",", 1000 + 2 * i);
  EXPECT_NE(refusal("--exclude-inbound-ports " + ports).find("at most 1000"), std::string::npos);
}

TEST(Capture, NetworksThatOverlapBecomeOne) {
  const auto capture = read_capture(
      written("--exclude-outbound-networks 10.1.0.0/16,10.0.0.0/8,10.2.3.4,10.0.0.0/8,fd00::1/8"));
  ASSERT_TRUE(capture.ok());
  ASSERT_EQ(capture->exclude_outbound_networks.size(), 2u);
  EXPECT_EQ(capture->exclude_outbound_networks[0].address(), "10.0.0.0");
  EXPECT_EQ(capture->exclude_outbound_networks[1].address(), "fd00::");
}

TEST(Capture, PortsThatTouchBecomeOneRange) {
  const auto capture = read_capture(written("--exclude-outbound-ports 81,80,82-90,85,54"));
  ASSERT_TRUE(capture.ok());
  EXPECT_EQ(capture->exclude_outbound_ports,
            (std::vector<PortRange>{{53, 54}, {80, 90}}));  // 53 is DNS.
}

TEST(Command, GivesInputAndReturnsWhatWasWritten) {
  const auto ran = run_command({"cat"}, std::string(300'000, 'x'));
  ASSERT_TRUE(ran.ok());
  EXPECT_EQ(ran->status, 0);
  EXPECT_EQ(ran->output.size(), 300'000u);
}

TEST(Command, ArgumentsAreWordsAndNotAShellsText) {
  const auto ran = run_command({"echo", "$(id) ; `id` 'x'"});
  ASSERT_TRUE(ran.ok());
  EXPECT_EQ(ran->output, "$(id) ; `id` 'x'\n");
}

TEST(Command, ThatIsMissingIsNamed) {
  const auto ran = run_command({"glia-no-such-program"});
  ASSERT_FALSE(ran.ok());
  EXPECT_EQ(ran.error().message(), "cannot run glia-no-such-program: No such file or directory");
}

TEST(Command, TellsHowItFailed) {
  const auto ran = run_command({"cat", "/no/such/file"});
  ASSERT_TRUE(ran.ok());
  EXPECT_EQ(ran->status, 1);
  EXPECT_NE(ran->errors.find("/no/such/file"), std::string::npos);
}

}  // namespace
}  // namespace glia
