// What is written into the status of objects, when, and what is left as it is.
#include "control_plane/kubernetes/status_writer.h"

#include <gtest/gtest.h>

#include "control_plane/kubernetes/api_server_test_support.h"
#include "control_plane/kubernetes/kubernetes_source.h"
#include "control_plane/objects/reading.h"

namespace glia {
namespace {

constexpr char kMesh[] = R"(
{apiVersion: glia.dev/v1, kind: Mesh, metadata: {name: m}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{port: 80}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: web}], rules: [{backendRefs: [{name: gone, port: 80}]}]}
)";

class StatusWriterTest : public testing::Test {
 protected:
  StatusWriterTest() {
    LoadReport report = parse({{"mesh", kMesh}}, References::kMayBeMissing);
    EXPECT_TRUE(report.ok()) << report.errors();
    objects_ = std::move(report.objects);
  }
  static const Resource& resource(std::string_view kind) {
    static const std::vector<Resource> all = KubernetesSource::resources();
    return *std::ranges::find(all, kind, &Resource::kind);
  }
  void policy(std::string_view version, std::string_view status = "{}") {
    writer_.see(resource("TrafficPolicy"),
                Json::parse(cat(R"({"metadata": {"namespace": "shop",
      "name": "p", "generation": 4, "resourceVersion": ")",
                                version, R"("}, "status": )", status, "}")));
  }
  void route(std::string_view status) {
    writer_.see(resource("HTTPRoute"), Json::parse(cat(R"({"metadata": {"namespace": "shop",
      "name": "r", "generation": 2, "resourceVersion": "9"}, "spec": {"parentRefs": [
        {"group": "", "kind": "Service", "name": "web"}]}, "status": )",
                                                       status, "}")));
  }
  void tell(const std::map<std::string, std::string>& set_aside = {}) {
    writer_.tell(objects_, set_aside);
    world_.run_for(1s);
  }
  // What was written last.
  Json body() const { return Json::parse(server_.asked.back().body); }

  SimWorld world_{1};
  SimApiServer server_{world_};
  ApiServer api_{world_.loop(), world_.host("10.0.0.2"), SimApiServer::access()};
  StatusWriter writer_{api_};
  ObjectSet objects_;
};

TEST_F(StatusWriterTest, SaysThatAnObjectIsInForceAndSaysItOnce) {
  server_.will_say({.body = "{}"});
  policy("7");
  tell();
  ASSERT_EQ(server_.asked.size(), 1u);
  EXPECT_EQ(server_.asked[0].method, "PATCH");
  EXPECT_EQ(server_.asked[0].path, "/apis/glia.dev/v1/namespaces/shop/trafficpolicies/p/status");
  EXPECT_EQ(body()["metadata"]["resourceVersion"], "7");
  const Json condition = body()["status"]["conditions"][0];
  EXPECT_EQ(condition["type"], "Accepted");
  EXPECT_EQ(condition["status"], "True");
  EXPECT_EQ(condition["observedGeneration"], 4);
  // As the API server gives it back: with keys in another order.
  policy("8", cat(R"({"conditions": [{"lastTransitionTime": )",
                  condition["lastTransitionTime"].dump(), R"(, "message": "it is in force",
      "observedGeneration": 4, "reason": "Accepted", "status": "True", "type": "Accepted"}]})"));
  tell();
  EXPECT_EQ(server_.asked.size(), 1u);
}

TEST_F(StatusWriterTest, SaysWhyAnObjectIsNotInForceAndSinceWhen) {
  server_.will_say({.body = "{}"});
  policy("7", R"({"conditions": [{"type": "Accepted", "status": "False", "reason": "Invalid",
      "message": "another", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 3}]})");
  tell({{"kubernetes:TrafficPolicy/shop/p", "there is no such Service"}});
  ASSERT_EQ(server_.asked.size(), 1u);
  const Json condition = body()["status"]["conditions"][0];
  EXPECT_EQ(condition["status"], "False");
  EXPECT_EQ(condition["message"], "there is no such Service");
  EXPECT_EQ(condition["lastTransitionTime"], "2026-01-01T00:00:00Z");
}

TEST_F(StatusWriterTest, ARouteHasConditionsAtItsParentAndWhatOthersSayStays) {
  server_.will_say({.body = "{}"});
  route(R"({"parents": [{"controllerName": "example.com/gateway", "parentRef": {"name": "edge"},
      "conditions": []}]})");
  tell();
  ASSERT_EQ(server_.asked.size(), 1u);
  const Json parents = body()["status"]["parents"];
  ASSERT_EQ(parents.size(), 2u);
  EXPECT_EQ(parents[0]["controllerName"], "example.com/gateway");
  EXPECT_EQ(parents[1]["controllerName"], "glia.dev/mesh");
  EXPECT_EQ(parents[1]["parentRef"]["name"], "web");
  std::map<std::string, std::string> said;
  for (const Json& condition : parents[1]["conditions"]) {
    said[text_at(condition, "type")] = text_at(condition, "status");
  }
  EXPECT_EQ(said,
            (std::map<std::string, std::string>{{"Accepted", "True"}, {"ResolvedRefs", "False"}}));
}

TEST_F(StatusWriterTest, ANewerVersionIsWaitedForAndTroubleIsTriedAgain) {
  server_.will_say({.status = 409, .body = "{}"});
  policy("7");
  tell();
  world_.run_for(1min);
  EXPECT_EQ(server_.asked.size(), 1u);
  server_.will_say({.status = 500, .body = "{}"});
  server_.will_say({.body = "{}"});
  policy("8");
  tell();
  EXPECT_EQ(server_.asked.size(), 2u);
  world_.run_for(1min);
  EXPECT_EQ(server_.asked.size(), 3u);
  EXPECT_EQ(body()["metadata"]["resourceVersion"], "8");
}

TEST_F(StatusWriterTest, SoManyAtOnceAndNoMore) {
  for (int i = 0; i < 100; ++i) {
    writer_.see(resource("TrafficPolicy"),
                Json::parse(cat(R"({"metadata": {"namespace": "shop", "name": "p)", i, R"("}})")));
  }
  tell();
  EXPECT_EQ(server_.asked.size(), StatusWriter::kMostAtOnce);
  for (int i = 0; i < 100; ++i) server_.will_say({.body = "{}"});
  world_.run_for(1min);
  EXPECT_EQ(server_.asked.size(), 100u);
}

TEST_F(StatusWriterTest, OfWhatIsNotOursNothingIsSaid) {
  writer_.see(resource("Service"), Json::parse(R"({"metadata": {"namespace": "a", "name": "s"}})"));
  writer_.see(resource("HTTPRoute"), Json::parse(R"({"metadata": {"namespace": "a", "name": "g"},
    "spec": {"parentRefs": [{"kind": "Gateway", "name": "edge"}]}})"));
  policy("7");
  writer_.forget(resource("TrafficPolicy"), "shop", "p");
  tell();
  EXPECT_TRUE(server_.asked.empty());
}

}  // namespace
}  // namespace glia
