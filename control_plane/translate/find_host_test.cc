// What callers may write for a Service, and what they are told else.
#include "control_plane/translate/find_host.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr char kMesh[] = R"(apiVersion: glia.dev/v1
kind: Mesh
metadata: {name: m}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: front}
spec: {address: 10.0.9.1}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: narrow}
spec: {address: 10.0.9.2, egress: [reco]}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: db-0, labels: {app: db}}
spec: {address: 10.0.9.3, discovery: OnDemand, ports: [{name: http, port: 8080, appPort: 8081}]}
---
apiVersion: v1
kind: Service
metadata: {name: reco}
spec: {clusterIP: 10.96.0.7, selector: {app: reco}, ports: [{name: a, port: 80}, {name: b, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: away}
spec: {selector: {app: far}, ports: [{port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80, targetPort: http}]}
)";

class FindHost : public testing::Test {
 protected:
  FindHost() {
    LoadReport report = parse({{"mesh.yaml", kMesh}});
    EXPECT_TRUE(report.ok()) << report.errors();
    objects = std::move(report.objects);
  }
  std::string find(std::string_view host, const char* caller = "default/front") {
    const Result<std::string> found = find_host(objects, *objects.workload(caller), host);
    if (found) return *found;
    return cat(found.error().kind() == ErrorKind::kDenied ? "denied: " : "none: ",
               found.error().message());
  }
  ObjectSet objects;
};

TEST_F(FindHost, EveryNameOfAServiceIsTheService) {
  for (const char* host :
       {"reco", "RECO", "reco:80", "reco:81", "reco.default", "reco.default.svc",
        "reco.default.svc.cluster.local:81", "10.96.0.7", "10.96.0.7:81", "reco.default:80"}) {
    EXPECT_EQ(find(host), "default/reco") << host;
  }
  EXPECT_EQ(find("far.away"), "away/far");
  EXPECT_EQ(find("far.away:9000"), "away/far");
}

TEST_F(FindHost, AWorkloadBehindAHeadlessServiceIsFoundAlone) {
  for (const char* host :
       {"db-0.db.default.svc.cluster.local", "10.0.9.3:8080", "db-0.default.workload:8080"}) {
    EXPECT_EQ(find(host), "db-0.default.workload:8080") << host;
  }
  EXPECT_EQ(find("db"), "default/db");
}

TEST_F(FindHost, OthersAreNamedWithWhatIsWrong) {
  EXPECT_EQ(find("reco:82"),
            "none: Service default/reco is not known as reco:82; it has the ports 80, 81");
  EXPECT_TRUE(find("far").starts_with("none: no Service has the host name far; write NAME, "))
      << find("far");
  EXPECT_TRUE(find("reco.default.svc.nowhere").starts_with("none: Service default/reco is not "));
  for (const char* host : {"", ".", ":80", "[", "]", "[::1]:80", "a..b", "\x1b[2J"}) {
    EXPECT_TRUE(find(host).starts_with("none: ")) << host;
    EXPECT_EQ(find(host).find('\x1b'), std::string::npos);
  }
}

TEST_F(FindHost, EgressIsKept) {
  EXPECT_EQ(find("reco", "default/narrow"), "default/reco");
  EXPECT_EQ(find("far.away", "default/narrow"),
            "denied: Workload default/narrow may not call Service away/far; its spec.egress would "
            "have to name it");
  EXPECT_TRUE(find("nothing", "default/narrow").starts_with("none: "));
}

TEST_F(FindHost, AWorkloadSaysForItselfWhatItHolds) {
  EXPECT_FALSE(on_demand(objects, *objects.workload("default/front")));
  EXPECT_TRUE(on_demand(objects, *objects.workload("default/db-0")));
  objects.mesh.spec.discovery = SidecarDiscovery::kOnDemand;
  EXPECT_TRUE(on_demand(objects, *objects.workload("default/front")));
}

}  // namespace
}  // namespace glia
