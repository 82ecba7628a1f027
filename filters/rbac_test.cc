// The RBAC filter in a real worker: what callers, upstreams, counts and the log see of it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

constexpr char kName[] = "envoy.filters.http.rbac";

RbacRule any() { return {}; }
RbacRule method(std::string name) {
  RbacRule rule;
  rule.kind = RbacRule::Kind::kHeader;
  rule.header = HeaderMatcher{.name = ":method", .value = TextMatcher::exact(std::move(name))};
  return rule;
}
RbacRule path_prefix(std::string prefix) {
  RbacRule rule;
  rule.kind = RbacRule::Kind::kPath;
  rule.text = *TextMatcher::create(TextMatcher::Kind::kPrefix, std::move(prefix));
  return rule;
}
RbacRules rules(RbacRules::Action action, std::string name, RbacRule permission) {
  return {action, {{std::move(name), {std::move(permission)}, {any()}}}};
}
std::shared_ptr<const RbacConfig> enforce(RbacRules rules) {
  return std::make_shared<RbacConfig>(RbacConfig{.rules = std::move(rules)});
}
using enum RbacRules::Action;

class RbacFilterTest : public testing::Test {
 protected:
  RbacFilterTest() : log_(cat(testing::TempDir(), "rbac-", getpid(), ".log")) {
    unlink(log_.c_str());
    t.upstream("10.0.1.1").replies(200, "hello");
    t.manager().access_logs = {{.path = log_}};
  }
  void start(std::shared_ptr<const RbacConfig> config) {
    t.manager().filters = {{.name = kName, .settings = std::move(config)}};
    t.start();
  }
  std::string count(std::string_view name) {
    const std::string page = t.metrics();
    const std::string start =
        cat("envoy_http_rbac_", name, "{envoy_http_conn_manager_prefix=\"in\"} ");
    const std::size_t at = page.find(start);
    if (at == page.npos) return "missing";
    return page.substr(at + start.size(), page.find('\n', at) - at - start.size());
  }
  // The last line of the access log.
  nlohmann::json logged() {
    t.advance(1s);
    std::ifstream file(log_);
    std::string last;
    for (std::string line; std::getline(file, line);) last = line;
    return nlohmann::json::parse(last);
  }
  std::size_t reached() { return t.upstream("10.0.1.1").seen().size(); }

  std::string log_;
  SimWorld world_{1};
  MeshWorld t{world_};
};

TEST_F(RbacFilterTest, AllowsWhatAPolicyAllows) {
  start(enforce(rules(kAllow, "default/readers", method("GET"))));
  EXPECT_EQ(t.get().status, 200);
  EXPECT_EQ(reached(), 1u);
  EXPECT_EQ(count("allowed"), "1");
  EXPECT_EQ(count("denied"), "0");
  EXPECT_FALSE(logged().contains("policy"));
}

TEST_F(RbacFilterTest, RefusesWhatNoPolicyAllowsAndNamesThem) {
  start(enforce(rules(kAllow, "default/readers", method("GET"))));
  const Answer answer = t.send({.method = "POST", .path = "/v2/infer?secret=1", .body = "x"});
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(answer.header("x-glia-reason"), "denied");
  EXPECT_EQ(answer.header("x-glia-policy"), "default/readers");
  EXPECT_TRUE(
      answer.body.starts_with("no policy allows a caller without a certificate to POST "
                              "/v2/infer (looked at: default/readers)\n"))
      << answer.body;
  EXPECT_EQ(reached(), 0u);
  EXPECT_EQ(count("denied"), "1");
  const auto line = logged();
  EXPECT_EQ(line["policy"], "default/readers");
  EXPECT_EQ(line["response_code"], 403);
}

TEST_F(RbacFilterTest, RefusesGrpcWithItsStatus) {
  start(enforce(rules(kDeny, "default/block", any())));
  const Answer answer = t.send({.method = "POST",
                                .path = "/inference.GRPCInferenceService/ModelInfer",
                                .headers = {{"content-type", "application/grpc"}},
                                .body = "x"});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("grpc-status"), "7");  // PERMISSION_DENIED
  EXPECT_NE(answer.header("grpc-message").find("policy default/block"), std::string::npos);
  EXPECT_EQ(answer.header("x-glia-policy"), "default/block");
}

TEST_F(RbacFilterTest, NamesThePolicyThatDenies) {
  start(enforce(rules(kDeny, "default/no-posts", method("POST"))));
  EXPECT_EQ(t.get().status, 200);
  const Answer answer = t.send({.method = "POST"});
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(answer.header("x-glia-policy"), "default/no-posts");
  EXPECT_TRUE(answer.body.starts_with("policy default/no-posts does not allow")) << answer.body;
}

TEST_F(RbacFilterTest, ShadowOnlyCountsAndLogs) {
  auto config = std::make_shared<RbacConfig>();
  config->shadow = rules(kAllow, "default/planned", method("GET"));
  start(config);
  EXPECT_EQ(t.send({.method = "POST"}).status, 200);
  EXPECT_EQ(logged()["policy"], "shadow: default/planned");
  EXPECT_EQ(t.get().status, 200);
  EXPECT_FALSE(logged().contains("policy"));
  EXPECT_EQ(count("shadow_denied"), "1");
  EXPECT_EQ(count("shadow_allowed"), "1");
  EXPECT_EQ(count("allowed"), "0");
}

TEST_F(RbacFilterTest, LogsTheRefusalRatherThanTheShadow) {
  auto config = std::make_shared<RbacConfig>();
  config->shadow = rules(kDeny, "default/planned", any());
  config->rules = rules(kDeny, "default/block", any());
  start(config);
  EXPECT_EQ(t.get().header("x-glia-policy"), "default/block");
  EXPECT_EQ(logged()["policy"], "default/block");
}

TEST_F(RbacFilterTest, ObeysTheRoute) {
  t.route().filters[kName] = std::shared_ptr<const RbacConfig>();  // Switched off.
  start(enforce(rules(kDeny, "default/block", any())));
  EXPECT_EQ(t.get().status, 200);
  t.route().filters[kName] = enforce(rules(kDeny, "default/route", path_prefix("/admin")));
  t.publish();
  EXPECT_EQ(t.get().status, 200);
  EXPECT_EQ(t.get("/admin").header("x-glia-policy"), "default/route");
  t.route().filters.clear();
  t.route().filters["another.filter"] = std::shared_ptr<const RbacConfig>();
  t.publish();
  EXPECT_EQ(t.get().header("x-glia-policy"), "default/block");
}

TEST_F(RbacFilterTest, FollowsANewPolicyAtOnceAndKeepsItsCounts) {
  start(enforce(rules(kAllow, "default/readers", method("GET"))));
  EXPECT_EQ(t.get().status, 200);
  EXPECT_EQ(t.send({.method = "POST"}).status, 403);
  t.manager().filters = {{.name = kName, .settings = enforce(rules(kAllow, "default/all", any()))}};
  t.publish();
  EXPECT_EQ(t.send({.method = "POST"}).status, 200);  // On the same connection.
  EXPECT_EQ(count("allowed"), "2");
  EXPECT_EQ(count("denied"), "1");
}

TEST_F(RbacFilterTest, CountsGoOnUnderTheNewNameOfTheConnectionManager) {
  start(enforce(rules(kAllow, "default/all", any())));
  t.get();
  t.manager().stat_prefix = "other";
  t.publish();
  t.get();
  EXPECT_NE(t.metrics().find("envoy_http_rbac_allowed{envoy_http_conn_manager_prefix=\"other\"} 2"),
            std::string::npos)
      << t.metrics();
}

}  // namespace
}  // namespace glia
