// Routes, policies and upstreams are told one path and one host (checklist G1-G5, G13), through a whole
// worker: either a request is refused, or all three see the same canonical value.
#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "proxy/http/canonical.h"
#include "test/harness/mesh_world.h"
#include "test/sim/party.h"

namespace glia {
namespace {

constexpr char kName[] = "envoy.filters.http.rbac";

RbacRule path_rule(TextMatcher::Kind kind, std::string pattern) {
  RbacRule rule;
  rule.kind = RbacRule::Kind::kPath;
  rule.text = *TextMatcher::create(kind, std::move(pattern));
  return rule;
}
RbacRule authority_rule(std::string exact) {
  RbacRule rule;
  rule.kind = RbacRule::Kind::kHeader;
  rule.header = HeaderMatcher{.name = ":authority", .value = TextMatcher::exact(std::move(exact))};
  return rule;
}

class OneMeaning : public testing::Test {
 protected:
  OneMeaning() { t.upstream("10.0.1.1").replies(200, "up"); }
  void enforce(RbacRules::Action action, RbacRule rule) {
    RbacRules rules{action, {{"policy", {std::move(rule)}, {RbacRule{}}}}};
    t.manager().filters = {
        {.name = kName, .settings = std::make_shared<RbacConfig>(RbacConfig{.rules = rules})}};
  }
  int status_of(std::string_view path, std::string_view host = "a.test") {
    Party client(world.host("10.0.0.7").connect(*Address::ip("10.0.0.1", 80)));
    client.send(cat("GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\nConnection: close\r\n\r\n"));
    world.run_until([&] { return client.ended; }, 10s);
    return client.received.size() > 12 ? std::stoi(client.received.substr(9, 3)) : 0;
  }
  const std::vector<Seen>& seen() { return t.upstream("10.0.1.1").seen(); }

  SimWorld world{1};
  MeshWorld t{world};
};

// G1, G2: what some application would take for /admin is as forbidden as /admin.
TEST_F(OneMeaning, NoSpellingOfAForbiddenPathGetsThrough) {
  const PathRules rules[] = {{},
                             {.resolve_dots = true},
                             {.merge_slashes = true},
                             {true, true, EscapedSlashes::kReject},
                             {true, true, EscapedSlashes::kForward}};
  for (const PathRules& rule : rules) {
    t.manager().path_rules = rule;
    enforce(RbacRules::Action::kDeny, path_rule(TextMatcher::Kind::kPrefix, "/admin"));
    t.start();
    for (const char* path :
         {"/admin",      "//admin",         "/./admin",      "/x/../admin",     "/admin/",
          "/admin/.",    "/admin;a=b",      "/admin?x",      "/%2fadmin",       "/%61dmin",
          "/admin%2f..", "/admin%5c",       "/%2e%2e/admin", "/x/%2e%2e/admin", "/x/..%2fadmin",
          "/admin%00",   "/admin%",         "/admin%zz",     "/admin%c0%ae",    "/%5cadmin",
          "\\admin",     "/x%2f..%2fadmin", "/.%2e/admin",   "/%2F%61dmin"}) {
      const int status = status_of(path);
      if (status == 200) {
        EXPECT_EQ(seen().back().path, "/") << path << ", which is not forbidden";
      } else {
        EXPECT_TRUE(status == 400 || status == 403) << path << " is answered with " << status;
      }
    }
  }
  EXPECT_EQ(seen().size(), 1u) << "\"/admin%2f..\" where it is resolved";
}

// G3: what a policy allows is exactly what the upstream gets.
TEST_F(OneMeaning, EachEscapeMeansTheSameToPolicyAndUpstream) {
  enforce(RbacRules::Action::kDeny, path_rule(TextMatcher::Kind::kPrefix, "/admin"));
  t.start();
  constexpr std::string_view kHex = "0123456789abcdef";
  int passed = 0;
  for (int byte = 1; byte < 256; ++byte) {
    const std::string escape = {'%', kHex[byte / 16], kHex[byte % 16]};
    const int inside = status_of(cat("/admin", escape));
    EXPECT_TRUE(inside == 400 || inside == 403) << escape << inside;
    const std::size_t before = seen().size();
    if (status_of(cat("/public", escape, "x")) != 200) continue;
    ++passed;
    ASSERT_EQ(seen().size(), before + 1);
    const ArenaRef arena = ArenaRef::create();
    EXPECT_EQ(seen().back().path, canonical_path(cat("/public", escape, "x"), {}, *arena).path);
    EXPECT_EQ(canonical_path(seen().back().path, {}, *arena).path, seen().back().path);
  }
  EXPECT_EQ(passed, 255) << "\"%00\" is the 256th";
}

// G4.
TEST_F(OneMeaning, CaseOfAPathCounts) {
  enforce(RbacRules::Action::kAllow, path_rule(TextMatcher::Kind::kExact, "/Admin"));
  t.start();
  EXPECT_EQ(status_of("/Admin"), 200);
  EXPECT_EQ(status_of("/%41dmin"), 200);
  EXPECT_EQ(status_of("/admin"), 403);
  EXPECT_EQ(seen().back().path, "/Admin");
}

TEST_F(OneMeaning, ARouteSeesWhatIsForwarded) {
  t.manager().path_rules = {true, true, EscapedSlashes::kForward};
  Route route = t.route();
  route.name = "exact";
  route.match.path = {.kind = PathMatch::Kind::kExact, .text = TextMatcher::exact("/v1/models")};
  t.hosts().front().routes = {route};
  t.start();
  for (const char* path : {"/v1/models", "/v1/m%6Fdels", "/v1//models", "/v1/./models",
                           "/x/../v1/models", "/v1%2fmodels", "/v1/models?a=%2e/../b"}) {
    EXPECT_EQ(status_of(path), 200) << path;
    EXPECT_EQ(seen().back().path.substr(0, 10), "/v1/models") << path;
  }
  EXPECT_EQ(status_of("/v1/Models"), 404);
}

TEST_F(OneMeaning, AClientIsSentToThePathWithoutEscapedSlashes) {
  t.manager().path_rules = {.escaped_slashes = EscapedSlashes::kRedirect};
  t.start();
  const Answer answer = t.get("/a%2Fb?c");
  EXPECT_EQ(answer.status, 307);
  EXPECT_EQ(answer.header("location"), "/a/b?c");
  EXPECT_EQ(answer.header("x-glia-reason"), "redirect");
  EXPECT_EQ(t.get("/a/b").status, 200);
}

// A path that is harmless until the router takes its prefix away.
TEST_F(OneMeaning, ARewriteMakesNoDotSegments) {
  t.route().match.path.text = *TextMatcher::create(TextMatcher::Kind::kPrefix, "/a");
  t.route().forward->prefix_rewrite = "/";
  t.start();
  EXPECT_EQ(status_of("/a.."), 400);
  EXPECT_EQ(status_of("/a../x"), 400);
  EXPECT_EQ(status_of("/a..b"), 200);
  EXPECT_EQ(seen().back().path, "/..b");
}

// G5.
TEST_F(OneMeaning, AHostHasOneSpelling) {
  t.hosts().front().domains = {"a.test"};
  enforce(RbacRules::Action::kAllow, authority_rule("a.test"));
  t.start();
  for (const char* host :
       {"a.test", "A.Test", "a.test.", "a.test:80", "a.test:0080", "A.TEST.:80"}) {
    EXPECT_EQ(status_of("/", host), 200) << host;
    EXPECT_EQ(seen().back().authority, "a.test") << host;
  }
  EXPECT_EQ(status_of("/", "a.test:443"), 403) << "another host to the policy too";
  EXPECT_EQ(status_of("/", "b.test"), 403);
}

TEST_F(OneMeaning, ADomainWithTheUsualPortIsTheHostWithoutIt) {
  t.hosts().front().domains = {"a.test:80", "*.b.test:80", "c.test:81"};
  t.start();
  EXPECT_EQ(status_of("/", "a.test"), 200);
  EXPECT_EQ(status_of("/", "a.test:80"), 200);
  EXPECT_EQ(status_of("/", "x.b.test:80"), 200);
  EXPECT_EQ(status_of("/", "a.test:81"), 404);
  EXPECT_EQ(status_of("/", "c.test"), 404);
}

// Names of the configuration that would be fields of their own, if they were written as they are.
TEST_F(OneMeaning, NoNameAddsAFieldToAnAnswer) {
  t.hosts().front().routes.front().name = "r\r\nx-evil: 1";
  enforce(RbacRules::Action::kDeny, RbacRule{});
  auto config = std::make_shared<RbacConfig>(
      *std::get<std::shared_ptr<const RbacConfig>>(t.manager().filters[0].settings));
  config->rules->policies[0].name = " p\r\n\r\nHTTP/1.1 200 OK\n";
  t.manager().filters[0].settings = config;
  t.start();
  Party client(world.host("10.0.0.7").connect(*Address::ip("10.0.0.1", 80)));
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  world.run_until([&] { return client.ended; }, 10s);
  const std::string head = client.received.substr(0, client.received.find("\r\n\r\n"));
  EXPECT_EQ(head.find("\r\nx-evil"), head.npos) << head;
  EXPECT_NE(head.find("\r\nx-glia-route: r%0D%0Ax-evil: 1\r\n"), head.npos) << head;
  EXPECT_NE(head.find("\r\nx-glia-policy: p%0D%0A%0D%0AHTTP/1.1 200 OK%0A"), head.npos) << head;
  EXPECT_NE(head.find("\r\nx-glia-config: v1\r\n"), head.npos) << head;
}

}  // namespace
}  // namespace glia
