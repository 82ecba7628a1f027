#include "proxy/http/canonical.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr std::string_view kRefused = "refused";

std::string canonical(std::string_view path, const PathRules& rules = {}) {
  const ArenaRef arena = ArenaRef::create();
  const CanonicalPath result = canonical_path(path, rules, *arena);
  return std::string(result.fault.empty() ? result.path : kRefused);
}

struct Row {
  const char *path, *plain, *resolved;  // By default, and with every rule on.
};

// Checklist G1, G2.
TEST(CanonicalPath, HasOneSpelling) {
  constexpr const char* kNo = "refused";
  const Row table[] = {
      {"/", "/", "/"},
      {"/a?b=%zz/../%00", "/a?b=%zz/../%00", "/a?b=%zz/../%00"},
      {"/%61dmin", "/admin", "/admin"},
      {"/%41%7a%30%2D%2e%5F%7E", "/Az0-._~", "/Az0-._~"},
      {"/a%20b%c3%a4", "/a%20b%C3%A4", "/a%20b%C3%A4"},
      {"/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"},
      {"/%25%32%65", "/%252e", "/%252e"},
      {"//a///b", "//a///b", "/a/b"},
      {"/a/./b", kNo, "/a/b"},
      {"/a/%2e/b", kNo, "/a/b"},
      {"/a/../b", kNo, "/b"},
      {"/../../b", kNo, "/b"},
      {"/a/..", kNo, "/"},
      {"/a/b/.", kNo, "/a/b/"},
      {"/..", kNo, "/"},
      {"/a//../b", kNo, "/a/b"},
      {"/a/..;x/b", kNo, kNo},
      {"/a/..%3bx/b", kNo, kNo},
      {"/a%2fb", "/a%2Fb", "/a/b"},
      {"/a%5Cb", "/a%5Cb", "/a/b"},
      {"/a/..%2fb", kNo, "/b"},
      {"/a%2f..", kNo, "/"},
      {"/...", "/...", "/..."},
      {"/.a/..b", "/.a/..b", "/.a/..b"},
      {"/a%", kNo, kNo},
      {"/a%4", kNo, kNo},
      {"/a%zz", kNo, kNo},
      {"/a%4g", kNo, kNo},
      {"/%%34%31", kNo, kNo},
      {"/a%00", kNo, kNo},
  };
  const PathRules all{true, true, EscapedSlashes::kForward};
  for (const Row& row : table) {
    EXPECT_EQ(canonical(row.path), row.plain) << row.path;
    EXPECT_EQ(canonical(row.path, all), row.resolved) << row.path;
  }
}

TEST(CanonicalPath, RefusesOrRedirectsEscapedSlashesWhereThatIsAsked) {
  for (const char* path : {"/a%2Fb", "/a%5cb"}) {
    EXPECT_EQ(canonical(path, {.escaped_slashes = EscapedSlashes::kReject}), kRefused);
    const ArenaRef arena = ArenaRef::create();
    const auto result =
        canonical_path(path, {.escaped_slashes = EscapedSlashes::kRedirect}, *arena);
    EXPECT_TRUE(result.redirect);
    EXPECT_EQ(result.path, "/a/b");
    EXPECT_FALSE(
        canonical_path("/%61", {.escaped_slashes = EscapedSlashes::kRedirect}, *arena).redirect);
  }
}

// What is canonical is left alone, whatever the rules; and it is still a path, without dot
// segments.
TEST(CanonicalPath, IsCanonicalAlready) {
  constexpr std::string_view kPieces[] = {"/",   ".",   "..",  "%",   "%2e", "%2F", "%5c", "%25",
                                          "%41", "%00", ";",   "a",   "Z",   "%zz", "//",  "%2",
                                          "e",   "?",   "/./", "%7e", "5",   "c",   "%C3"};
  std::mt19937 random(1);
  int taken = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string path = "/";
    for (int pieces = static_cast<int>(random() % 8); pieces > 0; --pieces) {
      path += kPieces[random() % std::size(kPieces)];
    }
    const PathRules rules{random() % 2 == 0, random() % 2 == 0,
                          static_cast<EscapedSlashes>(random() % 4)};
    const std::string once = canonical(path, rules);
    if (once == kRefused) continue;
    ++taken;
    ASSERT_EQ(canonical(once, rules), once) << path;
    ASSERT_TRUE(is_path(once)) << path;
    ASSERT_FALSE(has_dot_segment(once.substr(0, once.find('?')))) << path;
    ASSERT_EQ(once.substr(once.find('?') == once.npos ? once.size() : once.find('?')),
              path.substr(path.find('?') == path.npos ? path.size() : path.find('?')));
  }
  EXPECT_GT(taken, 20'000);
}

std::string host(std::string_view authority, std::string_view scheme = "http") {
  const ArenaRef arena = ArenaRef::create();
  return std::string(canonical_authority(authority, scheme, *arena));
}

// Checklist G5.
TEST(CanonicalAuthority, HasOneSpelling) {
  for (const char* same : {"a.test", "A.Test", "a.test.", "a.test:80", "a.test:0080", "A.TEST.:80"})
    EXPECT_EQ(host(same), "a.test") << same;
  EXPECT_EQ(host("a.test:443"), "a.test:443");
  EXPECT_EQ(host("a.test:443", "https"), "a.test");
  EXPECT_EQ(host("a.test:80", "https"), "a.test:80");
  EXPECT_EQ(host("a.test:08080"), "a.test:8080");
  EXPECT_EQ(host("[FE80::1]:80"), "[fe80::1]");
  EXPECT_EQ(host("[::1]:81"), "[::1]:81");
  EXPECT_EQ(host("[::1]"), "[::1]");
  EXPECT_EQ(host("XN--Bcher-KVA.test"), "xn--bcher-kva.test");
  EXPECT_EQ(host("a.."), "a");
}

TEST(CanonicalAuthority, IsCanonicalAlready) {
  constexpr std::string_view kPieces[] = {"a",   "B",    ".",  "[::1]", "[AB::]",
                                          ":80", ":443", ":0", "80",    "-"};
  std::mt19937 random(1);
  int taken = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string authority;
    for (int pieces = static_cast<int>(random() % 6); pieces >= 0; --pieces) {
      authority += kPieces[random() % std::size(kPieces)];
    }
    if (!is_authority(authority)) continue;
    ++taken;
    const std::string scheme = random() % 2 == 0 ? "http" : "https";
    const std::string once = host(authority, scheme);
    ASSERT_EQ(host(once, scheme), once) << authority;
    ASSERT_TRUE(is_authority(once)) << authority;
  }
  EXPECT_GT(taken, 10'000);
}

}  // namespace
}  // namespace glia
