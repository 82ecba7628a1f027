// Which edits are taken for the cost of what they change, and whom they concern. That the result is
// right is for serve/incremental_test.cc.
#include "control_plane/objects/live_set.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

const std::string kMesh = R"(apiVersion: glia.dev/v1
kind: Mesh
metadata: {name: m}
---
{apiVersion: glia.dev/v1, kind: Workload, metadata: {name: a, labels: {app: a}}, spec: {address: 10.0.0.1, ports: [{name: http, port: 8080, appPort: 9000}]}}
---
{apiVersion: glia.dev/v1, kind: Workload, metadata: {name: b, labels: {app: b}}, spec: {address: 10.0.0.2, ports: [{name: http, port: 8080, appPort: 9000}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, ports: [{port: 80, targetPort: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {selector: {app: b}, ports: [{port: 80, targetPort: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: out}, spec: {ports: [{name: web, port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: out, labels: {kubernetes.io/service-name: out}}, addressType: IPv4, endpoints: [{addresses: [10.9.0.1]}], ports: [{name: web, port: 7000}]}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}, spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{backendRefs: [{name: a, port: 80, weight: 1}, {name: b, port: 80}]}]}}
---
{apiVersion: glia.dev/v1, kind: TrafficPolicy, metadata: {name: t}, spec: {targetRef: {kind: Service, name: b}, timeouts: {request: 5s}}}
---
{apiVersion: glia.dev/v1, kind: AuthorizationPolicy, metadata: {name: p}, spec: {selector: {app: b}, action: Allow, rules: [{from: [{identities: [a]}]}]}}
)";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  EXPECT_NE(text.find(from), text.npos) << from;
  return text.replace(text.find(from), from.size(), to);
}

// "services 0 1, workloads 1"; "whole" if everything has to be looked at.
std::string touched(const std::string& from, const std::string& to) {
  const ReadingRef before = read_source({"m.yaml", kMesh});
  const ReadingRef after = read_source({"m.yaml", replaced(kMesh, from, to)});
  LoadReport report = combine({before});
  EXPECT_TRUE(report.ok()) << report.errors();
  LiveSet live(std::move(report.objects));
  std::vector<Problem> warnings;
  const auto result = live.replace(*before, *after, warnings);
  if (!result) return "whole";
  std::string text = "services";
  for (const std::size_t place : result->services) text += cat(" ", place);
  text += ", workloads";
  for (const std::size_t place : result->workloads) text += cat(" ", place);
  return text;
}

TEST(LiveSet, KnowsWhomAnEditConcerns) {
  EXPECT_EQ(touched("10.0.0.2", "10.0.0.3"), "services 1, workloads 1");
  EXPECT_EQ(touched("appPort: 9000}]}}", "appPort: 9000}], egress: [b]}}"),
            "services 0, workloads 0");
  EXPECT_EQ(touched("10.9.0.1", "10.9.0.2"), "services 2, workloads");
  EXPECT_EQ(touched("weight: 1}", "weight: 5}"), "services 0, workloads");
  EXPECT_EQ(touched("kind: Service, name: a}], rules", "kind: Service, name: b}], rules"),
            "services 0 1, workloads");
  EXPECT_EQ(touched("request: 5s", "request: 6s"), "services 1, workloads");
  EXPECT_EQ(touched("name: b}, timeouts", "name: a}, timeouts"), "services 0 1, workloads");
  EXPECT_EQ(touched("identities: [a]", "identities: [b]"), "services, workloads 1");
  EXPECT_EQ(touched("selector: {app: b}, action", "selector: {app: a}, action"),
            "services, workloads 0 1");
}

const std::string kSlice =
    "---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: NAME, labels: "
    "{kubernetes.io/service-name: out}}, addressType: IPv4, endpoints: [{addresses: [10.9.0.2]}], "
    "ports: [{name: web, port: 7000}]}\n";

TEST(LiveSet, ASliceThatComesOrGoesBesideOthersConcernsItsService) {
  const ReadingRef before = read_source({"m.yaml", kMesh});
  LiveSet live(combine({before}).objects);
  std::vector<Problem> warnings;
  // Before the other one, behind it, and in a source of its own.
  ReadingRef last = before;
  std::string text = kMesh;
  for (const char* name : {"first", "second"}) {
    text += replaced(kSlice, "NAME", name);
    const ReadingRef more = read_source({"m.yaml", text});
    const auto touched = live.replace(*last, *more, warnings);
    ASSERT_TRUE(touched) << name;
    EXPECT_EQ(touched->services, std::set<std::size_t>{2});
    EXPECT_EQ(live.objects().version, combine({more}).objects.version);
    last = more;
  }
  const ReadingRef own = read_source({"own.yaml", replaced(kSlice, "NAME", "own")});
  ASSERT_TRUE(live.replace(Reading(), *own, warnings));
  EXPECT_EQ(live.objects().slices.size(), 4u);
  EXPECT_EQ(live.objects().services[2].slices, (std::vector<std::size_t>{0, 1, 2, 3}));
  EXPECT_EQ(live.objects().slices[1].metadata.name, "out");
  EXPECT_EQ(live.objects().version, combine({last, own}).objects.version);
  ASSERT_TRUE(live.replace(*own, Reading(), warnings));
  ASSERT_TRUE(live.replace(*last, *before, warnings) == std::nullopt) << "two at once";
  EXPECT_EQ(live.objects().version, combine({last}).objects.version);
}

TEST(LiveSet, TheFirstAndTheLastSliceAreForTheWholeCheck) {
  const std::string slice = kMesh.substr(kMesh.find("---\n{apiVersion: discovery"));
  const std::string only = slice.substr(0, slice.find("---\n", 4));
  EXPECT_EQ(touched(only, ""), "whole");
  const ReadingRef with = read_source({"m.yaml", kMesh});
  const ReadingRef without = read_source({"m.yaml", replaced(kMesh, only, "")});
  LiveSet live(combine({without}).objects);
  std::vector<Problem> warnings;
  EXPECT_FALSE(live.replace(*without, *with, warnings));
  // One that may be wrong is none of ours, and leaves nothing behind.
  LiveSet other(combine({with}).objects);
  const ReadingRef wrong = read_source(
      {"w.yaml", replaced(replaced(kSlice, "NAME", "wrong"), "name: web", "name: wob")});
  EXPECT_FALSE(other.replace(Reading(), *wrong, warnings));
  EXPECT_EQ(other.objects().slices.size(), 1u);
  EXPECT_EQ(other.objects().services[2].slices, std::vector<std::size_t>{0});
}

TEST(LiveSet, CommentsConcernNobody) {
  EXPECT_EQ(touched("kind: Mesh\n", "kind: Mesh  # ours\n# and more\n"), "services, workloads");
}

TEST(LiveSet, LeavesToOthersWhatConcernsManyOrMayBeWrong) {
  EXPECT_EQ(touched("selector: {app: a}, ports", "selector: {app: b}, ports"), "whole");
  EXPECT_EQ(touched("labels: {app: b}", "labels: {app: c}"), "whole");
  EXPECT_EQ(touched("name: m}", "name: n}"), "whole");
  EXPECT_EQ(touched("10.0.0.2", "10.0.0.1"), "whole") << "somebody listens there";
  EXPECT_EQ(touched("10.0.0.2", "10.9.0.1"), "whole") << "a slice speaks of it";
  EXPECT_EQ(touched("appPort: 9000}]}}", "appPort: 9000}], egress: [c]}}"), "whole");
  EXPECT_EQ(touched("10.9.0.1", "10.0.0.2"), "services 2, workloads")
      << "nobody of the mesh has that port";
  EXPECT_EQ(touched("name: web, port: 7000", "name: wob, port: 7000"), "whole");
  EXPECT_EQ(touched("{name: b, port: 80}]}]", "{name: c, port: 80}]}]"), "whole");
  EXPECT_EQ(touched("name: b}, timeouts", "name: c}, timeouts"), "whole");
  EXPECT_EQ(touched("identities: [a]", "identities: [c]"), "whole");
  EXPECT_EQ(touched("weight: 1}", "weight: heavy}"), "whole");
}

TEST(LiveSet, WhatIsNotTakenChangesNothing) {
  const ReadingRef before = read_source({"m.yaml", kMesh});
  const ReadingRef wrong =
      read_source({"m.yaml", replaced(kMesh, "{name: b, port: 80}]}]", "{name: c, port: 80}]}]")});
  LiveSet live(combine({before}).objects);
  const auto routes = live.objects().services[0].http_routes;
  std::vector<Problem> warnings;
  EXPECT_FALSE(live.replace(*before, *wrong, warnings));
  EXPECT_EQ(live.objects().http_routes[0].spec.rules[0].backend_refs[1].name, "b");
  EXPECT_EQ(live.objects().services[0].http_routes, routes);
  EXPECT_TRUE(warnings.empty());
}

TEST(LiveSet, TellsWarnings) {
  const ReadingRef before = read_source({"m.yaml", kMesh});
  const ReadingRef idle =
      read_source({"m.yaml", replaced(kMesh, "weight: 1}, {name: b, port: 80}", "weight: 0}")});
  LiveSet live(combine({before}).objects);
  std::vector<Problem> warnings;
  ASSERT_TRUE(live.replace(*before, *idle, warnings));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].text().find("all weights are 0"), std::string::npos);
}

}  // namespace
}  // namespace glia
