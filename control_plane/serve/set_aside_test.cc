// Objects that come one by one, from many authors: a wrong one harms nobody else.
#include <gtest/gtest.h>

#include "control_plane/serve/mesh_state.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

std::string workload(std::string_view name, int host, std::string_view more = "") {
  return cat("apiVersion: glia.dev/v1\nkind: Workload\nmetadata: {name: ", name,
             ", labels: {app: web}}\nspec: {address: 10.0.9.", host,
             ", ports: [{name: http, port: 8080, appPort: 8081}]", more, "}\n");
}
constexpr char kService[] =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
    "spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}\n";
std::string policy(std::string_view service, std::string_view more = "") {
  return cat(
      "apiVersion: glia.dev/v1\nkind: TrafficPolicy\nmetadata: {name: p}\n"
      "spec: {targetRef: {kind: Service, name: ",
      service, "}", more, "}\n");
}

class SetAside : public testing::Test {
 protected:
  static ReadingRef source(const std::string& name, const std::string& text) {
    return read_source({name, text}, MistakesOf::kThisSource);
  }
  void open(std::vector<ReadingRef> more = {}) {
    std::vector<ReadingRef> all = {
        source("mesh", "apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\n"),
        source("one", workload("one", 1)), source("two", workload("two", 2)),
        source("service", kService)};
    all.insert(all.end(), more.begin(), more.end());
    Result<MeshState> state = MeshState::open(all, {});
    ASSERT_TRUE(state.ok()) << state.error().message();
    state_.emplace(*std::move(state));
  }
  MeshState::Edit apply(std::vector<ReadingRef> read, std::vector<std::string> gone = {}) {
    return state_->apply({.read = std::move(read), .gone = std::move(gone), .unreadable = {}});
  }
  // "source: why"
  std::vector<std::string> aside() const {
    std::vector<std::string> all;
    for (const auto& [source, why] : state_->set_aside()) all.push_back(cat(source, ": ", why));
    return all;
  }
  std::vector<std::string> addresses() {
    envoy::config::endpoint::v3::ClusterLoadAssignment set;
    const auto node = state_->resources("one");
    EXPECT_TRUE(node->of(XdsType::kEndpoints)
                    .resources.at("outbound:80:web.default")
                    ->any()
                    .UnpackTo(&set));
    std::vector<std::string> all;
    for (const auto& locality : set.endpoints()) {
      for (const auto& endpoint : locality.lb_endpoints()) {
        all.push_back(endpoint.endpoint().address().socket_address().address());
      }
    }
    return all;
  }

  std::optional<MeshState> state_;
};

using Edit = MeshState::Edit;

TEST_F(SetAside, ANewObjectWithAMistakeIsNotThereAndAllOthersAre) {
  open({source("policy", policy("nowhere"))});
  ASSERT_EQ(aside().size(), 1u);
  EXPECT_EQ(
      aside()[0],
      "policy: TrafficPolicy p: spec.targetRef.name is nowhere, but there is no such Service in "
      "namespace default");
  EXPECT_EQ(state_->errors(), std::vector<std::string>{});
  EXPECT_TRUE(state_->objects().traffic_policies.empty());
  EXPECT_EQ(addresses().size(), 2u);
  // Others change as if nothing were.
  EXPECT_EQ(apply({source("two", workload("two", 7))}), Edit::kTaken);
  EXPECT_EQ(addresses(), (std::vector<std::string>{"10.0.9.1", "10.0.9.7"}));
  EXPECT_EQ(aside().size(), 1u);
}

TEST_F(SetAside, AnObjectThatBecomesWrongStaysAsItWas) {
  open({source("policy", policy("web", ", timeouts: {connect: 3s}"))});
  EXPECT_EQ(aside(), std::vector<std::string>{});
  EXPECT_EQ(apply({source("policy", policy("web", ", timeouts: {connect: soon}"))}),
            Edit::kUnchanged);
  EXPECT_EQ(aside().size(), 1u);
  ASSERT_EQ(state_->objects().traffic_policies.size(), 1u);
  EXPECT_EQ(state_->objects().traffic_policies[0].spec.timeouts.connect, Duration(3s));
  // And again: it is still the one of before that holds.
  EXPECT_EQ(apply({source("policy", policy("web", ", timeouts: {connect: later}"))}),
            Edit::kUnchanged);
  ASSERT_EQ(state_->objects().traffic_policies.size(), 1u);
  EXPECT_EQ(state_->objects().traffic_policies[0].spec.timeouts.connect, Duration(3s));
  EXPECT_EQ(apply({source("policy", policy("web", ", timeouts: {connect: 5s}"))}), Edit::kTaken);
  EXPECT_EQ(aside(), std::vector<std::string>{});
  EXPECT_EQ(state_->objects().traffic_policies[0].spec.timeouts.connect, Duration(5s));
}

TEST_F(SetAside, WhatItNeedsMayComeLater) {
  open({source("policy", policy("late"))});
  EXPECT_EQ(aside().size(), 1u);
  std::string late = kService;
  late.replace(late.find("name: web"), 9, "name: late");
  EXPECT_EQ(apply({source("late", late)}), Edit::kTaken);
  EXPECT_EQ(aside(), std::vector<std::string>{});
  EXPECT_EQ(state_->objects().traffic_policies.size(), 1u);
  // And go again: then it is wrong once more, and cannot stay, for what it names is not there.
  EXPECT_EQ(apply({}, {"late"}), Edit::kTaken);
  EXPECT_EQ(aside().size(), 1u);
  EXPECT_TRUE(state_->objects().traffic_policies.empty());
}

TEST_F(SetAside, AMistakeThatHidesAnotherIsNoReasonToStop) {
  // The second Workload at an address, and a policy for what only that one has.
  open({source("third", workload("third", 1)), source("policy", policy("nowhere"))});
  EXPECT_EQ(aside().size(), 2u);
  EXPECT_EQ(state_->objects().workloads.size(), 2u);
}

TEST_F(SetAside, AMeshOfAnotherTrustDomainIsSetAsideAndAllElseGoesOn) {
  open();
  constexpr char kOther[] =
      "apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: n}\nspec: {trustDomain: other.mesh}\n";
  // In the place of the one that there is.
  EXPECT_EQ(apply({source("new", kOther)}, {"mesh"}), Edit::kUnchanged);
  ASSERT_EQ(aside().size(), 1u);
  EXPECT_NE(aside()[0].find("spec.trustDomain cannot change from mesh.local to other.mesh"),
            std::string::npos);
  EXPECT_EQ(apply({source("two", workload("two", 7))}), Edit::kTaken);
  EXPECT_EQ(state_->objects().mesh.spec.trust_domain, "mesh.local");
  EXPECT_EQ(addresses(), (std::vector<std::string>{"10.0.9.1", "10.0.9.7"}));
}

TEST_F(SetAside, WhatIsTakenBackLeavesWhatIsWrongAside) {
  open({source("policy", policy("web", ", timeouts: {connect: 3s}"))});
  EXPECT_EQ(apply({source("two", workload("two", 7)),
                   source("policy", policy("web", ", timeouts: {connect: soon}"))}),
            Edit::kTaken);
  EXPECT_EQ(addresses(), (std::vector<std::string>{"10.0.9.1", "10.0.9.7"}));
  EXPECT_EQ(aside().size(), 1u);
  state_->take_back();
  EXPECT_EQ(addresses(), (std::vector<std::string>{"10.0.9.1", "10.0.9.2"}));
  EXPECT_EQ(aside().size(), 1u);
  // And all are looked at together.
  EXPECT_EQ(apply({source("one", workload("one", 8))}), Edit::kTaken);
  EXPECT_EQ(aside().size(), 1u);
  ASSERT_EQ(state_->objects().traffic_policies.size(), 1u);
  EXPECT_EQ(state_->objects().traffic_policies[0].spec.timeouts.connect, Duration(3s));
}

TEST_F(SetAside, OfTwoOfOneNameThatOfTheFileStays) {
  open({read_source({"written", policy("web", ", timeouts: {connect: 3s}")}),
        source("another", policy("web", ", timeouts: {connect: 4s}"))});
  ASSERT_EQ(aside().size(), 1u);
  EXPECT_NE(aside()[0].find("another: TrafficPolicy p: is there twice"), std::string::npos)
      << aside()[0];
  EXPECT_EQ(state_->objects().traffic_policies[0].spec.timeouts.connect, Duration(3s));
}

TEST_F(SetAside, MistakesOfManyHideNobodys) {
  std::vector<ReadingRef> wrong;
  for (int i = 0; i < 2'200; ++i) {
    std::string text = policy("nowhere");
    text.replace(text.find("name: p"), 7, cat("name: p", i));
    wrong.push_back(source(cat("policy-", i), text));
  }
  open(wrong);
  EXPECT_EQ(aside().size(), wrong.size());
  EXPECT_EQ(addresses().size(), 2u);
}

// It would be gone with all its rules, and what they deny would be allowed.
TEST_F(SetAside, APolicyStaysWhenTheLastPortThatItNamesGoes) {
  std::string two = workload("two", 2);
  two.replace(two.find("name: http"), 10, "name: admin");
  open({source("two", two),
        source("deny",
               "apiVersion: glia.dev/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny}\n"
               "spec: {selector: {app: web}, action: Deny, rules: "
               "[{to: [{ports: [admin]}]}, {to: [{ports: [http]}]}]}\n")});
  ASSERT_EQ(aside(), std::vector<std::string>{});
  EXPECT_EQ(apply({source("two", workload("two", 2))}), Edit::kTaken);
  EXPECT_EQ(aside(), std::vector<std::string>{});
  EXPECT_EQ(state_->objects().policies.size(), 1u);
}

TEST_F(SetAside, AFileWithAMistakeStillConcernsAll) {
  open();
  EXPECT_EQ(apply({read_source({"file.yaml", policy("nowhere")})}), Edit::kRefused);
  EXPECT_EQ(state_->errors().size(), 1u);
  EXPECT_EQ(apply({source("two", workload("two", 7))}), Edit::kRefused);
  EXPECT_EQ(addresses(), (std::vector<std::string>{"10.0.9.1", "10.0.9.2"}));
  EXPECT_EQ(apply({}, {"file.yaml"}), Edit::kTaken);
  EXPECT_EQ(addresses(), (std::vector<std::string>{"10.0.9.1", "10.0.9.7"}));
}

TEST_F(SetAside, ManyAtOnceAreTakenOneByOneWhereTheyConcernFew) {
  open();
  EXPECT_EQ(apply({source("one", workload("one", 11)), source("two", workload("two", 12))}),
            Edit::kTaken);
  EXPECT_EQ(addresses(), (std::vector<std::string>{"10.0.9.11", "10.0.9.12"}));
}

TEST_F(SetAside, CallersChooseThoseThatAreReady) {
  open();
  EXPECT_EQ(apply({source("two", workload("two", 2, ", state: Away"))}), Edit::kTaken);
  EXPECT_EQ(addresses(), std::vector<std::string>{"10.0.9.1"});
  // Who ends serves where nobody else does.
  EXPECT_EQ(apply({source("two", workload("two", 2, ", state: Draining"))}), Edit::kTaken);
  EXPECT_EQ(addresses(), std::vector<std::string>{"10.0.9.1"});
  EXPECT_EQ(apply({source("one", workload("one", 1, ", state: Away"))}), Edit::kTaken);
  EXPECT_EQ(addresses(), std::vector<std::string>{"10.0.9.2"});
}

}  // namespace
}  // namespace glia
