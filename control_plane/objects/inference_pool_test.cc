// What a route learns of an InferencePool that it names. What pools become is in test/golden/mesh.
#include "control_plane/objects/inference_pool.h"

#include <gtest/gtest.h>

#include "control_plane/objects/object_set.h"
#include "control_plane/objects/reference.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr char kMesh[] = "{apiVersion: glia.dev/v1, kind: Mesh, metadata: {name: m}}\n---\n";

// The Gateway API's words for a backend of another kind; a Service of the same name is none.
TEST(InferencePools, ConditionsSayWhichInferencePoolIsMissingOrNotAllowed) {
  const std::string mesh =
      cat(kMesh,
          R"({apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: p, namespace: other}
spec: {selector: {matchLabels: {app: p}}, targetPorts: [{number: 8000}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: a}]
  rules:
  - backendRefs:
    - {group: inference.networking.k8s.io, kind: InferencePool, name: a}
    - {group: inference.networking.k8s.io, kind: InferencePool, name: p, namespace: other}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
)");
  const auto message = [&](const std::string& granted) {
    const LoadReport report =
        parse({{"m.yaml", cat(mesh, "  to: [", granted, "]\n")}}, References::kMayBeMissing);
    EXPECT_EQ(report.errors(), "");
    const Condition resolved = route_statuses(report.objects).at(0).conditions.at(1);
    return cat(resolved.reason, " ", resolved.message);
  };
  EXPECT_EQ(message("{group: '', kind: Service}"),
            "BackendNotFound rules[0].backendRefs[0]: there is no InferencePool default/a; "
            "rules[0].backendRefs[1]: no ReferenceGrant allows InferencePool other/p");
  EXPECT_EQ(message("{group: inference.networking.k8s.io, kind: InferencePool, name: p}"),
            "BackendNotFound rules[0].backendRefs[0]: there is no InferencePool default/a");
}

}  // namespace
}  // namespace glia
