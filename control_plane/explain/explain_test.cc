#include "control_plane/explain/explain.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "control_plane/explain/diff.h"
#include "control_plane/explain/made_of.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr char kMesh[] =
    R"({apiVersion: glia.dev/v1, kind: Mesh, metadata: {name: demo}, spec: {trustDomain: demo.mesh}}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: web}
spec: {address: 127.0.1.1}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: model-1, labels: {app: model, version: v1}}
spec: {identity: model, address: 127.0.1.2, ports: [{name: rest, port: 8080, appPort: 18080}]}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: model-2, labels: {app: model, version: v2}}
spec: {identity: model, address: 127.0.1.3, ports: [{name: rest, port: 8080, appPort: 18081}]}
---
{apiVersion: v1, kind: Service, metadata: {name: model}, spec: {selector: {app: model}, ports: [{port: 80, targetPort: rest}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: model-v1}, spec: {selector: {app: model, version: v1}, ports: [{port: 80, targetPort: rest}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: model-v2}, spec: {selector: {app: model, version: v2}, ports: [{port: 80, targetPort: rest}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: model}
spec:
  parentRefs: [{name: model}]
  rules:
  - name: infer
    matches: [{path: {value: /v2}, method: POST}]
    timeouts: {request: 10s, backendRequest: 2500ms}
    retry: {codes: [503], attempts: 2}
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-route, value: split}]}}
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /api}}}
    backendRefs: [{name: model-v1, port: 80, weight: 90}, {name: model-v2, port: 80, weight: 10}]
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /v2}}}]
  - matches: [{headers: [{name: x-user, value: ann}]}]
    backendRefs: [{name: model-v2, port: 80}]
---
apiVersion: glia.dev/v1
kind: AuthorizationPolicy
metadata: {name: callers}
spec:
  selector: {version: v1}
  rules: [{from: [{identities: [web]}], to: [{paths: [/api/*]}]}]
---
apiVersion: glia.dev/v1
kind: TrafficPolicy
metadata: {name: model}
spec: {targetRef: {name: model}, timeouts: {idle: 1m}}
)";

ObjectSet objects(std::string yaml = kMesh) {
  LoadReport report = parse({{"mesh.yaml", std::move(yaml)}});
  EXPECT_EQ(report.errors(), "");
  return std::move(report.objects);
}

// Of model-2, which no host name leads to but the route of `model-v1`.
constexpr char kPool[] = R"(---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: two-2.0}
spec: {selector: {matchLabels: {version: v2}}, targetPorts: [{number: 8080}]}
---
apiVersion: glia.dev/v1
kind: ModelPolicy
metadata: {name: two}
spec: {targetRef: {group: inference.networking.k8s.io, kind: InferencePool, name: two-2.0}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: pools}
spec:
  parentRefs: [{name: model-v1}]
  rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: two-2.0}]}]
)";

TEST(Explain, NamesAnInferencePoolAndWhatItsClusterIsMadeOf) {
  const ObjectSet set = objects(cat(kMesh, kPool));
  Question question;
  question.from = "web";
  ASSERT_TRUE(question.read_url("http://model-v1/v1/chat/completions"));
  const std::string text = explain(set, question)->text();
  EXPECT_NE(text.find("pool:two-2.0.default, InferencePool default/two-2.0 (mesh.yaml:57)"),
            text.npos)
      << text;
  EXPECT_NE(text.find("127.0.1.3:8080 default/model-2: "), text.npos) << text;
  int clusters = 0;
  for (const MadeOf& made : made_of(set, *set.workload("web"))) {
    EXPECT_EQ(made.resource.find("host pool:"), made.resource.npos);
    if (made.resource != "cluster pool:two-2.0.default") continue;
    ++clusters;
    EXPECT_EQ(made.objects,
              (std::vector<std::string>{"InferencePool default/two-2.0 (mesh.yaml:57)",
                                        "Workload default/model-2 (mesh.yaml:15)",
                                        "ModelPolicy default/two (mesh.yaml:62)"}));
  }
  EXPECT_EQ(clusters, 1);
}

std::string asked(const std::string& url, const std::string& method = "",
                  std::vector<std::pair<std::string, std::string>> headers = {},
                  const std::string& from = "web") {
  Question question;
  question.from = from;
  question.headers = std::move(headers);
  if (const auto read = question.read_url(url); !read) return read.error().message();
  if (!method.empty()) question.method = method;
  const auto explanation = explain(objects(), question);
  return explanation ? explanation->text() : explanation.error().message();
}

TEST(Explain, SaysWhichRuleBackendsAndPolicyDecide) {
  EXPECT_EQ(asked("http://model/v2/models/x/infer", "POST"),
            R"(POST model/v2/models/x/infer from default/web
  host      model.default:80
  not       HTTPRoute/default/model/1: path is not /old or below it
  route     HTTPRoute/default/model/infer
            mesh.yaml:30 spec.rules[0] of HTTPRoute default/model (mesh.yaml:26)
  because   path /v2 or below it, method POST
  policy    TrafficPolicy default/model (mesh.yaml:52)
  does      request header x-route is set to split
  does      timeout 10s
  does      idle timeout 60s
  does      timeout of one attempt 2500ms
  does      is sent again up to 2 times
  does      path becomes /api/models/x/infer
  90 %      outbound:80:model-v1.default, Service default/model-v1 (mesh.yaml:20)
              127.0.1.2:8080 default/model-1: allowed by AuthorizationPolicy default/callers (mesh.yaml:45)
  10 %      outbound:80:model-v2.default, Service default/model-v2 (mesh.yaml:22)
              127.0.1.3:8080 default/model-2: no AuthorizationPolicy selects it, and spec.defaultAuthorization of the Mesh is Allow
)");
}

TEST(Explain, SaysWhyNoRuleTakesARequest) {
  const std::string text = asked("model/v2");
  EXPECT_NE(text.find("not       HTTPRoute/default/model/infer: method is not POST\n"), text.npos)
      << text;
  EXPECT_NE(text.find("not       HTTPRoute/default/model/2: header x-user is not ann\n"), text.npos)
      << text;
  EXPECT_NE(text.find("answers   404: no rule of the routes of Service default/model port 80"),
            text.npos)
      << text;
}

TEST(Explain, SaysWhoIsRefusedByWhichPolicy) {
  const std::string text = asked("http://model-v1/x", "", {}, "model-2");
  EXPECT_NE(text.find("127.0.1.2:8080 default/model-1: REFUSED with 403: "), text.npos) << text;
  EXPECT_NE(text.find("default/callers"), text.npos) << text;
}

TEST(Explain, KnowsRedirectsHeadersAndUnknownHosts) {
  EXPECT_NE(asked("http://model/old/x?a=b").find("answers   302 to http://model/v2/x?a=b"),
            std::string::npos);
  EXPECT_NE(asked("http://model/", "", {{"x-user", "ann"}})
                .find("100 %     outbound:80:model-v2.default"),
            std::string::npos);
  EXPECT_NE(asked("http://modle/").find("answers   404: no Service has this host name"),
            std::string::npos);
}

TEST(Explain, SaysWhatIsWrongWithTheQuestion) {
  EXPECT_EQ(asked("ftp://model/"), "\"ftp\" is not http, https or grpc");
  EXPECT_EQ(asked("http:///x"), "the URL names no host; write http://SERVICE/PATH");
  EXPECT_EQ(asked("http://model/", "", {}, "wbe"), "there is no Workload wbe; did you mean web?");
  EXPECT_NE(asked("http://model/a/../b").find("the sidecar answers 400"), std::string::npos);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

// `web` may call model-v2 only.
ObjectSet narrowed() {
  return objects(replaced(kMesh, "127.0.1.1}", "127.0.1.1, egress: [model-v2]}"));
}

TEST(Explain, KnowsWhichServicesACallerMayCall) {
  Question question{.from = "web", .authority = "model-v1"};
  EXPECT_EQ(explain(narrowed(), question)->host, "unknown-host");
  question.authority = "model-v2";
  EXPECT_EQ(explain(narrowed(), question)->host, "model-v2.default:80");
}

TEST(MadeOf, NamesTheObjectsOfEachResource) {
  const ObjectSet set = objects();
  std::string text;
  for (const MadeOf& made : made_of(set, *set.workload("model-1"))) {
    text += cat(made.resource, ":");
    for (const std::string& object : made.objects) text += cat(" ", object, ";");
    text += "\n";
  }
  EXPECT_NE(text.find("listener inbound:rest: Workload default/model-1 (mesh.yaml:10); "
                      "AuthorizationPolicy default/callers (mesh.yaml:45); Mesh default/demo "
                      "(mesh.yaml:1);\n"),
            text.npos)
      << text;
  EXPECT_NE(
      text.find("host model.default:80: Service default/model (mesh.yaml:18); HTTPRoute "
                "default/model (mesh.yaml:26); TrafficPolicy default/model (mesh.yaml:52);\n"),
      text.npos)
      << text;
  EXPECT_NE(text.find("cluster outbound:80:model-v1.default: Service default/model-v1 "
                      "(mesh.yaml:20); Workload default/model-1 (mesh.yaml:10);\n"),
            text.npos)
      << text;
}

TEST(MadeOf, NamesTheCanaryWhereItSharesRequests) {
  const LoadReport report = parse({{"m.yaml", R"(apiVersion: glia.dev/v1
kind: Mesh
metadata: {name: m}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: one, labels: {app: a, version: v1}}
spec: {address: 10.0.0.1, ports: [{name: http, port: 80, appPort: 81}]}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: two, labels: {app: a, version: v2}}
spec: {address: 10.0.0.2, ports: [{name: http, port: 80, appPort: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a}, ports: [{port: 80}]}
---
apiVersion: glia.dev/v1
kind: Canary
metadata: {name: a}
spec: {targetRef: {name: a}, candidate: {labels: {version: v2}}}
)"}});
  ASSERT_TRUE(report.ok()) << report.errors();
  std::string text;
  for (const MadeOf& made : made_of(report.objects, report.objects.workloads[0])) {
    if (made.resource.find(":80:a.default") == text.npos && made.resource != "host a.default:80") {
      continue;
    }
    text += cat(made.resource, ":");
    for (const std::string& object : made.objects) text += cat(" ", object, ";");
    text += "\n";
  }
  EXPECT_EQ(text,
            "host a.default:80: Service default/a (m.yaml:17); Canary default/a (m.yaml:22);\n"
            "cluster outbound:80:a.default: Service default/a (m.yaml:17); Workload default/one "
            "(m.yaml:7); Workload default/two (m.yaml:12);\n"
            "cluster stable:80:a.default: Service default/a (m.yaml:17); Workload default/one "
            "(m.yaml:7); Canary default/a (m.yaml:22);\n"
            "cluster candidate:80:a.default: Service default/a (m.yaml:17); Workload default/two "
            "(m.yaml:12); Canary default/a (m.yaml:22);\n");
}

std::vector<std::string> resources_of(const ObjectSet& set, std::string_view workload) {
  std::vector<std::string> names;
  for (const MadeOf& made : made_of(set, *set.workload(workload))) names.push_back(made.resource);
  return names;
}

TEST(MadeOf, NamesOnlyWhatTheSidecarHas) {
  EXPECT_EQ(
      resources_of(narrowed(), "web"),
      (std::vector<std::string>{"listener outbound", "host model-v2.default:80",
                                "cluster outbound:80:model-v2.default", "host unknown-host"}));
}

TEST(MadeOf, NamesWhatIsMadeOfWorkloadsThatAreCalledAlone) {
  const ObjectSet set = objects(cat(kMesh, R"(---
{apiVersion: v1, kind: Service, metadata: {name: all}, spec: {clusterIP: None, selector: {version: v2}, ports: [{port: 80, targetPort: rest}]}}
)"));
  const std::vector<std::string> names = resources_of(set, "web");
  EXPECT_EQ(std::ranges::count(names, "host model-2.default.workload:8080"), 1);
  EXPECT_EQ(std::ranges::count(names, "cluster direct:8080:model-2.default"), 1);
}

// It holds what it has used: of the way to others, nothing at first.
TEST(MadeOf, SaysWhatASidecarOnDemandIsSentOnlyWhenItAsks) {
  const std::string mesh =
      replaced(kMesh, "trustDomain: demo.mesh", "trustDomain: demo.mesh, discovery: OnDemand");
  const ObjectSet set = objects(mesh);
  std::vector<std::string> at_once;
  std::size_t later = 0;
  for (const MadeOf& made : made_of(set, *set.workload("model-1"))) {
    later += made.on_demand;
    if (!made.on_demand) at_once.push_back(made.resource);
  }
  EXPECT_EQ(at_once, (std::vector<std::string>{"listener inbound:rest", "cluster inbound:rest",
                                               "listener outbound", "host unknown-host"}));
  EXPECT_EQ(later, 6u);
  Question question;
  question.from = "web";
  ASSERT_TRUE(question.read_url("http://model/v2/models/x/infer"));
  question.method = "POST";
  const auto explanation = explain(set, question);
  ASSERT_TRUE(explanation);
  EXPECT_NE(explanation->text().find(
                "  on demand the sidecar has it from the first request on, which waits for it\n"),
            std::string::npos)
      << explanation->text();
  for (const MadeOf& made : made_of(objects(), *objects().workload("web"))) {
    EXPECT_FALSE(made.on_demand) << made.resource;
  }
}

TEST(Diff, WhatACallerMayCallIsAChange) {
  const MeshDiff changes = diff(objects(), narrowed());
  ASSERT_EQ(changes.changes.size(), 1u);
  EXPECT_EQ(changes.changes[0].workloads, std::vector<std::string>{"default/web"});
}

TEST(Diff, AWeightIsSentToEverySidecarAndNothingElseIs) {
  const MeshDiff changes = diff(objects(), objects(replaced(kMesh, "weight: 90", "weight: 80")));
  EXPECT_EQ(changes.text(), R"(default/model-1, default/model-2, default/web
  ~ host model.default:80 of routes outbound
      -           value: 90
      +           value: 80
0 sidecars are sent nothing
)");
}

TEST(Diff, APolicyIsSentToThoseThatItSelects) {
  const MeshDiff changes =
      diff(objects(), objects(replaced(kMesh, "identities: [web]", "identities: [other]")));
  ASSERT_EQ(changes.changes.size(), 1u);
  EXPECT_EQ(changes.changes[0].workloads, std::vector<std::string>{"default/model-1"});
  EXPECT_EQ(changes.changes[0].changes[0].what, "listener inbound:rest");
  EXPECT_EQ(changes.unchanged, 2u);
}

TEST(Diff, SaysWhoComesAndGoesAndWhenNothingChanges) {
  EXPECT_TRUE(diff(objects(), objects()).empty());
  const std::string more = cat(kMesh, R"(---
{apiVersion: glia.dev/v1, kind: Workload, metadata: {name: new}, spec: {address: 127.0.1.9}}
)");
  EXPECT_EQ(diff(objects(), objects(more)).text(),
            "new sidecars may join: default/new\n3 sidecars are sent nothing\n");
  EXPECT_EQ(diff(objects(more), objects()).left, std::vector<std::string>{"default/new"});
}

}  // namespace
}  // namespace glia
