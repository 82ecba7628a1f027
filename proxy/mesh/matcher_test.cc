#include "proxy/mesh/matcher.h"

#include <gtest/gtest.h>

#include "proxy/http/message.h"

namespace glia {
namespace {

using Kind = TextMatcher::Kind;

bool text_matches(Kind kind, std::string pattern, std::string_view text, bool ignore_case = false) {
  const auto matcher = TextMatcher::create(kind, std::move(pattern), ignore_case);
  return matcher.ok() && matcher->matches(text);
}

TEST(TextMatcher, KnowsAllKinds) {
  EXPECT_TRUE(text_matches(Kind::kExact, "reco", "reco"));
  EXPECT_FALSE(text_matches(Kind::kExact, "reco", "Reco"));
  EXPECT_TRUE(text_matches(Kind::kExact, "ReCo", "rEcO", true));
  EXPECT_TRUE(text_matches(Kind::kPrefix, "/v1/", "/v1/chat"));
  EXPECT_FALSE(text_matches(Kind::kPrefix, "/v1/", "/v1"));
  EXPECT_TRUE(text_matches(Kind::kSuffix, ".svc", "a.SVC", true));
  EXPECT_TRUE(text_matches(Kind::kContains, "OD", "model", true));
  EXPECT_TRUE(text_matches(Kind::kContains, "", "x", true));
  EXPECT_FALSE(text_matches(Kind::kContains, "x", "model"));
}

TEST(TextMatcher, ARegularExpressionMustMatchTheWholeText) {
  EXPECT_TRUE(text_matches(Kind::kRegex, "/v[0-9]+", "/v12"));
  EXPECT_FALSE(text_matches(Kind::kRegex, "/v[0-9]+", "/v12/x"));
}

TEST(TextMatcher, ABrokenRegularExpressionNamesThePlace) {
  const auto matcher = TextMatcher::create(Kind::kRegex, "ab[z-a]c");
  ASSERT_FALSE(matcher.ok());
  EXPECT_EQ(matcher.error().message(),
            "regular expression \"ab[z-a]c\" is wrong at character 4: invalid character class "
            "range: z-a");
}

TEST(TextRewrite, ReplacesWhatMatches) {
  EXPECT_EQ(TextRewrite::create("^/v[0-9]+(/.*)$", "/api\\1")->apply("/v12/x"), "/api/x");
  EXPECT_EQ(TextRewrite::create("/.*", "/one")->apply("/full/path"), "/one");
  EXPECT_EQ(TextRewrite::create("b", "c")->apply("/abba"), "/acca");
  EXPECT_EQ(TextRewrite::create("x", "c")->apply("/abba"), "/abba");
}

TEST(TextRewrite, RefusesGroupsThatThePatternLacks) {
  EXPECT_EQ(TextRewrite::create("/(a)", "\\2").error().message(),
            "substitution \"\\2\" does not fit: Rewrite schema requests 2 matches, but the regexp "
            "only has 1 parenthesized subexpressions.");
  EXPECT_FALSE(TextRewrite::create("(", "x").ok());
}

TEST(CidrRange, HoldsTheAddressesOfItsPrefix) {
  const auto contains = [](std::string_view prefix, uint32_t bits, std::string_view ip) {
    return CidrRange::create(prefix, bits)->contains(*Address::ip(ip, 80));
  };
  EXPECT_TRUE(contains("10.1.2.3", 8, "10.200.0.1"));
  EXPECT_FALSE(contains("10.0.0.0", 8, "11.0.0.1"));
  EXPECT_TRUE(contains("10.0.0.128", 25, "10.0.0.255"));
  EXPECT_FALSE(contains("10.0.0.128", 25, "10.0.0.127"));
  EXPECT_TRUE(contains("0.0.0.0", 0, "1.2.3.4"));
  EXPECT_FALSE(contains("0.0.0.0", 0, "::1"));
  EXPECT_TRUE(contains("fd00::", 8, "fd12::1"));
  EXPECT_TRUE(contains("10.0.0.0", 8, "::ffff:10.1.1.1"));
}

TEST(CidrRange, RefusesWhatIsNoRange) {
  EXPECT_EQ(CidrRange::create("10.0.0.0", 33).error().message(),
            "prefix length 33 of 10.0.0.0 is above 32");
  EXPECT_EQ(CidrRange::create("localhost", 8).error().message(), "\"localhost\" is no IP address");
  EXPECT_EQ(CidrRange::create("10.1.2.3", 8)->text(), "10.0.0.0/8");
}

struct HeaderMatch : testing::Test {
  ArenaRef arena = ArenaRef::create();
  Request request{arena};

  HeaderMatch() {
    request.method = "POST";
    request.path = "/v1/x?a=b#c";
    request.authority = "reco.shop";
    request.headers.add("x-user", "ann");
    request.headers.add("accept", "a");
    request.headers.add("accept", "b");
    request.headers.add("x-size", "12");
  }
  bool holds(HeaderMatcher matcher) const { return matches(matcher, request); }
};

TEST_F(HeaderMatch, ComparesValuesAndPseudoFields) {
  EXPECT_TRUE(holds({.name = "x-user", .value = TextMatcher::exact("ann")}));
  EXPECT_FALSE(holds({.name = "x-user", .value = TextMatcher::exact("ann"), .invert = true}));
  EXPECT_TRUE(holds({.name = ":method", .value = TextMatcher::exact("POST")}));
  EXPECT_TRUE(holds({.name = ":authority", .value = TextMatcher::exact("reco.shop")}));
  EXPECT_TRUE(holds({.name = "accept", .value = TextMatcher::exact("a,b")}));
  EXPECT_EQ(path_of(request), "/v1/x");
}

TEST_F(HeaderMatch, PresenceRangeAndMissingFields) {
  EXPECT_TRUE(holds({.name = "x-user"}));
  EXPECT_FALSE(holds({.name = "x-user", .present = false}));
  EXPECT_TRUE(holds({.name = "x-none", .present = false}));
  EXPECT_TRUE(holds({.name = "x-none", .invert = true}));
  EXPECT_TRUE(holds({.name = "x-size", .range = HeaderMatcher::Range{10, 13}}));
  EXPECT_FALSE(holds({.name = "x-size", .range = HeaderMatcher::Range{10, 12}}));
  EXPECT_FALSE(holds({.name = "x-none", .value = TextMatcher::exact("a"), .invert = true}));
  EXPECT_TRUE(holds({.name = "x-none",
                     .value = TextMatcher::exact("a"),
                     .invert = true,
                     .missing_is_empty = true}));
}

}  // namespace
}  // namespace glia
