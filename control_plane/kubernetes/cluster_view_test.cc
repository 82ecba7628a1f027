// Objects of Kubernetes as mesh objects: what a pod, a Service and its slices become, and what a change costs.
#include "control_plane/kubernetes/cluster_view.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "control_plane/kubernetes/kubernetes_source.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

const Resource& resource(std::string_view kind) {
  static const std::vector<Resource> all = KubernetesSource::resources();
  return *std::ranges::find(all, kind, &Resource::kind);
}

class ClusterViewTest : public testing::Test {
 protected:
  void put(std::string_view kind, std::string_view json) {
    const Json object = Json::parse(json);
    view_.put(resource(kind), object);
  }
  void gone(std::string_view kind, const std::string& name) {
    view_.gone(resource(kind), "shop", name);
  }
  // The names of the sources that are others now; "-" before those that are gone.
  std::vector<std::string> take() {
    const SourceEdit edit = view_.take();
    std::vector<std::string> names;
    for (const ReadingRef& reading : edit.read) {
      names.push_back(reading->name.substr(reading->name.find(':') + 1));
      EXPECT_EQ(reading->mistakes, MistakesOf::kThisSource);
      for (const Problem& problem : reading->problems) problems_.push_back(problem.message);
      held_[reading->name] = reading;
    }
    for (const std::string& name : edit.gone) {
      names.push_back("-" + name.substr(name.find(':') + 1));
      held_.erase(name);
    }
    return names;
  }
  // All that is there, checked against each other.
  ObjectSet objects() {
    std::vector<ReadingRef> all;
    for (const auto& [name, reading] : held_) all.push_back(reading);
    LoadReport report = combine(all, References::kMayBeMissing);
    EXPECT_TRUE(report.ok()) << report.errors();
    return std::move(report.objects);
  }
  void service(std::string_view more = "") {
    put("Service", cat(R"({"metadata": {"namespace": "shop", "name": "web"}, "spec": {
      "type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
      "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
      "selector": {"app": "web"}, "ports": [
        {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
        {"name": "grpc-api", "port": 90, "targetPort": 9090, "protocol": "TCP"},
        {"name": "dns", "port": 53, "protocol": "UDP"}])",
                       more, "}}"));
  }
  void slice(std::string_view endpoints, std::string_view name = "web-1") {
    put("EndpointSlice", cat(R"({"metadata": {"namespace": "shop", "name": ")", name, R"(",
      "labels": {"kubernetes.io/service-name": "web", "managed-by": "x"}}, "addressType": "IPv4",
      "ports": [{"name": "http", "port": 8080, "protocol": "TCP"},
                {"name": "dns", "port": 53, "protocol": "UDP"}], "endpoints": [)",
                             endpoints, "]}"));
  }
  static std::string endpoint(std::string_view address, std::string_view ready = "true") {
    return cat(R"({"addresses": [")", address, R"("], "conditions": {"ready": )", ready,
               R"(, "serving": )", ready, R"(, "terminating": false}, "nodeName": "n",
      "targetRef": {"kind": "Pod", "name": "web-0"}})");
  }
  struct PodFacts {
    std::string_view address = "10.0.0.1", ready = "True", more = "", phase = "Running";
    std::string_view injected = R"("glia.dev/injected": "native")";
  };
  void pod(std::string_view name, const PodFacts& facts) {
    put("Pod", cat(R"({"metadata": {"namespace": "shop", "name": ")", name, R"(",
      "uid": "u", "labels": {"app": "web", "version": "v1"},
      "annotations": {)",
                   facts.injected, "}", facts.more, R"(},
      "spec": {"serviceAccountName": "seller", "nodeName": "n", "containers": [
        {"name": "app", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"},
                                  {"containerPort": 5432}, {"containerPort": 53, "protocol": "UDP"}]},
        {"name": "glia-proxy", "ports": [{"containerPort": 15021}]}]},
      "status": {"phase": ")",
                   facts.phase, R"(", "podIP": ")", facts.address, R"(",
        "podIPs": [{"ip": ")",
                   facts.address, R"("}],
        "conditions": [{"type": "Ready", "status": ")",
                   facts.ready, R"("}]}})"));
  }

  ClusterView view_{ClusterView::MeshObject::kMadeHere};
  std::map<std::string, ReadingRef> held_;
  std::vector<std::string> problems_;
};

TEST_F(ClusterViewTest, APodWithASidecarIsAWorkload) {
  service();
  pod("web-0", {});
  take();
  const ObjectSet mesh = objects();
  ASSERT_EQ(problems_, std::vector<std::string>{});
  const Workload* const workload = mesh.workload("shop/web-0");
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(mesh.spiffe_id(*workload), "spiffe://mesh.local/ns/shop/sa/seller");
  EXPECT_EQ(workload->spec.address, "10.0.0.1");
  EXPECT_EQ(workload->spec.state, Workload::State::kReady);
  ASSERT_TRUE(workload->spec.capture);
  EXPECT_EQ(workload->spec.capture->families, Workload::Capture::Families::kIpv4);
  // What the Service leads to is a port also if the container does not list it; and what it says is spoken.
  ASSERT_EQ(workload->spec.ports.size(), 3u);
  EXPECT_EQ(workload->port("http")->protocol, Workload::Protocol::kHttp);
  EXPECT_EQ(workload->port("p5432")->protocol, Workload::Protocol::kTcp);
  EXPECT_EQ(workload->port("p9090")->protocol, Workload::Protocol::kGrpc);
  const MeshService* const found = mesh.service("shop", "web");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->members.size(), 1u);
  EXPECT_EQ(found->spec.cluster_ip, "10.96.0.9");
  ASSERT_EQ(found->spec.ports.size(), 2u);  // Not UDP's.
}

TEST_F(ClusterViewTest, PodsOfAnInferencePoolHaveItsPorts) {
  constexpr char kPool[] = R"({"metadata": {"namespace": "shop", "name": "llama"}, "spec": {
    "selector": {"matchLabels": {"app": "web"}}, "targetPorts": [{"number": 8000}],
    "appProtocol": "kubernetes.io/h2c", "endpointPickerRef": {"name": "epp", "port": {"number": 9002}}}})";
  pod("web-0", {});
  take();
  put("InferencePool", kPool);
  EXPECT_EQ(take(), (std::vector<std::string>{"Pod/shop/web-0", "InferencePool/shop/llama"}));
  const ObjectSet mesh = objects();
  ASSERT_EQ(problems_, std::vector<std::string>{});
  const Workload* const workload = mesh.workload("shop/web-0");
  ASSERT_NE(workload->port("p8000"), nullptr);
  EXPECT_EQ(workload->port("p8000")->protocol, Workload::Protocol::kHttp2);
  const MeshService* const pool = mesh.backend(InferencePool::kKind, "shop", "llama");
  ASSERT_NE(pool, nullptr);
  EXPECT_EQ(pool->members.size(), 1u);
  gone("InferencePool", "llama");
  EXPECT_EQ(take(), (std::vector<std::string>{"Pod/shop/web-0", "-InferencePool/shop/llama"}));
}

TEST_F(ClusterViewTest, APodThatIsNoMemberIsNoWorkload) {
  pod("plain", {.injected = ""});
  pod("waits", {.address = ""});
  pod("over", {.phase = "Succeeded"});
  EXPECT_EQ(take(), (std::vector<std::string>{"(no Mesh)"}));
}

TEST_F(ClusterViewTest, ConditionsOfAPodSayWhetherItIsCalled) {
  using State = Workload::State;
  const auto state = [this](const PodFacts& facts) {
    pod("web-0", facts);
    take();
    return objects().workload("shop/web-0")->spec.state;
  };
  constexpr std::string_view kEnds = R"(, "deletionTimestamp": "2026-11-23T08:00:00Z")";
  EXPECT_EQ(state({}), State::kReady);
  EXPECT_EQ(state({.more = kEnds}), State::kDraining);
  EXPECT_EQ(state({.ready = "False"}), State::kAway);
  EXPECT_EQ(state({.ready = "False", .more = kEnds}), State::kAway);
  gone("Pod", "web-0");
  EXPECT_EQ(take(), (std::vector<std::string>{"-Pod/shop/web-0"}));
}

TEST_F(ClusterViewTest, AServiceWithoutSidecarsHasItsSlices) {
  service();
  slice(cat(endpoint("10.0.0.7"), ",", endpoint("10.0.0.8", "false")));
  take();
  const ObjectSet mesh = objects();
  ASSERT_EQ(problems_, std::vector<std::string>{});
  const MeshService* const found = mesh.service("shop", "web");
  EXPECT_TRUE(found->spec.selector.empty());
  ASSERT_EQ(found->slices.size(), 1u);
  const EndpointSlice& slice = mesh.slices[0];
  ASSERT_EQ(slice.endpoints.size(), 2u);
  EXPECT_EQ(slice.endpoints[1].state(), EndpointSlice::Endpoint::State::kAway);
  EXPECT_EQ(slice.ports.size(), 1u);
}

TEST_F(ClusterViewTest, WithTheFirstSidecarThatIsReadyOthersAreNotCalledAnyMore) {
  service();
  slice(endpoint("10.0.0.7"));
  take();
  // One that is not ready changes nothing: its address is not called in clear text.
  slice(cat(endpoint("10.0.0.7"), ",", endpoint("10.0.0.1", "false")));
  pod("web-0", {.ready = "False"});
  take();
  ObjectSet mesh = objects();
  EXPECT_TRUE(mesh.service("shop", "web")->members.empty());
  ASSERT_EQ(mesh.slices.size(), 1u);
  ASSERT_EQ(mesh.slices[0].endpoints.size(), 1u);
  EXPECT_EQ(mesh.slices[0].endpoints[0].addresses[0], "10.0.0.7");

  pod("web-0", {});
  take();
  mesh = objects();
  EXPECT_EQ(mesh.service("shop", "web")->members.size(), 1u);
  EXPECT_TRUE(mesh.slices.empty());
  // And it stays so: nobody falls back to clear text when the sidecar has trouble.
  pod("web-0", {.ready = "False"});
  take();
  mesh = objects();
  EXPECT_EQ(mesh.service("shop", "web")->members.size(), 1u);
  EXPECT_TRUE(mesh.slices.empty());
  // Until none has a sidecar.
  gone("Pod", "web-0");
  take();
  mesh = objects();
  EXPECT_TRUE(mesh.service("shop", "web")->members.empty());
  EXPECT_EQ(mesh.slices.size(), 1u);
}

TEST_F(ClusterViewTest, OneChangedEndpointIsOneChangedSource) {
  service();
  for (int i = 0; i < 50; ++i) slice(endpoint(cat("10.0.0.", i + 1)), cat("web-", i));
  EXPECT_EQ(take().size(), 52u);
  slice(endpoint("10.0.1.1"), "web-7");
  EXPECT_EQ(take(), (std::vector<std::string>{"EndpointSlice/shop/web-7"}));
  // Told again, as after a new list: nothing.
  slice(endpoint("10.0.1.1"), "web-7");
  service();
  EXPECT_EQ(take(), std::vector<std::string>{});
  gone("EndpointSlice", "web-7");
  EXPECT_EQ(take(), (std::vector<std::string>{"-EndpointSlice/shop/web-7"}));
  gone("Service", "web");
  EXPECT_EQ(take().size(), 50u);
}

TEST_F(ClusterViewTest, OfARouteOnlyParentsThatAreServicesCount) {
  constexpr char kRoute[] = R"({"metadata": {"namespace": "shop", "name": "r", "uid": "u",
      "resourceVersion": "5", "managedFields": [{}], "annotations": {"a b": "?"}},
    "spec": {"hostnames": ["a.example"], "parentRefs": [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}PARENT],
      "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}]}]},
    "status": {"parents": []}})";
  const auto route = [&](std::string parent) {
    std::string text = kRoute;
    text.replace(text.find("PARENT"), 6, parent);
    put("HTTPRoute", text);
  };
  service();
  slice(endpoint("10.0.0.7"));
  take();
  route("");
  EXPECT_EQ(take(), std::vector<std::string>{});
  route(R"(, {"group": "", "kind": "Service", "name": "web", "port": 80})");
  EXPECT_EQ(take(), (std::vector<std::string>{"HTTPRoute/shop/r"}));
  EXPECT_EQ(problems_, std::vector<std::string>{});
  EXPECT_EQ(objects().service("shop", "web")->http_routes.size(), 1u);
}

TEST_F(ClusterViewTest, TheMeshIsMadeHereUntilThereIsOne) {
  take();
  EXPECT_EQ(objects().mesh.metadata.name, "cluster");
  put("Mesh", R"({"metadata": {"name": "own", "uid": "u"}, "spec": {"trustDomain": "a.b"}})");
  EXPECT_EQ(take(), (std::vector<std::string>{"Mesh/own", "-(no Mesh)"}));
  EXPECT_EQ(objects().mesh.spec.trust_domain, "a.b");
}

TEST_F(ClusterViewTest, AWrongObjectSaysWhatIsWrong) {
  put("TrafficPolicy", R"({"metadata": {"namespace": "shop", "name": "p"},
    "spec": {"targetRef": {"kind": "Service", "name": "web"}, "tiemouts": {}}})");
  take();
  ASSERT_EQ(problems_.size(), 1u);
  EXPECT_NE(problems_[0].find("tiemouts is not a field; did you mean timeouts?"), std::string::npos)
      << problems_[0];
}

}  // namespace
}  // namespace glia
