#include "filters/rbac_eval.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "proxy/base/text.h"

namespace glia {
namespace {

using Kind = RbacRule::Kind;
using Match = TextMatcher::Kind;

TextMatcher text(Match kind, std::string pattern) { return *TextMatcher::create(kind, pattern); }

RbacRule rule(Kind kind) {
  RbacRule made;
  made.kind = kind;
  return made;
}
RbacRule with_text(Kind kind, Match match, std::string pattern) {
  RbacRule made = rule(kind);
  made.text = text(match, std::move(pattern));
  return made;
}
RbacRule path(std::string exact) { return with_text(Kind::kPath, Match::kExact, std::move(exact)); }
RbacRule caller(std::string exact) {
  return with_text(Kind::kAuthenticated, Match::kExact, std::move(exact));
}
RbacRule header(std::string name, std::string exact) {
  RbacRule made = rule(Kind::kHeader);
  made.header = HeaderMatcher{.name = std::move(name), .value = text(Match::kExact, exact)};
  return made;
}
RbacRule port(uint16_t number) {
  RbacRule made = rule(Kind::kDestinationPort);
  made.port = number;
  return made;
}
RbacRule cidr(Kind kind, std::string_view prefix, uint32_t bits) {
  RbacRule made = rule(kind);
  made.cidr = *CidrRange::create(prefix, bits);
  return made;
}
RbacRule of(Kind kind, std::vector<RbacRule> children) {
  RbacRule made = rule(kind);
  made.children = std::move(children);
  return made;
}
RbacRule no(RbacRule child) { return of(Kind::kNot, {std::move(child)}); }
RbacRule any() { return rule(Kind::kAny); }

// A request as a policy sees it, with what a test does not care about filled in.
struct Asked {
  Asked() {
    request.method = "POST";
    request.authority = "classify";
    request.path = "/v2/infer?x=1";
    connection.local = *Address::ip("127.0.1.3", 8080);
    connection.remote = *Address::ip("10.1.2.3", 40000);
    tls.peer_certificate = true;
    tls.peer_uri_sans = {"spiffe://demo.mesh/ns/default/sa/front"};
    tls.server_name = "classify.default";
    connection.tls = &tls;
  }
  RbacInput input() {
    const std::string_view path = path_of(request);
    plain = plain_path(path);
    return {request, connection, path, plain ? *plain : path};
  }
  std::optional<std::string> plain;
  Request request{ArenaRef::create()};
  TlsInfo tls;
  ConnectionInfo connection;
};

bool holds(RbacRule one, Asked& asked, RbacRules::Action action = RbacRules::Action::kAllow) {
  const RbacRules rules{action, {{"p", {std::move(one)}, {any()}}}};
  return evaluate(rules, asked.input()).policy != nullptr;
}

TEST(Rbac, AllowRefusesWhatNoPolicyMatches) {
  Asked asked;
  RbacRules rules{RbacRules::Action::kAllow, {}};
  EXPECT_FALSE(evaluate(rules, asked.input()).allowed);
  rules.policies.push_back({"a", {path("/other")}, {any()}});
  EXPECT_FALSE(evaluate(rules, asked.input()).allowed);
  EXPECT_EQ(evaluate(rules, asked.input()).policy, nullptr);
  rules.policies.push_back({"b", {path("/v2/infer")}, {any()}});
  EXPECT_TRUE(evaluate(rules, asked.input()).allowed);
  EXPECT_EQ(evaluate(rules, asked.input()).policy->name, "b");
}

TEST(Rbac, DenyLetsThroughWhatNoPolicyMatches) {
  Asked asked;
  RbacRules rules{RbacRules::Action::kDeny, {}};
  EXPECT_TRUE(evaluate(rules, asked.input()).allowed);
  rules.policies.push_back({"a", {path("/v2/infer")}, {any()}});
  rules.policies.push_back({"b", {any()}, {any()}});
  EXPECT_FALSE(evaluate(rules, asked.input()).allowed);
  EXPECT_EQ(evaluate(rules, asked.input()).policy->name, "a");
}

TEST(Rbac, NeedsOnePermissionAndOnePrincipal) {
  Asked asked;
  const auto front = caller("spiffe://demo.mesh/ns/default/sa/front");
  const auto allowed = [&](std::vector<RbacRule> permissions, std::vector<RbacRule> principals) {
    const RbacRules rules{RbacRules::Action::kAllow, {{"p", permissions, principals}}};
    return evaluate(rules, asked.input()).allowed;
  };
  EXPECT_TRUE(allowed({path("/no"), path("/v2/infer")}, {caller("x"), front}));
  EXPECT_FALSE(allowed({path("/no")}, {front}));
  EXPECT_FALSE(allowed({path("/v2/infer")}, {caller("x")}));
  EXPECT_FALSE(allowed({}, {front}));
  EXPECT_FALSE(allowed({any()}, {}));
}

TEST(Rbac, LooksAtEachKindOfFact) {
  Asked asked;
  const std::pair<RbacRule, bool> table[] = {
      {any(), true},
      {path("/v2/infer"), true},  // The query is no part of the path.
      {path("/v2/infer?x=1"), false},
      {with_text(Kind::kPath, Match::kPrefix, "/v2/"), true},
      {with_text(Kind::kPath, Match::kRegex, "/v\\d/.*"), true},
      {with_text(Kind::kPath, Match::kRegex, "/v\\d"), false},  // The whole path must match.
      {header(":method", "POST"), true},
      {header(":method", "post"), false},
      {header(":authority", "classify"), true},
      {header("x-absent", ""), false},
      {port(8080), true},
      {port(40000), false},
      {cidr(Kind::kSourceIp, "10.1.0.0", 16), true},
      {cidr(Kind::kSourceIp, "127.0.0.0", 8), false},
      {cidr(Kind::kDestinationIp, "127.0.0.0", 8), true},
      {cidr(Kind::kDestinationIp, "10.0.0.0", 8), false},
      {with_text(Kind::kServerName, Match::kExact, "classify.default"), true},
      {with_text(Kind::kServerName, Match::kExact, ""), false},
      {caller("spiffe://demo.mesh/ns/default/sa/front"), true},
      {caller("spiffe://demo.mesh/ns/default/sa/fron"), false},
      {rule(Kind::kAuthenticated), true},
      {of(Kind::kAll, {path("/v2/infer"), port(8080)}), true},
      {of(Kind::kAll, {path("/v2/infer"), port(1)}), false},
      {of(Kind::kEither, {path("/no"), port(8080)}), true},
      {of(Kind::kEither, {path("/no"), port(1)}), false},
      {no(port(1)), true},
      {no(no(port(1))), false},
  };
  for (std::size_t i = 0; i < std::size(table); ++i) {
    EXPECT_EQ(holds(table[i].first, asked), table[i].second) << "row " << i;
    EXPECT_EQ(holds(table[i].first, asked, RbacRules::Action::kDeny), table[i].second)
        << "row " << i;
  }
}

TEST(Rbac, NoBodyIsAuthenticatedInClearText) {
  Asked asked;
  asked.connection.tls = nullptr;
  EXPECT_FALSE(holds(rule(Kind::kAuthenticated), asked));
  EXPECT_FALSE(holds(with_text(Kind::kAuthenticated, Match::kPrefix, ""), asked));
  EXPECT_TRUE(holds(with_text(Kind::kServerName, Match::kExact, ""), asked));
  EXPECT_TRUE(holds(no(rule(Kind::kAuthenticated)), asked));
}

TEST(Rbac, TakesNoNameOfACertificateThatWasNotVerified) {
  Asked asked;
  asked.tls.peer_certificate = false;
  EXPECT_FALSE(holds(caller("spiffe://demo.mesh/ns/default/sa/front"), asked));
}

TEST(Rbac, PrefersUriThenDnsThenSubject) {
  Asked asked;
  asked.tls.peer_uri_sans = {"spiffe://a", "spiffe://b"};
  asked.tls.peer_dns_sans = {"dns"};
  asked.tls.peer_subject = "CN=subject";
  EXPECT_TRUE(holds(caller("spiffe://b"), asked));
  EXPECT_FALSE(holds(caller("dns"), asked));
  asked.tls.peer_uri_sans.clear();
  EXPECT_TRUE(holds(caller("dns"), asked));
  EXPECT_FALSE(holds(caller("CN=subject"), asked));
  asked.tls.peer_dns_sans.clear();
  EXPECT_TRUE(holds(caller("CN=subject"), asked));
  EXPECT_FALSE(holds(caller("spiffe://b"), asked));
}

// Checklist G6, CVE-2026-26308.
TEST(Rbac, ReadsARepeatedFieldInTheStricterWay) {
  Asked asked;
  asked.request.headers.add("x-role", "user");
  asked.request.headers.add("x-role", "admin");
  using enum RbacRules::Action;
  // Deny: any value, also the list as a whole.
  EXPECT_TRUE(holds(header("x-role", "admin"), asked, kDeny));
  EXPECT_TRUE(holds(header("x-role", "user"), asked, kDeny));
  EXPECT_TRUE(holds(header("x-role", "user,admin"), asked, kDeny));
  EXPECT_FALSE(holds(header("x-role", "root"), asked, kDeny));
  // Allow: every reading.
  EXPECT_FALSE(holds(header("x-role", "user"), asked, kAllow));
  EXPECT_FALSE(holds(header("x-role", "user,admin"), asked, kAllow));
  // "not admin" allows only if no reading is admin, and denies if some reading is not.
  EXPECT_FALSE(holds(no(header("x-role", "admin")), asked, kAllow));
  EXPECT_TRUE(holds(no(header("x-role", "admin")), asked, kDeny));
  EXPECT_TRUE(holds(no(header("x-role", "root")), asked, kAllow));
  RbacRule inverted = header("x-role", "admin");
  inverted.header->invert = true;
  EXPECT_FALSE(holds(inverted, asked, kAllow));
  EXPECT_TRUE(holds(inverted, asked, kDeny));
}

TEST(Rbac, ReadsAPathAsALenientApplicationMay) {
  const std::pair<std::string_view, std::string_view> table[] = {
      {"//admin", "/admin"},
      {"/./admin", "/admin"},
      {"/x/../admin", "/admin"},
      {"/admin/.", "/admin/"},
      {"/admin/x/..", "/admin/"},
      {"/admin;a=b", "/admin"},
      {"/a;x/b", "/a/b"},
      {"/%61dmin", "/admin"},
      {"/%2fadmin", "/admin"},
      {"/x%2f..%2Fadmin", "/admin"},
      {"/x%5c..%5cadmin", "/admin"},
      {"/x\\..\\admin", "/admin"},
      {"/%2e%2e/admin", "/admin"},
      {"/x/%2e%2e/admin", "/admin"},
      {"/..", "/"},
      {"/../../..", "/"},
      {"/x/%c0%ae%c0%ae/admin", "/admin"},
      {"/admin%00.css", "/admin"},
      {"/admin%3fx", "/admin"},
      {"/admin%23x", "/admin"},
      {"/x/%252e%252e/admin", "/x/%2e%2e/admin"},  // Once, never twice.
      {"/a%zz", "/a%zz"},
      {"/a%", "/a%"},
      {"/a%4", "/a%4"},
      {"/a/", "/a/"},
      {"/", "/"},
      {"/.well-known", "/.well-known"},
      {"/a...b/..c", "/a...b/..c"},
      {"/models/m%2Fx", "/models/m/x"},
      {"*", "*"},
  };
  for (const auto& [sent, read] : table) {
    EXPECT_EQ(plain_path(sent).value_or(std::string(sent)), read) << sent;
    // A reading is plain itself unless an escape was escaped.
    if (read.find('%') == read.npos) EXPECT_EQ(plain_path(read), std::nullopt) << read;
  }
}

// Checklist G1 to G3: no spelling of /admin gets past a policy about /admin.
TEST(Rbac, JudgesEverySpellingOfAPath) {
  std::vector<std::string> spellings = {"/admin",
                                        "//admin",
                                        "/./admin",
                                        "/x/../admin",
                                        "/admin/",
                                        "/admin/.",
                                        "/admin;a=b",
                                        "/admin?x",
                                        "/%2fadmin",
                                        "/%61dmin",
                                        "/admin%2f..%2fadmin",
                                        "/x%5c..%5cadmin",
                                        "\\admin",
                                        "/x\\..\\admin",
                                        "/%2e%2e/admin",
                                        "/x/%2E%2e/admin",
                                        "/%c0%ae%c0%ae/admin",
                                        "/admin%00",
                                        "/admin%3Fx",
                                        "/admin%23"};
  for (const std::string& spelling : spellings) {
    Asked asked;
    asked.request.path = spelling;
    EXPECT_TRUE(holds(path("/admin"), asked, RbacRules::Action::kDeny)) << spelling;
    EXPECT_FALSE(holds(no(path("/admin")), asked, RbacRules::Action::kAllow)) << spelling;
  }
  // Allowing a prefix does not allow to climb out of it.
  for (const std::string_view climbing :
       {"/v2/../admin", "/v2/%2e%2e/admin", "/v2/..%2fadmin", "/v2/..\\admin", "/v2/x/../../admin",
        "/v2//../../admin"}) {
    Asked asked;
    asked.request.path = climbing;
    EXPECT_FALSE(holds(with_text(Kind::kPath, Match::kPrefix, "/v2/"), asked)) << climbing;
    RbacRule header_rule = header(":path", "");
    header_rule.header->value = text(Match::kPrefix, "/v2/");
    EXPECT_FALSE(holds(header_rule, asked)) << climbing;
  }
  // What stays within is allowed, a name with an escaped slash too.
  for (const std::string_view within :
       {"/v2/models/meta%2Fllama/infer", "/v2/a/../b", "/v2/%20x", "/v2/"}) {
    Asked asked;
    asked.request.path = within;
    EXPECT_TRUE(holds(with_text(Kind::kPath, Match::kPrefix, "/v2/"), asked)) << within;
  }
}

TEST(Rbac, NamesCallerRequestAndPoliciesInARefusal) {
  Asked asked;
  RbacRules rules{RbacRules::Action::kAllow,
                  {{"default/a", {path("/a")}, {any()}}, {"default/b", {path("/b")}, {any()}}}};
  const auto sentence = [&] {
    return refusal_sentence(rules, evaluate(rules, asked.input()), asked.input());
  };
  EXPECT_EQ(sentence(),
            "no policy allows spiffe://demo.mesh/ns/default/sa/front to POST /v2/infer "
            "(looked at: default/a, default/b)");
  asked.connection.tls = nullptr;
  rules.policies.clear();
  EXPECT_EQ(sentence(),
            "no policy allows a caller without a certificate to POST /v2/infer (looked at: none)");
  for (int i = 0; i < 10; ++i) rules.policies.push_back({cat("p", i), {}, {}});
  EXPECT_TRUE(sentence().ends_with("p6, p7 and 2 more)")) << sentence();
  rules = {RbacRules::Action::kDeny, {{"default/block", {any()}, {any()}}}};
  const std::string long_path = "/" + std::string(5000, 'a');
  asked.request.path = long_path;
  EXPECT_EQ(sentence(), cat("policy default/block does not allow a caller without a certificate to "
                            "POST /",
                            std::string(199, 'a'), "..."));
}

// --- A slow and obvious model of the same rules, for requests that can be read in one way only.

struct Model {
  const Asked& asked;

  std::string name() const {
    if (!asked.tls.peer_uri_sans.empty()) return asked.tls.peer_uri_sans[0];
    return asked.tls.peer_dns_sans.empty() ? asked.tls.peer_subject : asked.tls.peer_dns_sans[0];
  }
  static bool like(const TextMatcher& matcher, const std::string& value) {
    const std::string& p = matcher.pattern();
    switch (matcher.kind()) {
      case Match::kExact: return value == p;
      case Match::kPrefix: return value.substr(0, p.size()) == p;
      case Match::kSuffix:
        return value.size() >= p.size() && value.substr(value.size() - p.size()) == p;
      case Match::kContains: return value.find(p) != value.npos;
      case Match::kRegex: return false;  // None are made.
    }
    return false;
  }
  bool rule(const RbacRule& r) const {
    int count = 0;
    for (const auto& child : r.children) count += rule(child) ? 1 : 0;
    const bool certificate = asked.connection.tls != nullptr && asked.tls.peer_certificate;
    switch (r.kind) {
      case Kind::kAny: return true;
      case Kind::kAll: return count == static_cast<int>(r.children.size());
      case Kind::kEither: return count > 0;
      case Kind::kNot: return count == 0;
      case Kind::kHeader: {
        const auto value = asked.request.headers.get(r.header->name);
        if (!value) return false;  // Also when inverted, as in Envoy.
        return like(*r.header->value, std::string(*value)) != r.header->invert;
      }
      case Kind::kPath:
        return like(*r.text,
                    std::string(asked.request.path.substr(0, asked.request.path.find('?'))));
      case Kind::kDestinationPort:
        return asked.connection.local.text() == cat("127.0.1.3:", r.port);
      case Kind::kServerName:
        return like(*r.text, asked.connection.tls != nullptr ? asked.tls.server_name : "");
      case Kind::kAuthenticated: return certificate && (!r.text || like(*r.text, name()));
      default: return false;  // None are made.
    }
  }
  bool allowed(const RbacRules& rules) const {
    bool matched = false;
    for (const auto& policy : rules.policies) {
      bool permission = false, principal = false;
      for (const auto& r : policy.permissions) permission = permission || rule(r);
      for (const auto& r : policy.principals) principal = principal || rule(r);
      matched = matched || (permission && principal);
    }
    return matched == (rules.action == RbacRules::Action::kAllow);
  }
};

class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}
  std::size_t below(std::size_t bound) { return random_() % bound; }
  std::string word() {
    static const std::string kWords[] = {"/a", "/b", "/a/b",       "a",
                                         "b",  "",   "spiffe://a", "spiffe://b"};
    return kWords[below(std::size(kWords))];
  }
  TextMatcher matcher() { return text(static_cast<Match>(below(4)), word()); }
  RbacRule rule(int depth) {
    static constexpr Kind kLeaves[] = {Kind::kAny,        Kind::kHeader,
                                       Kind::kPath,       Kind::kDestinationPort,
                                       Kind::kServerName, Kind::kAuthenticated};
    static constexpr Kind kInner[] = {Kind::kAll, Kind::kEither, Kind::kNot};
    const bool inner = depth > 0 && below(2) == 0;
    RbacRule made;
    made.kind = inner ? kInner[below(3)] : kLeaves[below(std::size(kLeaves))];
    if (inner) {
      const std::size_t children = made.kind == Kind::kNot ? 1 : below(4);
      for (std::size_t i = 0; i < children; ++i) made.children.push_back(rule(depth - 1));
    } else if (made.kind == Kind::kHeader) {
      made.header = HeaderMatcher{.name = "x-role", .value = matcher(), .invert = below(2) == 0};
    } else if (made.kind == Kind::kDestinationPort) {
      made.port = static_cast<uint16_t>(8080 + below(2));
    } else if (made.kind != Kind::kAny && (made.kind != Kind::kAuthenticated || below(3) > 0)) {
      made.text = matcher();
    }
    return made;
  }
  RbacRules rules() {
    RbacRules made;
    made.action = below(2) == 0 ? RbacRules::Action::kAllow : RbacRules::Action::kDeny;
    for (std::size_t i = below(4); i > 0; --i) {
      RbacPolicy policy{cat("p", i), {}, {}};
      for (std::size_t j = below(3); j > 0; --j) policy.permissions.push_back(rule(3));
      for (std::size_t j = below(3); j > 0; --j) policy.principals.push_back(rule(3));
      made.policies.push_back(std::move(policy));
    }
    return made;
  }
  void fill(Asked& asked, std::string& path) {
    static constexpr std::string_view kPaths[] = {"/", "/a", "/b", "/a/b", "/b/a", "/spiffe:a"};
    path = cat(kPaths[below(std::size(kPaths))], below(2) == 0 ? "?q=/a" : "");
    asked.request.path = path;
    if (below(3) > 0) asked.request.headers.add("x-role", word());
    asked.tls.peer_certificate = below(3) > 0;
    asked.tls.peer_uri_sans.clear();
    if (below(2) == 0) asked.tls.peer_uri_sans.push_back(word());
    if (below(2) == 0) asked.tls.peer_dns_sans.push_back(word());
    asked.tls.peer_subject = word();
    asked.tls.server_name = word();
    if (below(4) == 0) asked.connection.tls = nullptr;
  }

 private:
  std::mt19937_64 random_;
};

TEST(Rbac, AgreesWithTheObviousModelOnRandomPolicies) {
  int allowed = 0;
  constexpr int kRounds = 20000;
  for (int seed = 0; seed < kRounds; ++seed) {
    Maker maker(static_cast<uint64_t>(seed));
    const RbacRules rules = maker.rules();
    Asked asked;
    std::string path;
    maker.fill(asked, path);
    const bool verdict = evaluate(rules, asked.input()).allowed;
    ASSERT_EQ(verdict, Model{asked}.allowed(rules)) << "seed " << seed;
    allowed += verdict ? 1 : 0;
  }
  // The comparison means something only if both answers are common.
  EXPECT_GT(allowed, kRounds / 5);
  EXPECT_LT(allowed, kRounds * 4 / 5);
}

}  // namespace
}  // namespace glia
