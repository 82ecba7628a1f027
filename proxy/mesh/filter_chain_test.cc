#include "proxy/mesh/filter_chain.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

FilterChain chain(std::string name, std::vector<std::string> server_names = {},
                  std::string transport = "", std::vector<std::string> protocols = {},
                  std::optional<uint16_t> port = {}) {
  FilterChain made;
  made.name = std::move(name);
  made.server_names = std::move(server_names);
  made.transport = std::move(transport);
  made.application_protocols = std::move(protocols);
  made.destination_port = port;
  return made;
}

std::string chosen(const std::vector<FilterChain>& chains, const ConnectionFacts& facts) {
  const FilterChain* found = choose_chain(chains, facts);
  return found == nullptr ? "none" : found->name;
}

TEST(ChooseChain, PrefersTheMostSpecificServerName) {
  std::vector<FilterChain> chains;
  chains.push_back(chain("any"));
  chains.push_back(chain("wide", {"*.com"}));
  chains.push_back(chain("wild", {"*.a.com"}));
  chains.push_back(chain("exact", {"x.a.com", "y.a.com"}));
  const auto name = [&](std::string_view server_name) {
    return chosen(chains, {.tls = true, .server_name = server_name});
  };
  EXPECT_EQ(name("x.a.com"), "exact");
  EXPECT_EQ(name("z.a.com"), "wild");
  EXPECT_EQ(name("a.com"), "wide");
  EXPECT_EQ(name("b.org"), "any");
  EXPECT_EQ(name(""), "any");
}

TEST(ChooseChain, TellsClearTextFromTls) {
  std::vector<FilterChain> chains;
  chains.push_back(chain("secure", {}, "tls"));
  chains.push_back(chain("clear", {}, "raw_buffer"));
  EXPECT_EQ(chosen(chains, {.tls = true}), "secure");
  EXPECT_EQ(chosen(chains, {.tls = false}), "clear");
}

TEST(ChooseChain, LooksAtThePortFirstAndNeverGoesBack) {
  std::vector<FilterChain> chains;
  chains.push_back(chain("port", {"a.com"}, "", {}, 443));
  chains.push_back(chain("any"));
  EXPECT_EQ(chosen(chains, {.destination_port = 443, .tls = true, .server_name = "a.com"}), "port");
  EXPECT_EQ(chosen(chains, {.destination_port = 443, .tls = true, .server_name = "b.com"}), "none");
  EXPECT_EQ(chosen(chains, {.destination_port = 80}), "any");
}

FilterChain to(std::string name, const char* prefix, uint32_t bits,
               std::optional<uint16_t> port = {}) {
  FilterChain made = chain(std::move(name), {}, "", {}, port);
  made.destinations.push_back(*CidrRange::create(prefix, bits));
  return made;
}

TEST(ChooseChain, PrefersTheLongestPrefixOfTheDestination) {
  std::vector<FilterChain> chains;
  chains.push_back(to("wide", "10.0.0.0", 8));
  chains.push_back(to("one", "10.96.0.5", 32));
  chains.push_back(to("six", "fd00::5", 128));
  chains.push_back(chain("rest"));
  const auto at = [&](const char* ip) {
    const Address address = *Address::ip(ip, 5432);
    return chosen(chains, {.destination_port = 5432, .destination = &address});
  };
  EXPECT_EQ(at("10.96.0.5"), "one");
  EXPECT_EQ(at("10.96.0.6"), "wide");
  EXPECT_EQ(at("fd00::5"), "six");
  EXPECT_EQ(at("192.0.2.1"), "rest");
  EXPECT_EQ(chosen(chains, {.destination_port = 5432}), "rest");
}

TEST(ChooseChain, OfADestinationThatSaysEnoughNothingIsWaitedFor) {
  std::vector<FilterChain> chains;
  chains.push_back(to("database", "10.96.0.5", 32, 5432));
  chains.push_back(chain("secure", {}, "tls"));
  chains.push_back(chain("rest"));
  const Address database = *Address::ip("10.96.0.5", 5432), other = *Address::ip("10.96.0.5", 80);
  EXPECT_TRUE(needs_inspection(chains));
  EXPECT_FALSE(needs_inspection(chains, {.destination_port = 5432, .destination = &database}));
  EXPECT_TRUE(needs_inspection(chains, {.destination_port = 80, .destination = &other}));
}

TEST(ChooseChain, MatchesAnOfferedProtocol) {
  std::vector<FilterChain> chains;
  chains.push_back(chain("mesh", {}, "tls", {"glia"}));
  chains.push_back(chain("rest", {}, "tls"));
  EXPECT_EQ(chosen(chains, {.tls = true, .application_protocols = {"h2", "glia"}}), "mesh");
  EXPECT_EQ(chosen(chains, {.tls = true, .application_protocols = {"h2"}}), "rest");
}

TEST(NeedsInspection, OnlyIfAChainAsksForWhatTheClientSendsFirst) {
  std::vector<FilterChain> chains;
  chains.push_back(chain("any", {}, "", {}, 443));
  EXPECT_FALSE(needs_inspection(chains));
  chains.push_back(chain("clear", {}, "raw_buffer"));
  EXPECT_TRUE(needs_inspection(chains));
}

}  // namespace
}  // namespace glia
