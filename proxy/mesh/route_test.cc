#include "proxy/mesh/route.h"

#include <gtest/gtest.h>

#include "proxy/http/message.h"

namespace glia {
namespace {

PathMatch path(PathMatch::Kind kind, std::string text) {
  using Kind = PathMatch::Kind;
  const auto text_kind = kind == Kind::kExact   ? TextMatcher::Kind::kExact
                         : kind == Kind::kRegex ? TextMatcher::Kind::kRegex
                                                : TextMatcher::Kind::kPrefix;
  return {.kind = kind, .text = *TextMatcher::create(text_kind, std::move(text))};
}

VirtualHost host(std::string name, std::vector<std::string> domains) {
  VirtualHost host{.name = std::move(name), .domains = std::move(domains)};
  host.routes.push_back(Route{.name = host.name, .direct = DirectAction{}});
  return host;
}

struct RouteTableTest : testing::Test {
  ArenaRef arena = ArenaRef::create();

  std::string host_of(const RouteTable& table, std::string_view authority) {
    const VirtualHost* found = table.host_for(authority);
    return found == nullptr ? "none" : found->name;
  }
  bool takes(const RouteMatch& match, std::string_view path, std::string_view type = "") {
    Request request{arena};
    request.method = "GET";
    request.path = path;
    if (!type.empty()) request.headers.add("content-type", type);
    return matches(match, request);
  }
};

TEST_F(RouteTableTest, HashesWhatSaysWhoseSessionItIs) {
  using From = SessionKey::From;
  Headers headers(arena);
  EXPECT_FALSE(hash_of({.name = "x-user"}, headers));
  headers.add("x-user", "a");
  headers.add("cookie", "b=c; user=\"a\"; user=d");
  const uint64_t of_a = 0xD24EC4F1A98C6E5B;  // XXH64("a", seed 0)
  EXPECT_EQ(hash_of({.name = "x-user"}, headers), of_a);
  EXPECT_EQ(hash_of({.from = From::kCookie, .name = "user"}, headers), of_a);
  EXPECT_FALSE(hash_of({.from = From::kCookie, .name = "User"}, headers));
  headers.set("x-user", "");
  EXPECT_FALSE(hash_of({.name = "x-user"}, headers));
}

TEST_F(RouteTableTest, PrefersExactThenLongestSuffixThenLongestPrefixThenAny) {
  std::vector<VirtualHost> hosts;
  hosts.push_back(host("any", {"*"}));
  hosts.push_back(host("exact", {"reco.shop", "reco.shop:8080"}));
  hosts.push_back(host("suffix", {"*.shop"}));
  hosts.push_back(host("longer suffix", {"*.eu.shop"}));
  hosts.push_back(host("prefix", {"reco.*"}));
  hosts.push_back(host("longer prefix", {"reco.test.*"}));
  const RouteTable table("t", "", std::move(hosts));
  EXPECT_EQ(host_of(table, "RECO.shop"), "exact");
  EXPECT_EQ(host_of(table, "reco.shop:8080"), "exact");
  EXPECT_EQ(host_of(table, "a.shop"), "suffix");
  EXPECT_EQ(host_of(table, "a.eu.shop"), "longer suffix");
  EXPECT_EQ(host_of(table, "reco.test"), "prefix");
  EXPECT_EQ(host_of(table, "reco.test.org"), "longer prefix");
  EXPECT_EQ(host_of(table, "reco.shop:81"), "prefix");  // The port is part of the domain.
  EXPECT_EQ(host_of(table, ".shop"), "any");            // A wildcard is at least one character.
  EXPECT_EQ(host_of(table, ""), "any");
  EXPECT_EQ(host_of(table, std::string(100'000, 'a')), "any");
}

TEST_F(RouteTableTest, WithoutAnyHostThereIsNoRoute) {
  std::vector<VirtualHost> hosts;
  hosts.push_back(host("a", {"a.com"}));
  const RouteTable table("t", "", std::move(hosts));
  Request request{arena};
  request.path = "/";
  request.authority = "b.com";
  EXPECT_EQ(table.route_for(request), nullptr);
  request.authority = "a.com";
  ASSERT_NE(table.route_for(request), nullptr);
  EXPECT_EQ(table.route_for(request)->name, "a");
}

TEST_F(RouteTableTest, PathsAreMatchedWithoutTheQuery) {
  using Kind = PathMatch::Kind;
  EXPECT_TRUE(takes({.path = path(Kind::kExact, "/a")}, "/a?x=1"));
  EXPECT_TRUE(takes({.path = path(Kind::kPrefix, "/a")}, "/ab"));
  EXPECT_FALSE(takes({.path = path(Kind::kPathSeparatedPrefix, "/a")}, "/ab"));
  EXPECT_TRUE(takes({.path = path(Kind::kPathSeparatedPrefix, "/a")}, "/a/b"));
  EXPECT_TRUE(takes({.path = path(Kind::kPathSeparatedPrefix, "/a")}, "/a?b"));
  EXPECT_TRUE(takes({.path = path(Kind::kRegex, "/a/[0-9]+")}, "/a/7?b"));
}

TEST_F(RouteTableTest, QueryParametersAndGrpc) {
  const auto query = [](std::string name, std::optional<TextMatcher> value) {
    RouteMatch match{.path = path(PathMatch::Kind::kPrefix, "/")};
    match.query.push_back({.name = std::move(name), .value = std::move(value)});
    return match;
  };
  EXPECT_TRUE(takes(query("debug", {}), "/?x=1&debug"));
  EXPECT_FALSE(takes(query("debug", {}), "/?x=debug"));
  EXPECT_TRUE(takes(query("x", TextMatcher::exact("1")), "/?x=1&x=2#y"));
  EXPECT_FALSE(takes(query("x", TextMatcher::exact("2")), "/?x=1&x=2"));
  const RouteMatch grpc{.path = path(PathMatch::Kind::kPrefix, "/"), .grpc = true};
  EXPECT_TRUE(takes(grpc, "/s/m", "application/grpc+proto"));
  EXPECT_FALSE(takes(grpc, "/s/m", "application/json"));
}

}  // namespace
}  // namespace glia
