// What a person sees who writes mesh objects: every mistake is named with place and fix.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "control_plane/objects/kind.h"
#include "control_plane/objects/kinds.h"
#include "control_plane/objects/object_set.h"
#include "control_plane/objects/reference.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr char kMesh[] = "{apiVersion: glia.dev/v1, kind: Mesh, metadata: {name: m}}\n---\n";

std::string problems(const std::string& yaml) {
  std::string out;
  for (const Problem& problem : parse({{"m.yaml", yaml}}).problems) out += problem.text() + "\n";
  return out;
}

struct Case {
  const char* yaml;
  const char* problems;
};

void expect_all(const std::vector<Case>& cases) {
  for (const Case& c : cases) EXPECT_EQ(problems(c.yaml), c.problems) << c.yaml;
}

TEST(Objects, EveryExampleOfThePageIsAccepted) {
  for (const Kind& kind : kinds()) {
    Draft draft;
    std::vector<Problem> found;
    const YamlFile file = read_yaml(kind.example);
    ASSERT_EQ(file.documents.size(), 1u) << kind.name;
    Reader reader("example", kind.name, found);
    kind.read(file.documents[0], reader, draft);
    for (const Problem& problem : found) ADD_FAILURE() << problem.text();
  }
}

TEST(Objects, TheDefaultsAreThoseOfThePage) {
  const LoadReport report = parse({{"m.yaml", cat(kMesh, R"(
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: w}
spec: {address: 127.0.1.1, ports: [{name: rest, port: 8080}], ready: {path: /ok}}
)")}});
  ASSERT_EQ(report.errors(), "");
  const ObjectSet& set = report.objects;
  EXPECT_EQ(set.mesh.spec.trust_domain, "mesh.local");
  EXPECT_EQ(set.mesh.spec.certificate_lifetime, std::chrono::hours(24));
  EXPECT_EQ(set.mesh.spec.access_log.path, "/dev/stdout");
  const Workload& w = *set.workload("w");
  EXPECT_EQ(&w, set.workload("default/w"));
  EXPECT_EQ(set.spiffe_id(w), "spiffe://mesh.local/ns/default/sa/w");
  EXPECT_EQ(w.spec.ports[0].app_port, 8080);
  EXPECT_EQ(w.spec.app_address, "127.0.0.1");
  EXPECT_EQ(w.spec.outbound.port, 15001);
  EXPECT_EQ(w.spec.admin.port, 15000);
  EXPECT_EQ(w.local_address(), "127.0.1.1");
  EXPECT_EQ(w.spec.ready->port, "rest");
  EXPECT_EQ(set.version.size(), 16u);
}

TEST(Objects, SaysWhatIsWrongWithAMesh) {
  expect_all({
      {"kind: Mesh\napiVersion: v1\nmetadata: {name: m}\n",
       "m.yaml:2:13: Mesh m: apiVersion must be glia.dev/v1, not \"v1\"\n"},
      {"kind: Mesh\nmetadata: {name: m}\n",
       "m.yaml:1:1: Mesh m: apiVersion is missing; it must be glia.dev/v1\n"},
      {"apiVersion: glia.dev/v1\nkind: mesh\nmetadata: {name: m}\n",
       "m.yaml:2:7: kind mesh is not known; did you mean Mesh?\n"},
      {"apiVersion: glia.dev/v1\nkind: Gateway\nmetadata: {name: m}\n",
       "m.yaml:2:7: kind Gateway is not supported yet; remove the object\n"},
      {"apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\n"
       "spec: {accessLog: {path: access.log, format: {code: \"%RESPONSE_CODES%\"}}}\n",
       "m.yaml:4:26: Mesh m: spec.accessLog.path must be an absolute path, or none, not "
       "\"access.log\"\n"
       "m.yaml:4:53: Mesh m: spec.accessLog.format.code must be text with known operators "
       "(operator "
       "%RESPONSE_CODES% is not supported; did you mean %RESPONSE_CODE%?), not "
       "\"%RESPONSE_CODES%\"\n"},
      {"apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {}\n",
       "m.yaml:3:11: Mesh: metadata.name is missing\n"},
      {"apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec: {certificateLifetime: "
       "5s}\n",
       "m.yaml:4:29: Mesh m: spec.certificateLifetime must be from 1m to 8760h, not 5s\n"},
      {"apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec: {certificateLifetime: "
       "1d}\n",
       "m.yaml:4:29: Mesh m: spec.certificateLifetime must be a duration such as 500ms, 10s or "
       "1h30m, not \"1d\"\n"},
      {"apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec: {defaultAuthorization: "
       "no}\n",
       "m.yaml:4:30: Mesh m: spec.defaultAuthorization must be text, but no is a boolean in YAML; "
       "write \"no\"\n"},
      {"apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec: [1]\n",
       "m.yaml:4:7: Mesh m: spec must be a map of fields, not a list\n"},
      {"apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\nmetadata: {name: n}\n",
       "m.yaml:4:1: Mesh m: metadata is written twice, first in line 3\n"},
      {"apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m, uid: abc}\n",
       "m.yaml:3:21: Mesh m: metadata.uid is written by Kubernetes and not read here; remove it\n"},
      {"- a\n",
       "m.yaml:1:1: an object must be a map with apiVersion, kind and metadata, not a "
       "list\n"},
      {"",
       "m.yaml: there is no Mesh; add one: {apiVersion: glia.dev/v1, kind: Mesh, metadata: "
       "{name: demo}}\n"},
  });
}

TEST(Objects, SaysWhereYamlItselfIsBroken) {
  EXPECT_EQ(problems("kind: Mesh\n  name: [\n"), "m.yaml:2:7: not valid YAML: illegal map value\n");
  EXPECT_EQ(problems("a: *x\n"),
            "m.yaml:1:4: not valid YAML: the referenced anchor is not defined\n");
  EXPECT_EQ(problems("a: &x [*x]\n"),
            "m.yaml:1:8: an alias may not refer to a value that contains it\n");
  EXPECT_EQ(problems("a: !!int 1\n"),
            "m.yaml:1:4: the YAML tag tag:yaml.org,2002:int is not supported; write the value "
            "without it\n");
  EXPECT_EQ(problems("x: &a {b: 1}\ny:\n  <<: *a\n"),
            "m.yaml:3:3: merge keys (<<) are not supported; write the fields out\n");
}

TEST(Objects, SaysWhatIsWrongWithAWorkload) {
  const auto workload = [](std::string spec) {
    return problems(cat(
        kMesh, "apiVersion: glia.dev/v1\nkind: Workload\nmetadata: {name: w}\nspec: ", spec, "\n"));
  };
  EXPECT_EQ(workload("{address: 127.0.1.1}"), "");  // One that only calls others.
  EXPECT_EQ(workload("{ports: []}"),
            "m.yaml:6:7: Workload w: spec.address is missing\n"
            "m.yaml:6:15: Workload w: spec.ports must have at least 1 item\n");
  EXPECT_EQ(workload("{address: 127.0.1.1, ready: {path: /}}"),
            "m.yaml:6:35: Workload w: spec.ready asks a port, and this workload has no ports\n");
  EXPECT_EQ(workload("{address: localhost, ports: [{name: a, port: 1}]}"),
            "m.yaml:6:17: Workload w: spec.address must be an IP address such as 127.0.1.3 or "
            "fd00::3 (names are not resolved here), not \"localhost\"\n");
  EXPECT_EQ(workload("{address: 127.0.1.1, ports: []}"),
            "m.yaml:6:35: Workload w: spec.ports must have at least 1 item\n");
  EXPECT_EQ(
      workload("{address: 127.0.1.1, ports: [{name: a, port: 0, protocol: UDP}]}"),
      "m.yaml:6:52: Workload w: spec.ports[0].port must be a whole number from 1 to 65535, not "
      "0\n"
      "m.yaml:6:65: Workload w: spec.ports[0].protocol is UDP, which is not supported yet; use "
      "HTTP, HTTP2, GRPC or TCP\n");
  EXPECT_EQ(
      workload("{address: 127.0.1.1, ports: [{name: a, port: \"80\"}]}"),
      "m.yaml:6:52: Workload w: spec.ports[0].port must be a whole number from 1 to 65535, not "
      "\"80\"\n");
  EXPECT_EQ(workload("{address: 127.0.1.1, ports: [{name: a, port: 80}, {name: a, port: 81}]}"),
            "m.yaml:6:57: Workload w: spec.ports[1].name is a, as is another; each must be "
            "different\n");
  EXPECT_EQ(workload("{address: 127.0.0.1, ports: [{name: a, port: 80}]}"),
            "m.yaml:6:36: Workload w: spec.ports[0].appPort and port are both 80 on 127.0.0.1: "
            "sidecar and application cannot share it; choose another appPort or appAddress\n");
  EXPECT_EQ(
      workload("{address: 127.0.1.1, ports: [{name: a, port: 15001}]}"),
      "m.yaml:6:36: Workload w: spec.ports[0].port is 15001, which is the port of the outbound "
      "listener\n");
  EXPECT_EQ(
      workload("{address: 127.0.1.1, ports: [{name: a, port: 80}], ready: {path: ok, port: b}}"),
      "m.yaml:6:72: Workload w: spec.ready.path must begin with /, not \"ok\"\n");
  EXPECT_EQ(
      workload("{address: 127.0.1.1, ports: [{name: a, port: 80}], ready: {path: /, port: b}}"),
      "m.yaml:6:65: Workload w: spec.ready.port is b, which is not the name of a port of this "
      "workload\n");
  EXPECT_EQ(workload("{address: 127.0.1.1, ports: [{name: a, port: 80}], env: {A: 1, B-C: x}}"),
            "m.yaml:6:67: Workload w: spec.env.A must be text, but 1 is a number in YAML; write "
            "\"1\"\n"
            "m.yaml:6:70: Workload w: spec.env.B-C is not a key that can be used here: it must be "
            "letters, digits and '_', not beginning with a digit\n");
}

std::string with_rule(const std::string& rule) {
  return problems(
      cat(kMesh, R"({apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {a: b},
    ports: [{port: 80}]}}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: w, labels: {a: b}}
spec: {address: 127.0.1.1, ports: [{name: p, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: a}]
  rules:
  - )",
          rule, "\n"));
}

TEST(Objects, RetriesAndOriginsHaveLimits) {
  const auto many = [](std::string_view item, int count) {
    std::string items;
    for (int i = 0; i < count; ++i) items += cat(items.empty() ? "" : ", ", item);
    return items;
  };
  const auto rule = [](const std::string& codes, int attempts, const std::string& origins) {
    return with_rule(cat("{retry: {codes: [", codes, "], attempts: ", attempts,
                         "}, filters: [{type: CORS, cors: {allowOrigins: [", origins,
                         "]}}], backendRefs: [{name: a, port: 80}]}"));
  };
  EXPECT_EQ(rule(many("500", 100), 100, many("https://a.b", 64)), "");
  const std::string above = rule(many("500", 101), 101, many("https://a.b", 65));
  EXPECT_NE(above.find(".retry.codes has 101 items, the limit is 100\n"), above.npos) << above;
  EXPECT_NE(above.find(".retry.attempts must be a whole number from 1 to 100, not 101\n"),
            above.npos)
      << above;
  EXPECT_NE(above.find(".cors.allowOrigins has 65 items, the limit is 64\n"), above.npos) << above;
}

TEST(Objects, SaysWhatIsWrongWithARoute) {
  EXPECT_EQ(with_rule("backendRefs: [{name: a, port: 80}]"), "");
  EXPECT_EQ(with_rule("backendRef: []"),
            "m.yaml:17:5: HTTPRoute r: spec.rules[0].backendRef is not a field; did you mean "
            "backendRefs?\n");
  EXPECT_EQ(with_rule("sessionPersistence: {}"),
            "m.yaml:17:5: HTTPRoute r: spec.rules[0].sessionPersistence is not supported yet; "
            "remove it\n");
  EXPECT_EQ(with_rule("{retry: {codes: [200], attempts: 0}}"),
            "m.yaml:17:22: HTTPRoute r: spec.rules[0].retry.codes[0] must be a whole number from "
            "400 to 599, not 200\n"
            "m.yaml:17:38: HTTPRoute r: spec.rules[0].retry.attempts must be a whole number from 1 "
            "to 100, not 0\n");
  const auto with_cors = [](std::string_view cors) {
    return with_rule(cat("filters: [{type: CORS, cors: {", cors, "}}]"));
  };
  EXPECT_EQ(with_cors("allowOrigins: [\"*\", https://a.b]"),
            "m.yaml:17:34: HTTPRoute r: spec.rules[0].filters[0].cors.allowOrigins must not have "
            "anything beside \"*\", which is all of them\n");
  EXPECT_EQ(with_cors("allowOrigins: [shop.example, \"https://sh*p\", \"https://*.a.b:0\"]"),
            "m.yaml:17:50: HTTPRoute r: spec.rules[0].filters[0].cors.allowOrigins[0] must be *, "
            "or an origin such as "
            "https://shop.example, https://*.example:8443, not \"shop.example\"\n"
            "m.yaml:17:64: HTTPRoute r: spec.rules[0].filters[0].cors.allowOrigins[1] must be *, "
            "or an origin such as "
            "https://shop.example, https://*.example:8443, not \"https://sh*p\"\n"
            "m.yaml:17:80: HTTPRoute r: spec.rules[0].filters[0].cors.allowOrigins[2] must be *, "
            "or an origin such as "
            "https://shop.example, https://*.example:8443, not \"https://*.a.b:0\"\n");
  EXPECT_EQ(with_cors("allowOrigins: [\"https://*.a.b:8443\"], allowMethods: [GET, \"*\"]"),
            "m.yaml:17:34: HTTPRoute r: spec.rules[0].filters[0].cors.allowMethods must not have "
            "anything beside \"*\", which is all of them\n");
  EXPECT_EQ(with_cors("allowOrigins: [\"*\"], allowCredentials: true, exposeHeaders: [\"*\"]"),
            "m.yaml:17:34: HTTPRoute r: spec.rules[0].filters[0].cors.exposeHeaders must name the "
            "headers: with allowCredentials, browsers take \"*\" for the name of one\n");
  EXPECT_EQ(with_rule("retry: {backoff: 0s}"),
            "m.yaml:17:12: HTTPRoute r: spec.rules[0].retry.backoff must be at least 1ms\n");
  EXPECT_EQ(with_rule("backendRefs: [{name: a}]"),
            "m.yaml:17:19: HTTPRoute r: spec.rules[0].backendRefs[0].port is missing\n");
  EXPECT_EQ(with_rule("backendRefs: [{name: a, port: 80, weight: 1000001}]"),
            "m.yaml:17:47: HTTPRoute r: spec.rules[0].backendRefs[0].weight must be a whole number "
            "from 0 to 1000000, not 1000001\n");
  EXPECT_EQ(
      with_rule("matches: [{path: {type: Prefix, value: /}}]"),
      "m.yaml:17:29: HTTPRoute r: spec.rules[0].matches[0].path.type must be Exact, PathPrefix "
      "or RegularExpression, not \"Prefix\"\n");
  EXPECT_EQ(with_rule("matches: [{path: {type: RegularExpression, value: '('}}]"),
            "m.yaml:17:22: HTTPRoute r: spec.rules[0].matches[0].path.value must be a regular "
            "expression in RE2 syntax (missing ): (), not \"(\"\n");
  EXPECT_EQ(with_rule("matches: [{path: {value: /a/../b}}]"),
            "m.yaml:17:22: HTTPRoute r: spec.rules[0].matches[0].path.value must be a path without "
            "\"/../\", not \"/a/../b\"\n");
  EXPECT_EQ(with_rule("matches: [{method: post}]"),
            "m.yaml:17:24: HTTPRoute r: spec.rules[0].matches[0].method must be GET, HEAD, POST, "
            "PUT, DELETE, CONNECT, OPTIONS, TRACE or PATCH, not \"post\"; did you mean POST?\n");
  EXPECT_EQ(
      with_rule("filters: [{type: ExtensionRef}]"),
      "m.yaml:17:22: HTTPRoute r: spec.rules[0].filters[0].type is ExtensionRef, which is not "
      "supported yet; use RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, "
      "RequestRedirect, URLRewrite or CORS\n");
  EXPECT_EQ(with_rule("{filters: [{type: RequestMirror, requestMirror: {percent: 5, fraction: "
                      "{numerator: 1}, backendRef: {name: a, port: 80}}}], backendRefs: [{name: a, "
                      "port: 80}]}"),
            "m.yaml:17:53: HTTPRoute r: spec.rules[0].filters[0].requestMirror.fraction and "
            "percent say the same; remove one of them\n");
  EXPECT_EQ(
      with_rule("{filters: [{type: RequestMirror, requestMirror: {fraction: {numerator: 2, "
                "denominator: 1}, backendRef: {name: a, port: 80}}}], backendRefs: [{name: a, "
                "port: 80}]}"),
      "m.yaml:17:64: HTTPRoute r: spec.rules[0].filters[0].requestMirror.fraction.numerator "
      "must not be above the denominator\n");
  EXPECT_EQ(
      with_rule("{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: b, port: "
                "80}}}], backendRefs: [{name: a, port: 80}]}"),
      "m.yaml:17:66: HTTPRoute r: spec.rules[0].filters[0].requestMirror.backendRef.name is "
      "b, but there is no such Service in namespace default; did you mean a?\n");
  EXPECT_EQ(
      with_rule("backendRefs: [{name: a, port: 80, filters: [{type: URLRewrite}]}]"),
      "m.yaml:17:56: HTTPRoute r: spec.rules[0].backendRefs[0].filters[0].type is URLRewrite, "
      "which is not supported yet; use RequestHeaderModifier or ResponseHeaderModifier\n");
  EXPECT_EQ(with_rule("{timeouts: {request: 1s, backendRequest: 2s}, backendRefs: [{name: a, port: "
                      "80}]}"),
            "m.yaml:17:16: HTTPRoute r: spec.rules[0].timeouts.backendRequest must not be longer "
            "than request\n");
  EXPECT_EQ(with_rule("name: nothing"),
            "m.yaml:17:5: warning: HTTPRoute r: spec.rules[0] has neither backendRefs nor a "
            "RequestRedirect, so that every request is refused\n");
  EXPECT_EQ(with_rule("backendRefs: [{name: a, port: 80}, {name: gone, port: 80, weight: 0}]"),
            "m.yaml:17:40: warning: HTTPRoute r: spec.rules[0].backendRefs[1].name is gone, but "
            "there is no such Service in namespace default\n");
  EXPECT_EQ(with_rule("{matches: [{path: {type: RegularExpression, value: '/.*'}}, {path: {value: "
                      "/a}}], backendRefs: [{name: a, port: 80}]}"),
            "m.yaml:17:65: warning: HTTPRoute r: spec.rules[0].matches[1] never gets a request: "
            "the regular expression in spec.rules[0] of HTTPRoute r takes every path and comes "
            "before prefixes; use PathPrefix / there\n");
  EXPECT_EQ(
      with_rule("filters: [{type: URLRewrite, requestRedirect: {}}]"),
      "m.yaml:17:15: HTTPRoute r: spec.rules[0].filters[0].requestRedirect does not belong to "
      "this type of filter; remove it\n"
      "m.yaml:17:15: HTTPRoute r: spec.rules[0].filters[0].urlRewrite is missing\n");
  EXPECT_EQ(
      with_rule("filters: [{type: RequestRedirect, requestRedirect: {statusCode: 305}}]"),
      "m.yaml:17:56: HTTPRoute r: spec.rules[0].filters[0].requestRedirect.statusCode must be "
      "301, 302, 303, 307 or 308, not 305\n");
  EXPECT_EQ(with_rule("filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: "
                      "[host, 'a b', te]}}]"),
            "m.yaml:17:78: HTTPRoute r: "
            "spec.rules[0].filters[0].requestHeaderModifier.remove[0] may not be changed here; use "
            "URLRewrite with hostname, not \"host\"\n"
            "m.yaml:17:84: HTTPRoute r: "
            "spec.rules[0].filters[0].requestHeaderModifier.remove[1] must be a header name: 1 to "
            "256 letters, digits and \"!#$%&'*+-.^_`|~\", not \"a b\"\n"
            "m.yaml:17:91: HTTPRoute r: "
            "spec.rules[0].filters[0].requestHeaderModifier.remove[2] must be a header that is not "
            "part of the HTTP framing, not \"te\"\n");
  EXPECT_EQ(
      with_rule("{matches: [{path: {value: /a}}, {path: {value: /a}}], backendRefs: [{name: a, "
                "port: 80}]}"),
      "m.yaml:17:37: warning: HTTPRoute r: spec.rules[0].matches[1] never gets a request: "
      "spec.rules[0] of HTTPRoute r comes first and matches the same\n");
}

TEST(Objects, ABackendOfAnotherNamespaceNeedsAGrantThatNamesIt) {
  const auto with = [](const std::string& to, const std::string& grant) {
    return problems(cat(
        kMesh, R"({apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: b, namespace: other}, spec: {ports: [{port: 80}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: a}]
  rules: [{backendRefs: [)",
        to, "]}]\n", grant));
  };
  const auto grant = [](std::string kind, std::string ns, std::string name) {
    return cat(
        "---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: "
        "{name: g, namespace: other}\nspec: {from: [{group: gateway.networking.k8s.io, kind: ",
        kind, ", namespace: ", ns, "}], to: [{group: \"\", kind: Service", name, "}]}\n");
  };
  const std::string said = with("{name: b, namespace: other, port: 80}", "");
  EXPECT_NE(
      said.find("m.yaml:12:26: HTTPRoute r: spec.rules[0].backendRefs[0].namespace is other, "
                "where no ReferenceGrant lets a HTTPRoute of namespace default name Service b; "
                "add one to namespace other\n"),
      said.npos)
      << said;
  const std::string to = "{name: b, namespace: other, port: 80}";
  for (const auto& [text, good] : {std::pair(grant("HTTPRoute", "default", ""), true),
                                   {grant("HTTPRoute", "default", ", name: b"), true},
                                   {grant("HTTPRoute", "default", ", name: c"), false},
                                   {grant("GRPCRoute", "default", ""), false},
                                   {grant("HTTPRoute", "elsewhere", ""), false}}) {
    EXPECT_EQ(with(to, text).find("ReferenceGrant lets") == std::string::npos, good) << text;
  }
}

// As the Gateway API's status has them; where objects come one by one.
TEST(Objects, ConditionsSayWhatARouteLacks) {
  const LoadReport report = parse(
      {{"m.yaml",
        cat(kMesh,
            R"({apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: a, port: 80}, {name: gone}]
  rules:
  - backendRefs: [{name: a, port: 80}, {name: b, port: 80}, {name: c, namespace: other, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: g}
spec:
  parentRefs: [{name: a, port: 81}]
  rules: [{backendRefs: [{name: c, namespace: other, port: 80}]}]
)")}},
      References::kMayBeMissing);
  ASSERT_EQ(report.errors(), "");
  std::string text;
  for (const RouteStatus& status : route_statuses(report.objects)) {
    text += cat(status.kind, " ", status.name, " at ", status.parent, "\n");
    for (const Condition& c : status.conditions) {
      text += cat("  ", c.type, " ", c.holds ? "True " : "False ", c.reason, " ", c.message, "\n");
    }
  }
  EXPECT_EQ(text, R"(HTTPRoute default/r at default/a:80
  Accepted True Accepted 
  ResolvedRefs False BackendNotFound rules[0].backendRefs[1]: there is no Service default/b with port 80; rules[0].backendRefs[2]: no ReferenceGrant allows Service other/c with port 80
HTTPRoute default/r at default/gone
  Accepted False NoMatchingParent there is no Service default/gone
  ResolvedRefs False BackendNotFound rules[0].backendRefs[1]: there is no Service default/b with port 80; rules[0].backendRefs[2]: no ReferenceGrant allows Service other/c with port 80
GRPCRoute default/g at default/a:81
  Accepted False NoMatchingParent Service default/a has no port 81
  ResolvedRefs False RefNotPermitted rules[0].backendRefs[0]: no ReferenceGrant allows Service other/c with port 80
)");
}

TEST(Objects, TwoApplicationsWithOneIdentityAreToldApart) {
  const auto workload = [](std::string name, std::string address) {
    return cat("{apiVersion: glia.dev/v1, kind: Workload, metadata: {name: ", name,
               ", labels: {app: ", name, "}}, spec: {identity: same, address: ", address,
               ", ports: [{name: http, port: 8080, appPort: 18080}]}}\n---\n");
  };
  const auto service = [](std::string name, std::string selector) {
    return cat("{apiVersion: v1, kind: Service, metadata: {name: ", name,
               "}, spec: {selector: ", selector,
               ", ports: [{port: 80, targetPort: http}]}}\n---\n");
  };
  std::string yaml = cat(kMesh, workload("x", "10.0.0.1"), workload("y", "10.0.0.2"),
                         service("x", "{app: x}"), service("y", "{app: y}"));
  EXPECT_EQ(
      problems(yaml),
      "m.yaml:5:88: warning: Workload y: spec.identity is same, as that of Workload x, though "
      "no Service has both behind it: callers and policies cannot tell them apart\n");
}

TEST(Objects, SaysWhatIsWrongWithAPolicy) {
  const auto rule = [](std::string text) {
    return problems(cat(kMesh,
                        "apiVersion: glia.dev/v1\nkind: Workload\nmetadata: {name: w}\n"
                        "spec: {address: 127.0.1.1, ports: [{name: rest, port: 80}]}\n---\n"
                        "apiVersion: glia.dev/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n"
                        "spec:\n  rules:\n  - ",
                        text, "\n"));
  };
  EXPECT_EQ(rule("from: [{identities: [w]}]"), "");
  EXPECT_EQ(rule("from: [{identities: []}]"),
            "m.yaml:13:25: AuthorizationPolicy p: spec.rules[0].from[0].identities must have at "
            "least 1 item\n");
  EXPECT_EQ(
      rule("from: [{identities: ['spiffe://Mesh.Local/x']}]"),
      "m.yaml:13:26: AuthorizationPolicy p: spec.rules[0].from[0].identities[0] must be an "
      "identity: name, namespace/name, a whole spiffe:// id, or \"*\" for any caller that has "
      "a certificate of this mesh, not \"spiffe://Mesh.Local/x\"\n");
  EXPECT_EQ(
      rule("to: [{paths: ['/a/*/b']}]"),
      "m.yaml:13:19: AuthorizationPolicy p: spec.rules[0].to[0].paths[0] must be a path, or a "
      "prefix with one * at its end, not \"/a/*/b\"\n");
  EXPECT_EQ(
      rule("to: [{ports: [rst]}]"),
      "m.yaml:13:10: AuthorizationPolicy p: spec.rules[0].to[0].ports: rst is not a port of a "
      "Workload that the policy selects; did you mean rest?\n");
}

TEST(Objects, FindsDoublesAcrossFiles) {
  const std::string service =
      "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {a: b}, ports: "
      "[{port: "
      "80}]}}\n";
  const LoadReport report =
      parse({{"a.yaml", cat(kMesh, service)}, {"b.yaml", cat(kMesh, service)}});
  EXPECT_EQ(report.errors(),
            "b.yaml:1:49: Mesh m: there must be exactly one Mesh, the first is in a.yaml:1\n"
            "b.yaml:3:43: Service a: is there twice, first in a.yaml:3");
  EXPECT_EQ(report.objects.services.size(), 1u);
}

// A mistake in one object is not blamed on those that refer to it.
TEST(Objects, ABrokenServiceMakesNoOtherErrors) {
  const std::string found = problems(cat(kMesh, R"(apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {a: b}, port: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec: {parentRefs: [{name: a}], rules: [{backendRefs: [{name: a, port: 80}]}]}
)"));
  EXPECT_EQ(found,
            "m.yaml:6:7: Service a: spec.ports is missing\n"
            "m.yaml:6:26: Service a: spec.port is not a field; did you mean ports?\n");
}

// Else a mesh file could forge lines of a log or drive a terminal.
TEST(Objects, AProblemIsOneLineWhateverTheFileSays) {
  EXPECT_EQ(
      problems(cat(kMesh, "kind: \"a\\nb: \\e[2J\"\n")),
      "m.yaml:3:7: kind a\\u000ab: \\u001b[2J is not known; the kinds are Mesh, Workload, Service, "
      "HTTPRoute, GRPCRoute, InferencePool, TrafficPolicy, ModelPolicy, AuthorizationPolicy, "
      "EndpointSlice, "
      "ReferenceGrant, "
      "Canary\n");
  EXPECT_EQ(problems("apiVersion: \"x\\ny\"\nkind: Mesh\nmetadata: {name: m}\n"),
            "m.yaml:1:13: Mesh m: apiVersion must be glia.dev/v1, not \"x\\x0ay\"\n");
}

TEST(Objects, RefusesAliasBombsAndDeepNesting) {
  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string last = cat("*a", i - 1);
    bomb += cat("a", i, ": &a", i, " [");
    for (int j = 0; j < 10; ++j) bomb += cat(j ? ", " : "", last);
    bomb += "]\n";
  }
  EXPECT_NE(problems(bomb).find(cat("more than ", kMaxYamlNodes, " values")), std::string::npos);
  const std::string deep(static_cast<std::size_t>(kMaxYamlDepth) + 10, '[');
  EXPECT_NE(problems(deep).find("nested deeper than"), std::string::npos);
}

TEST(Objects, ListsOnlyTheFirstOfVeryManyProblems) {
  std::string yaml = kMesh;
  for (std::size_t i = 0; i < kMaxProblems + 50; ++i) yaml += "kind: Nothing\n---\n";
  const LoadReport report = parse({{"m.yaml", yaml}});
  EXPECT_EQ(report.problems.size(), kMaxProblems + 1);
  EXPECT_EQ(report.problems.back().message, "and 50 more problems");
  EXPECT_FALSE(report.ok());
}

TEST(Objects, RefusesTooManyObjects) {
  std::string yaml;
  for (std::size_t i = 0; i <= kMaxObjects; ++i) yaml += "a\n---\n";
  EXPECT_NE(parse({{"m.yaml", yaml}}).errors().find(cat("the limit is ", kMaxObjects)),
            std::string::npos);
}

class Directory {
 public:
  Directory() : path_(std::filesystem::path(testing::TempDir()) / "objects_test_mesh") {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST(Load, ReadsTheYamlFilesOfADirectoryInOrder) {
  const Directory directory;
  EXPECT_NE(load({directory.path()}).errors().find("has no *.yaml file"), std::string::npos);
  directory.write("b.yml", kMesh);
  directory.write("a.yaml", "# nothing\n");
  directory.write(".hidden.yaml", "nonsense");
  directory.write("notes.txt", "nonsense");
  const LoadReport report = load({directory.path()});
  EXPECT_TRUE(report.ok()) << report.errors();
  EXPECT_EQ(report.files,
            (std::vector<std::string>{directory.path() + "/a.yaml", directory.path() + "/b.yml"}));
}

TEST(Load, SaysWhichFileCannotBeRead) {
  const Directory directory;
  const std::string missing = directory.path() + "/mesh.yaml";
  const LoadReport report = load({missing});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.problems[0].text(), missing + ": there is no such file or directory");
  directory.write("mesh.yaml", std::string(kMaxFileBytes + 1, ' '));
  EXPECT_NE(load({missing}).errors().find("the file is larger than"), std::string::npos);
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Schema, TheFilesUnderDocsAreThoseOfTheParser) {
  constexpr char kFix[] = "stale; run: bazel run //control_plane/objects:schema_tool -- $PWD";
  EXPECT_EQ(read("docs/mesh-objects.md"), reference_page()) << kFix;
  for (const std::string_view kind : kind_names()) {
    EXPECT_EQ(read(cat("docs/schema/", kind, ".json")), *json_schema(kind)) << kFix;
  }
  EXPECT_EQ(read("docs/schema/all.json"), json_schema_of_all()) << kFix;
  EXPECT_TRUE(json_schema("httproute"));
  EXPECT_FALSE(json_schema("Nothing"));
}

}  // namespace
}  // namespace glia
