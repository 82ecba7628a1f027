#include "vm/hosts.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace glia {
namespace {

const NamedAddresses kNames = {{"10.96.0.1", {"reco", "reco.default"}},
                               {"fd00::1", {"db.default"}}};

TEST(HostsFile, GetsABlockAndIsAfterwardsAsItWas) {
  for (const std::string before :
       {"127.0.0.1 localhost\n", "", "127.0.0.1 localhost", "\n\n# mine\n10.0.0.1 own\n\n"}) {
    const std::string with = with_names(before, kNames);
    EXPECT_NE(with.find("\n10.96.0.1 reco reco.default\n"), with.npos) << with;
    EXPECT_NE(with.find("\nfd00::1 db.default\n"), with.npos);
    EXPECT_EQ(without_names(with), before);
    EXPECT_EQ(with_names(with, kNames), with);
  }
}

TEST(HostsFile, WhatSomebodyWroteBehindTheBlockStays) {
  const std::string with = with_names("127.0.0.1 localhost\n", kNames) + "10.0.0.9 later\n";
  EXPECT_EQ(without_names(with), "127.0.0.1 localhost\n10.0.0.9 later\n");
  const std::string other = with_names(with, {{"10.96.0.2", {"other"}}});
  EXPECT_EQ(without_names(other), "127.0.0.1 localhost\n10.0.0.9 later\n");
  EXPECT_EQ(other.find("reco"), other.npos);
}

TEST(HostsFile, ALineBehindABlockThatBeganOnALineOfItsOwnStaysALine) {
  const std::string with = with_names("127.0.0.1 localhost", kNames) + "10.0.0.9 later\n";
  EXPECT_EQ(without_names(with), "127.0.0.1 localhost\n10.0.0.9 later\n");
}

TEST(HostsFile, NamesThatItGivesItselfAreLeftToIt) {
  const std::string with = with_names("10.0.0.1 RECO\n", kNames);
  EXPECT_NE(with.find("\n10.96.0.1 reco.default\n"), with.npos) << with;
  EXPECT_EQ(with_names("10.0.0.1 a\n", {{"10.96.0.1", {"a"}}}), "10.0.0.1 a\n");
}

TEST(HostsFile, HalfABlockIsSomebodysOwn) {
  const std::string with = with_names("", kNames);
  const std::string cut = with.substr(0, with.size() - 2);
  EXPECT_EQ(without_names(cut), cut);
}

TEST(HostsFile, IsWrittenWholeWithItsRightsAndOnlyIfThatIsNew) {
  std::string directory = testing::TempDir() + "hosts_XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/hosts";
  std::ofstream(path) << "127.0.0.1 localhost\n";
  ::chmod(path.c_str(), 0644);
  EXPECT_TRUE(*write_names(path, kNames));
  EXPECT_FALSE(*write_names(path, kNames));
  struct stat is;
  ASSERT_EQ(::stat(path.c_str(), &is), 0);
  EXPECT_EQ(is.st_mode & 07777, 0644u);
  EXPECT_TRUE(*write_names(path, {}));
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), "127.0.0.1 localhost\n");
  EXPECT_FALSE(write_names(directory + "/nothing", kNames).ok());
  ::unlink(path.c_str());
  ::rmdir(directory.c_str());
}

TEST(NamesOfServices, AreThoseOfRoutesAndOfRelayedPortsWithAnAddress) {
  const auto names = named_addresses(R"({"configs": [{"dynamic_route_configs": [{"route_config": {
    "virtual_hosts": [
      {"domains": ["reco", "reco:80", "reco.default", "reco.default:80", "10.96.0.1", "10.96.0.1:80"]},
      {"domains": ["six", "[fd00::1]", "[fd00::1]:80"]},
      {"domains": ["no-address", "no-address:80"]}, {"domains": ["*"]}]}}]},
    {"dynamic_listeners": [{"filter_chains": [
      {"filter_chain_match": {"prefix_ranges": [{"address_prefix": "10.96.0.3", "prefix_len": 32}]},
       "filters": [{"typed_config": {"cluster": "outbound:5432:db.prod"}}]},
      {"filters": [{"typed_config": {"cluster": "passthrough"}}]}]}]}]})");
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(*names,
            (NamedAddresses{{"10.96.0.1", {"reco", "reco.default"}},
                            {"10.96.0.3", {"db.prod", "db.prod.svc", "db.prod.svc.cluster.local"}},
                            {"fd00::1", {"six"}}}));
}

TEST(NamesOfServices, NothingGetsIntoTheFileThatIsNoName) {
  const auto names = named_addresses(
      R"({"configs": [{"virtual_hosts": [{"domains": ["a b", "x\n10.0.0.1", "localhost", "-f", "ok",
         "10.96.0.1"]}]}]})");
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(*names, (NamedAddresses{{"10.96.0.1", {"ok"}}}));
  EXPECT_FALSE(named_addresses("").ok());
  EXPECT_FALSE(named_addresses("[]").ok());
}

}  // namespace
}  // namespace glia
