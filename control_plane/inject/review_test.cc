// The webhook's answers (facts of reliability, family I).
#include "control_plane/inject/review.h"

#include <gtest/gtest.h>

#include "proxy/base/base64.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

Json pod() {
  return {{"metadata", {{"name", "a"}}},
          {"spec", {{"containers", {{{"name", "app"}, {"image", "app:1"}}}}}}};
}

Json review_of(const Json& pod, const std::string& where = "mesh") {
  return {{"apiVersion", "admission.k8s.io/v1"},
          {"kind", "AdmissionReview"},
          {"request",
           {{"uid", "u-1"},
            {"kind", {{"group", ""}, {"version", "v1"}, {"kind", "Pod"}}},
            {"operation", "CREATE"},
            {"namespace", where},
            {"object", pod}}}};
}

ReviewAnswer ask(const std::string& body) { return answer_review(body, {}, AskedBy::kNamespace); }

Json response_to(const Json& review) {
  // Every namespace here asks but this one.
  const bool by_pod = review["request"]["namespace"] == "other";
  const ReviewAnswer answer =
      answer_review(review.dump(), {}, by_pod ? AskedBy::kPod : AskedBy::kNamespace);
  EXPECT_EQ(answer.status, 200) << answer.body;
  const Json json = Json::parse(answer.body);
  EXPECT_EQ(json["apiVersion"], "admission.k8s.io/v1");
  EXPECT_EQ(json["kind"], "AdmissionReview");
  EXPECT_EQ(json["response"]["uid"], "u-1");
  return json["response"];
}

Json patched(const Json& review) {
  const Json response = response_to(review);
  EXPECT_EQ(response["allowed"], true);
  EXPECT_EQ(response["patchType"], "JSONPatch");
  std::string patch;
  EXPECT_TRUE(parse_base64(response["patch"].get<std::string>(), patch));
  return review["request"]["object"].patch(Json::parse(patch));
}

bool left_alone(const Json& review) {
  const Json response = response_to(review);
  return response["allowed"] == true && !response.contains("patch");
}

std::string refusal_of(const Json& review) {
  const Json response = response_to(review);
  EXPECT_EQ(response["allowed"], false);
  EXPECT_FALSE(response.contains("patch"));
  return response["status"]["message"];
}

TEST(ReviewTest, APodOfTheMeshGetsItsSidecar) {
  const Json made = patched(review_of(pod()));
  EXPECT_EQ(made["spec"]["initContainers"][1]["name"], "glia-proxy");
  EXPECT_EQ(made["metadata"]["annotations"]["glia.dev/injected"], "native");
  EXPECT_EQ(made["spec"]["containers"], pod()["spec"]["containers"]);
}

TEST(ReviewTest, I2WhatIsNoReviewIsNotAnsweredWithYes) {
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "[";
  for (int i = 0; i < 10'000; ++i) deep += "]";
  Json beta = review_of(pod()), wrong = review_of(pod()), no_uid = review_of(pod());
  beta["apiVersion"] = "admission.k8s.io/v1beta1";
  wrong["kind"] = "Pod";
  no_uid["request"].erase("uid");
  const std::string good = review_of(pod()).dump();
  std::string twice = good;
  twice.insert(1, R"("kind":"AdmissionReview",)");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "is not JSON"},
      {"{", "is not JSON"},
      {"[]", "is no object"},
      {"\"\xff\"", "is not JSON"},
      {good.substr(0, good.size() - 1), "is not JSON"},
      {deep, "is deeper than 128"},
      {cat(R"({"a":)", deep, "}"), "is deeper than 128"},
      {twice, "has the key \"kind\" twice"},
      {beta.dump(), "only admission.k8s.io/v1 AdmissionReview is understood"},
      {wrong.dump(), "only admission.k8s.io/v1 AdmissionReview is understood"},
      {no_uid.dump(), "has no request.uid"}};
  for (const auto& [body, why] : cases) {
    const ReviewAnswer answer = ask(body);
    EXPECT_EQ(answer.status, 400) << body.substr(0, 60);
    EXPECT_NE(answer.body.find(why), std::string::npos) << answer.body;
  }
  EXPECT_EQ(ask(std::string(kLargestReview + 1, ' ')).status, 413);
}

TEST(ReviewTest, I2AnObjectThatIsNoPodIsLeftAlone) {
  Json review = review_of(pod());
  review["request"]["kind"]["kind"] = "Deployment";
  EXPECT_TRUE(left_alone(review));
  review["request"]["kind"] = 3;
  EXPECT_TRUE(left_alone(review));
  review = review_of(pod());
  review["request"]["object"] = "text";
  EXPECT_NE(refusal_of(review).find("it has no spec"), std::string::npos);
}

TEST(ReviewTest, I2WhatIsOfAnotherTypeHarmsNobody) {
  const std::vector<Json> odd = {nullptr,
                                 3,
                                 "text",
                                 true,
                                 Json::array(),
                                 Json::object(),
                                 Json::array({3}),
                                 Json::array({Json::array({"a", "b"})}),
                                 Json({{"name", 3}}),
                                 Json::array({Json({{"name", "glia-x"}})})};
  for (const char* const where :
       {"/metadata", "/metadata/annotations", "/metadata/labels", "/spec/volumes",
        "/spec/containers", "/spec/initContainers", "/spec/securityContext",
        "/spec/terminationGracePeriodSeconds", "/spec/containers/0", "/spec/containers/0/ports",
        "/spec/containers/0/readinessProbe", "/spec/containers/0/readinessProbe/httpGet",
        "/spec/os", "/spec", ""}) {
    for (const Json& value : odd) {
      Json made = pod();
      made["spec"]["containers"][0]["readinessProbe"] = {{"httpGet", {{"port", 1}}}};
      made["metadata"]["labels"] = {{"a", "b"}};
      made["metadata"]["annotations"] = {{"a", "b"}};
      made[Json::json_pointer(where)] = value;
      for (const bool injected : {false, true}) {
        if (injected && made.is_object() && made["metadata"].is_object()) {
          made["metadata"]["annotations"] = {{"glia.dev/injected", "classic+default-container"},
                                             {"glia.dev/probes", R"({"app":{"x":{"y":1}},"b":3})"}};
        }
        const Json response = response_to(review_of(made));
        EXPECT_TRUE(response["allowed"].is_boolean());
      }
    }
  }
}

TEST(ReviewTest, I3WhatHasItsSidecarStaysAsItIs) {
  const Json once = patched(review_of(pod()));
  EXPECT_TRUE(left_alone(review_of(once)));
  // The API server has filled in what we do not write.
  Json filled = once;
  filled["spec"]["initContainers"][1]["terminationMessagePath"] = "/dev/termination-log";
  EXPECT_TRUE(left_alone(review_of(filled)));
  // Who only says so has none.
  Json liar = pod();
  liar["metadata"]["annotations"]["glia.dev/injected"] = "native";
  EXPECT_EQ(patched(review_of(liar))["spec"]["initContainers"].size(), 2u);
}

TEST(ReviewTest, I4WhoIsNoneOfTheMeshIsLeftAlone) {
  EXPECT_TRUE(left_alone(review_of(pod(), "kube-system")));
  EXPECT_TRUE(left_alone(review_of(pod(), "glia-system")));
  EXPECT_TRUE(left_alone(review_of(pod(), "other")));
  Json out = pod(), in = pod(), host = pod(), windows = pod(), bare = pod();
  out["metadata"]["labels"]["glia.dev/inject"] = "false";
  EXPECT_TRUE(left_alone(review_of(out)));
  in["metadata"]["labels"]["glia.dev/inject"] = "true";
  EXPECT_EQ(patched(review_of(in, "other"))["spec"]["initContainers"].size(), 2u);
  EXPECT_TRUE(left_alone(review_of(in, "kube-system")));
  host["spec"]["hostNetwork"] = true;
  EXPECT_TRUE(left_alone(review_of(host)));
  windows["spec"]["os"]["name"] = "windows";
  EXPECT_TRUE(left_alone(review_of(windows)));
  bare["spec"]["containers"] = Json::array();
  EXPECT_TRUE(left_alone(review_of(bare)));
  Json ephemeral = review_of(pod());
  ephemeral["request"]["subResource"] = "ephemeralcontainers";
  ephemeral["request"]["operation"] = "UPDATE";
  EXPECT_TRUE(left_alone(ephemeral));
}

TEST(ReviewTest, I4WhoAsksForWhatCannotBeIsRefusedAndToldWhy) {
  Json host = pod();
  host["spec"]["hostNetwork"] = true;
  host["metadata"]["labels"]["glia.dev/inject"] = "true";
  EXPECT_EQ(refusal_of(review_of(host)),
            "glia: this pod cannot be in the mesh: it uses the network of its node (hostNetwork), "
            "whose traffic is not its own to capture; the label glia.dev/inject of the pod is "
            "\"true\", so it is not let in without");
}

TEST(ReviewTest, I6ValuesStayValues) {
  // Names with what JSON pointers, shells and YAML take for something else.
  Json odd = pod();
  odd["metadata"]["annotations"] = {{"a/b~c", "x"}, {"quote\"", "\n- y"}, {"~1", "/"}};
  odd["spec"]["volumes"] = {{{"name", "v"}, {"hostPath", {{"path", "$(rm -rf /); `x`\n"}}}}};
  const Json made = patched(review_of(odd));
  for (const auto& [key, value] : odd["metadata"]["annotations"].items()) {
    EXPECT_EQ(made["metadata"]["annotations"][key], value);
  }
  EXPECT_EQ(made["spec"]["volumes"][0], odd["spec"]["volumes"][0]);
  // Those that would reach a command line or an image are checked.
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"glia.dev/image", "glia:1\nprivileged: true"},
      {"glia.dev/image", "-x"},
      {"glia.dev/log-level", "info --admin-address 0.0.0.0:1"},
      {"glia.dev/exclude-outbound-ports", "80;reboot"},
      {"glia.dev/exclude-outbound-networks", "10.0.0.0/8 --x"},
      {"glia.dev/exclude-interfaces", "eth0$(x)"},
      {"glia.dev/cpu", "1e400"},
      {"glia.dev/memory", std::string(256 * 1024, '9')}};
  for (const auto& [key, value] : cases) {
    SCOPED_TRACE(cat(key, ": ", value.substr(0, 40)));
    Json bad = pod();
    bad["metadata"]["annotations"][key] = value;
    const std::string why = refusal_of(review_of(bad));
    EXPECT_NE(why.find(cat("the annotation ", key, " is ")), std::string::npos) << why;
    EXPECT_LT(why.size(), 400u);
    EXPECT_EQ(why.find('\n'), why.npos);
  }
}

TEST(ReviewTest, I7ADryRunIsAnsweredAsAnyOther) {
  Json dry = review_of(pod());
  dry["request"]["dryRun"] = true;
  EXPECT_EQ(ask(dry.dump()).body, ask(review_of(pod()).dump()).body);
}

}  // namespace
}  // namespace glia
