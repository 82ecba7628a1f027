// Copies of requests: they arrive whole, and whatever happens to them, the original's answer is the
// same.
#include "proxy/flow/shadow.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"
#include "test/sim/party.h"

namespace glia {
namespace {

using Protocols = std::tuple<Codec, Codec>;

class Shadowed : public testing::TestWithParam<Protocols> {
 protected:
  Shadowed() : world(1), t(world, std::get<0>(GetParam()), std::get<1>(GetParam())) {
    t.upstream("10.0.1.1").replies(200, "answer");
    shadow().replies(500, "nobody sees this");
    t.route().forward->mirrors = {{.cluster = "shadow"}};
  }
  SimUpstream& shadow() { return t.upstream("10.0.1.2", "shadow"); }
  bool metric(const std::string& name, int value) {
    return t.metrics().find(cat("glia_http_shadow_rq_", name, "{envoy_http_conn_manager_prefix=\"",
                                t.manager().stat_prefix, "\"} ", value, "\n")) != std::string::npos;
  }
  void expect_metric(const std::string& name, int value) {
    EXPECT_TRUE(metric(name, value)) << name << " is not " << value << " in\n" << t.metrics();
  }

  SimWorld world;
  MeshWorld t;
};

INSTANTIATE_TEST_SUITE_P(Protocols, Shadowed,
                         testing::Combine(testing::Values(Codec::kHttp1, Codec::kHttp2),
                                          testing::Values(Codec::kHttp1, Codec::kHttp2)));

TEST_P(Shadowed, ACopyHasAllOfTheRequestAndItsAnswerIsDropped) {
  t.route().request_headers = {{.add = {{.name = "x-route", .value = "r"}}}};
  t.start();
  const Answer answer = t.send({.method = "POST",
                                .path = "/a?b=c",
                                .authority = "shop:8080",
                                .headers = {{"x-one", "1"}},
                                .body = "question"});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "answer");
  t.advance(100ms);
  ASSERT_EQ(shadow().seen().size(), 1u);
  const Seen& seen = shadow().seen()[0];
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/a?b=c");
  EXPECT_EQ(seen.authority, "shop-shadow:8080");
  EXPECT_EQ(seen.body, "question");
  EXPECT_EQ(seen.header("x-one"), "1");
  EXPECT_EQ(seen.header("x-route"), "r");
  EXPECT_EQ(seen.header("x-request-id"), t.upstream("10.0.1.1").seen()[0].header("x-request-id"));
  EXPECT_EQ(t.upstream("10.0.1.1").seen()[0].authority, "shop:8080");
  expect_metric("total", 1);
  expect_metric("active", 0);
  expect_metric("failed", 0);
}

TEST_P(Shadowed, SeveralMirrorsEachGetACopyOfALargeBody) {
  t.upstream("10.0.1.3", "third").replies(200);
  t.route().forward->mirrors.push_back({.cluster = "third", .mark_host = false});
  t.start();
  std::string body;
  for (int i = 0; body.size() < 200'000; ++i) body += cat(i, ",");
  EXPECT_EQ(t.send({.method = "POST", .body = body}).body, "answer");
  t.advance(1s);
  ASSERT_EQ(shadow().seen().size(), 1u);
  EXPECT_TRUE(shadow().seen()[0].body == body);
  ASSERT_EQ(t.upstream("10.0.1.3", "third").seen().size(), 1u);
  EXPECT_TRUE(t.upstream("10.0.1.3", "third").seen()[0].body == body);
  EXPECT_EQ(t.upstream("10.0.1.3", "third").seen()[0].authority, "service");
}

TEST_P(Shadowed, ATargetThatIsDeadOrUnknownIsNotNoticed) {
  shadow().dies();
  t.route().forward->mirrors.push_back({.cluster = "unknown"});
  t.start();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(t.send({.method = "POST", .body = "question"}).body, "answer");
  }
  t.advance(60s);
  expect_metric("total", 10);
  expect_metric("failed", 10);
  expect_metric("active", 0);
}

TEST_P(Shadowed, ACopyThatFallsBehindIsBrokenOffAndTheOriginalIsNot) {
  t.upstream("10.0.1.1").echoes();
  t.start();
  ASSERT_EQ(t.get().status, 200);
  t.advance(1s);
  world.fabric().partition("10.0.0.1", "10.0.1.2");
  const std::string body(3'000'000, 'x');
  const Answer answer = t.send({.method = "POST", .body = body}, 600s);
  EXPECT_EQ(answer.error, "");
  EXPECT_TRUE(answer.body == body);
  expect_metric("overflow", 1);
}

TEST_P(Shadowed, NoMoreThanTheLimitAreUnderWayAndEachEndsInTime) {
  shadow().hangs();
  t.start();
  const auto asked = static_cast<int>(Shadows::kMost) + 10;
  for (int i = 0; i < asked; ++i) ASSERT_EQ(t.get().body, "answer");
  expect_metric("active", static_cast<int>(Shadows::kMost));
  expect_metric("overflow", 10);
  t.advance(Shadows::kLongest);
  expect_metric("active", 0);
  t.advance(1s);
  EXPECT_EQ(shadow().active(), 0u);
  EXPECT_EQ(t.get().body, "answer");
  expect_metric("active", 1);
}

TEST_P(Shadowed, ACopyEndsWithTheTimeoutOfItsRoute) {
  shadow().hangs();
  t.route().forward->timeout = 2s;
  t.start();
  ASSERT_EQ(t.get().body, "answer");
  t.advance(1900ms);
  expect_metric("active", 1);
  t.advance(200ms);
  expect_metric("active", 0);
}

TEST_P(Shadowed, OnlyTheShareIsCopied) {
  t.route().forward->mirrors[0].per_million = 250'000;
  t.start();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(t.get().status, 200);
  t.advance(1s);
  EXPECT_GT(shadow().seen().size(), 180u);
  EXPECT_LT(shadow().seen().size(), 320u);
}

TEST_P(Shadowed, ACopyWhoseClientGoesAwayInTheMiddleIsBrokenOff) {
  t.upstream("10.0.1.1").hangs();
  t.start();
  world.fabric().partition("10.0.0.1", "10.0.1.1");  // Nobody takes the original's body.
  (void)t.client().send({.method = "POST", .body = std::string(3'000'000, 'x')});
  t.advance(100ms);
  t.client().drop();
  // HTTP/1 does not see the end behind a body that nobody reads, before the route's time is over.
  t.advance(std::get<0>(GetParam()) == Codec::kHttp2 ? 1s : 20s);
  EXPECT_EQ(shadow().active(), 0u);
  expect_metric("active", 0);
}

TEST_P(Shadowed, TheProxyMayEndWhileCopiesAreUnderWay) {
  shadow().hangs();
  t.start();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(t.get().body, "answer");
  expect_metric("active", 5);
}

}  // namespace
}  // namespace glia
