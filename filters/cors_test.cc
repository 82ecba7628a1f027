// The CORS filter in a real worker: what pages of other origins, upstreams and counts see of it.
#include "proxy/mesh/cors.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

constexpr char kName[] = "envoy.filters.http.cors";
constexpr char kShop[] = "https://shop.example";

CorsPolicy shop() {
  return {.origins = {TextMatcher::exact(kShop)},
          .methods = "GET, PUT",
          .headers = "x-key",
          .exposed = "x-cost",
          .max_age = "60"};
}

class CorsFilterTest : public testing::Test {
 protected:
  CorsFilterTest() {
    t.upstream("10.0.1.1").replies(200, "hello");
    t.manager().filters = {{.name = kName, .settings = std::make_shared<const CorsPolicy>()}};
  }
  void start(CorsPolicy policy) {
    t.route().filters[kName] = std::make_shared<const CorsPolicy>(std::move(policy));
    t.start();
  }
  Answer ask(std::string origin, std::vector<std::pair<std::string, std::string>> more = {}) {
    more.emplace_back("origin", std::move(origin));
    more.emplace_back("access-control-request-method", "PUT");
    return t.send({.method = "OPTIONS", .headers = std::move(more)});
  }
  Answer get(std::string origin) { return t.send({.headers = {{"origin", std::move(origin)}}}); }
  std::size_t reached() { return t.upstream("10.0.1.1").seen().size(); }
  bool counted(std::string_view name, int number) {
    return t.metrics().find(cat("envoy_http_cors_", name,
                                "{envoy_http_conn_manager_prefix=\"in\"} ", number, "\n")) !=
           std::string::npos;
  }

  SimWorld world_{1};
  MeshWorld t{world_};
};

TEST_F(CorsFilterTest, AnswersThePreflightOfAnAllowedOriginItself) {
  start(shop());
  const Answer answer = ask(kShop);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "");
  EXPECT_EQ(answer.header("access-control-allow-origin"), kShop);
  EXPECT_EQ(answer.header("access-control-allow-methods"), "GET, PUT");
  EXPECT_EQ(answer.header("access-control-allow-headers"), "x-key");
  EXPECT_EQ(answer.header("access-control-expose-headers"), "x-cost");
  EXPECT_EQ(answer.header("access-control-max-age"), "60");
  EXPECT_EQ(answer.header("vary"), "origin");
  EXPECT_EQ(answer.header("x-glia-reason"), "preflight");
  EXPECT_FALSE(answer.headers.contains("access-control-allow-credentials"));
  EXPECT_EQ(reached(), 0u);
  EXPECT_TRUE(counted("origin_valid", 1));
  EXPECT_TRUE(counted("origin_invalid", 0));
}

TEST_F(CorsFilterTest, NamesTheOriginInWhatTheUpstreamAnswers) {
  t.upstream("10.0.1.1").reply_header("access-control-allow-origin", "*");
  CorsPolicy policy = shop();
  policy.credentials = true;
  start(std::move(policy));
  const Answer answer = get(kShop);
  EXPECT_EQ(answer.body, "hello");
  EXPECT_EQ(answer.header("access-control-allow-origin"), kShop);
  EXPECT_EQ(answer.header("access-control-allow-credentials"), "true");
  EXPECT_EQ(answer.header("access-control-expose-headers"), "x-cost");
  EXPECT_EQ(answer.header("vary"), "origin");
  EXPECT_FALSE(answer.headers.contains("access-control-allow-methods"));
}

TEST_F(CorsFilterTest, LeavesTheRequestsOfOtherOriginsAsTheyAre) {
  start(shop());
  for (const char* origin : {"https://evil.example", "http://shop.example", "null"}) {
    const Answer answer = get(origin);
    EXPECT_EQ(answer.body, "hello");
    EXPECT_FALSE(answer.headers.contains("access-control-allow-origin")) << origin;
    EXPECT_EQ(answer.header("vary"), "origin");
  }
  EXPECT_EQ(reached(), 3u);
  EXPECT_TRUE(counted("origin_invalid", 3));
}

TEST_F(CorsFilterTest, ForwardsOrRefusesThePreflightOfAnotherOrigin) {
  start(shop());
  EXPECT_EQ(ask("https://evil.example").body, "hello");
  CorsPolicy policy = shop();
  policy.forward_others = false;
  start(std::move(policy));
  const Answer answer = ask("https://evil.example");
  EXPECT_EQ(answer.status, 403);
  EXPECT_NE(answer.body.find("does not allow the origin https://evil.example"), std::string::npos)
      << answer.body;
  EXPECT_FALSE(answer.headers.contains("access-control-allow-origin"));
  EXPECT_EQ(reached(), 1u);
}

TEST_F(CorsFilterTest, AStarIsAnsweredWithWhatWasAskedFor) {
  CorsPolicy policy = shop();
  policy.methods = policy.headers = "*";
  start(std::move(policy));
  const Answer plain = ask(kShop);
  EXPECT_EQ(plain.header("access-control-allow-methods"), "PUT");
  EXPECT_FALSE(plain.headers.contains("access-control-allow-headers"));
  const Answer with_headers = ask(kShop, {{"access-control-request-headers", "x-a, x-b"}});
  EXPECT_EQ(with_headers.header("access-control-allow-headers"), "x-a, x-b");
}

TEST_F(CorsFilterTest, AnyOtherOptionsRequestGoesUp) {
  start(shop());
  EXPECT_EQ(t.send({.method = "OPTIONS", .headers = {{"origin", kShop}}}).body, "hello");
  EXPECT_EQ(t.send({.method = "OPTIONS"}).body, "hello");
}

TEST_F(CorsFilterTest, WithoutAPolicyNothingIsDone) {
  t.start();
  const Answer answer = get(kShop);
  EXPECT_EQ(answer.body, "hello");
  EXPECT_FALSE(answer.headers.contains("vary"));
  EXPECT_TRUE(counted("origin_valid", 0));
}

TEST_F(CorsFilterTest, CountsGoOnAfterANewDrawing) {
  start(shop());
  get(kShop);
  start(shop());
  get(kShop);
  EXPECT_TRUE(counted("origin_valid", 2));
}

}  // namespace
}  // namespace glia
