// The path of a request through a real worker, over both protocols on both sides.
#include <gtest/gtest.h>

#include <tuple>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"
#include "test/sim/party.h"

namespace glia {
namespace {

using Protocols = std::tuple<Codec, Codec>;

class Path : public testing::TestWithParam<Protocols> {
 protected:
  Codec down() const { return std::get<0>(GetParam()); }
  Codec up() const { return std::get<1>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Protocols, Path,
                         testing::Combine(testing::Values(Codec::kHttp1, Codec::kHttp2),
                                          testing::Values(Codec::kHttp1, Codec::kHttp2)),
                         [](const testing::TestParamInfo<Protocols>& info) {
                           const auto name = [](Codec codec) {
                             return codec == Codec::kHttp1 ? "Http1" : "Http2";
                           };
                           return cat(name(std::get<0>(info.param)), "To",
                                      name(std::get<1>(info.param)));
                         });

TEST_P(Path, CarriesARequestAndItsAnswer) {
  SimWorld world(1);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(201, "hello");
  t.upstream("10.0.1.1").reply_header("x-from", "upstream");
  t.start();
  const Answer answer = t.send({.method = "POST",
                                .path = "/a?b=c",
                                .authority = "shop",
                                .headers = {{"x-one", "1"}},
                                .body = "question"});
  EXPECT_EQ(answer.error, "");
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.body, "hello");
  EXPECT_EQ(answer.header("x-from"), "upstream");
  ASSERT_EQ(t.upstream("10.0.1.1").seen().size(), 1u);
  const Seen& seen = t.upstream("10.0.1.1").seen()[0];
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/a?b=c");
  EXPECT_EQ(seen.authority, "shop");
  EXPECT_EQ(seen.body, "question");
  EXPECT_EQ(seen.header("x-one"), "1");
  EXPECT_EQ(seen.header("x-forwarded-proto"), "http");
  EXPECT_EQ(seen.header("x-request-id").size(), 36u);
}

TEST_P(Path, SendsManyRequestsOverAFewConnections) {
  SimWorld world(2);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200, "x");
  t.start();
  for (int i = 0; i < 50; ++i) ASSERT_EQ(t.get().status, 200);
  EXPECT_EQ(t.upstream("10.0.1.1").stats().connections, 1u);
  EXPECT_NE(t.metrics().find("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"service\"} 50"),
            std::string::npos)
      << t.metrics();
}

TEST_P(Path, SaysWhyThereIsNoRoute) {
  SimWorld world(3);
  MeshWorld t(world, down(), up());
  t.hosts().front().domains = {"other"};
  t.start();
  const Answer answer = t.get("/x");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.header("x-glia-reason"), "no_route");
  EXPECT_EQ(answer.header("x-glia-hop"), "node-1");
  EXPECT_EQ(answer.header("x-glia-config"), "v1");
  EXPECT_NE(answer.body.find("no route for GET service/x"), std::string::npos) << answer.body;
}

TEST_P(Path, SaysWhichClusterHasNoEndpoint) {
  SimWorld world(4);
  MeshWorld t(world, down(), up());
  t.start();
  const Answer answer = t.get();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.header("x-glia-reason"), "no_endpoint");
  EXPECT_EQ(answer.header("x-glia-cluster"), "service");
  EXPECT_EQ(answer.header("x-glia-route"), "all");
}

TEST_P(Path, TriesAnotherEndpointWhenNoConnectionCanBeMade) {
  SimWorld world(5);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200, "alive");
  t.upstream("10.0.1.2").dies();
  t.start();
  for (int i = 0; i < 20; ++i) {
    const Answer answer = t.send({.method = "POST", .body = "data"});
    ASSERT_EQ(answer.status, 200) << answer.body;
  }
}

TEST_P(Path, FindsTheEndpointThatStaysWhileOthersComeAndGo) {
  SimWorld world(17);
  MeshWorld t(world, down(), up());
  const auto ip = [](int i) { return cat("10.0.1.", i); };
  for (int i = 1; i <= 5; ++i) world.fabric().partition("10.0.0.1", ip(i));
  t.upstream(ip(1));
  t.start();
  const auto answer = t.client().send({.method = "POST", .body = "data"});
  for (int i = 1; i <= 5; ++i) {
    t.advance(100ms);  // It waits for a connection that cannot come.
    t.remove_endpoint(ip(i));
    t.upstream(ip(i + 1)).replies(200, ip(i + 1));
    t.publish();
  }
  ASSERT_TRUE(world.run_until([&] { return answer->finished; }, 2s));
  EXPECT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(answer->body, ip(6));
}

TEST_P(Path, FinishesOnAnEndpointThatWasTheLast) {
  SimWorld world(18);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200, "the last");
  world.fabric().partition("10.0.0.1", "10.0.1.1");
  t.start();
  const auto answer = t.client().send({.method = "POST", .body = "data"});
  t.advance(100ms);  // It waits for its connection.
  t.remove_endpoint("10.0.1.1");
  t.publish();
  world.fabric().heal("10.0.0.1", "10.0.1.1");
  ASSERT_TRUE(world.run_until([&] { return answer->finished; }, 3s));
  EXPECT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(answer->body, "the last");
  EXPECT_TRUE(
      world.run_until([&] { return t.upstream("10.0.1.1").stats().connections_active == 0; }, 5s))
      << "the connection to the endpoint that left stays open";
}

TEST_P(Path, GivesUpWhenEveryEndpointRefuses) {
  SimWorld world(6);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").dies();
  t.start();
  const Answer answer = t.get();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.header("x-glia-reason"), "connect_failed");
  EXPECT_NE(answer.body.find("10.0.1.1:8080"), std::string::npos) << answer.body;
}

TEST_P(Path, AnswersWhenTheRoutesTimeRunsOut) {
  SimWorld world(7);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").hangs();
  t.route().forward->timeout = 2s;
  t.start();
  const Answer answer = t.get();
  EXPECT_EQ(answer.status, 504);
  EXPECT_EQ(answer.header("x-glia-reason"), "upstream_timeout");
  EXPECT_NE(answer.body.find("within 2000 ms"), std::string::npos) << answer.body;
  EXPECT_GE(world.passed(), 2s);
  EXPECT_LT(world.passed(), 3s);
  t.advance(1s);
  EXPECT_EQ(t.upstream("10.0.1.1").active(), 0u) << "the upstream was not told";
}

// K6 of the checklist of faults: all times of a request are by the monotonic clock.
TEST_P(Path, TakesNoNoticeOfTheCalendar) {
  constexpr Duration kTenYears = 10 * 365 * 24h;
  for (const Duration shift : {Duration(1h), Duration(-1h), Duration(kTenYears), -kTenYears}) {
    SimWorld world(7);
    MeshWorld t(world, down(), up());
    t.upstream("10.0.1.1").replies(200, "late", 5s);
    t.route().forward->timeout = 6s;
    t.start();
    EXPECT_EQ(t.get().status, 200);
    const auto answer = t.client().send({});
    t.advance(1s);
    world.time().shift_wall_clock(shift);
    t.advance(3900ms);
    EXPECT_FALSE(answer->finished);
    t.advance(200ms);
    EXPECT_EQ(answer->status, 200);
    t.route().forward->timeout = 2s;
    t.publish();
    const auto late = t.client().send({});
    world.time().shift_wall_clock(-shift);
    t.advance(1900ms);
    EXPECT_FALSE(late->finished);
    t.advance(200ms);
    EXPECT_EQ(late->status, 504);
  }
}

TEST_P(Path, CountsTheWaitForAConnectionAgainstTheTimeOfARequestThatIsHereWhole) {
  SimWorld world(9);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").hangs();
  t.route().forward->timeout = 5s;
  t.cluster().connect_timeout = 10s;
  t.start();
  world.fabric().partition("10.0.0.1", "10.0.1.1");
  const auto answer = t.client().send({.method = "POST", .body = "question"});
  t.advance(4500ms);
  world.fabric().heal("10.0.0.1", "10.0.1.1");
  t.advance(1s);
  EXPECT_TRUE(answer->finished);
  EXPECT_EQ(answer->status, 504);
}

TEST_P(Path, AnswersInTimeThoughNoUpstreamTookTheRequest) {
  SimWorld world(20);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200);
  t.route().forward->timeout = 2s;
  t.start();
  world.fabric().partition("10.0.0.1", "10.0.1.1");
  for (const std::size_t size : {10u, 1'000'000u}) {
    const TimePoint sent = world.loop().clock().now();
    const Answer answer = t.send({.method = "POST", .body = std::string(size, 'x')});
    EXPECT_EQ(answer.status, 504);
    EXPECT_EQ(answer.header("x-glia-reason"), "upstream_timeout");
    EXPECT_LT(world.loop().clock().now() - sent, 3s);
  }
}

TEST_P(Path, AnswersInTimeThoughTheUpstreamStoppedTakingTheRequest) {
  SimWorld world(21);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200);
  t.route().forward->timeout = 2s;
  t.start();
  ASSERT_EQ(t.get().status, 200);
  world.fabric().partition("10.0.0.1", "10.0.1.1");
  const TimePoint sent = world.loop().clock().now();
  const Answer answer = t.send({.method = "POST", .body = std::string(3'000'000, 'x')});
  EXPECT_EQ(answer.status, 504);
  EXPECT_LT(world.loop().clock().now() - sent, 3s);
}

TEST_P(Path, BreaksTheAnswerOffWhenItsTimeRunsOut) {
  SimWorld world(23);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").echoes();
  t.route().forward->timeout = 2s;
  t.start();
  const auto answer = t.client().send({.method = "POST", .body = std::string(3'000'000, 'x')});
  ASSERT_TRUE(world.run_until([&] { return !answer->body.empty(); }, 5s));
  const TimePoint parted = world.loop().clock().now();
  world.fabric().partition("10.0.0.1", "10.0.1.1");
  ASSERT_TRUE(world.run_until([&] { return answer->finished; }, 10s));
  EXPECT_NE(answer->error, "");
  EXPECT_LT(world.loop().clock().now() - parted, 3s);
  EXPECT_TRUE(t.worker().exchanges().empty());
}

TEST_P(Path, BreaksTheAnswerOffWhenTheUpstreamDoes) {
  SimWorld world(8);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200, "half of it");
  t.upstream("10.0.1.1").breaks_in_the_body();
  t.start();
  const Answer answer = t.get();
  EXPECT_TRUE(answer.finished);
  EXPECT_NE(answer.error, "");
}

TEST_P(Path, TellsTheUpstreamThatTheClientIsGone) {
  SimWorld world(9);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").hangs();
  t.start();
  const auto answer = t.client().send({});
  ASSERT_TRUE(world.run_until([&] { return t.upstream("10.0.1.1").active() == 1; }, 5s));
  t.client().drop();
  EXPECT_TRUE(world.run_until([&] { return t.upstream("10.0.1.1").active() == 0; }, 50ms));
}

TEST_P(Path, CarriesBodiesLargerThanEveryBuffer) {
  SimWorld world(10);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").echoes();
  t.start();
  std::string body;
  for (int i = 0; body.size() < 3'000'000; ++i) body += cat(i, ",");
  const Answer answer = t.send({.method = "POST", .body = body}, 600s);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.body == body) << answer.body.size() << " of " << body.size();
}

TEST_P(Path, FollowsANewDrawingOnOldConnections) {
  SimWorld world(11);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1", "one").replies(200, "one");
  t.upstream("10.0.1.2", "two").replies(200, "two");
  t.route().forward->clusters = {{.cluster = "one"}};
  t.start();
  EXPECT_EQ(t.get().body, "one");
  t.route().forward->clusters = {{.cluster = "two"}};
  t.publish();
  EXPECT_EQ(t.get().body, "two");
}

TEST_P(Path, SplitsByWeight) {
  SimWorld world(12);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1", "one").replies(200, "one");
  t.upstream("10.0.1.2", "two").replies(200, "two");
  t.route().forward->clusters = {{.cluster = "one", .weight = 90},
                                 {.cluster = "two", .weight = 10}};
  t.route().forward->total_weight = 100;
  t.start();
  int two = 0;
  for (int i = 0; i < 1000; ++i) two += t.get().body == "two";
  EXPECT_GT(two, 60);
  EXPECT_LT(two, 140);
}

TEST_P(Path, RewritesThePathByAPatternAndKeepsTheQuery) {
  SimWorld world(26);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200);
  t.route().forward->path_rewrite = *TextRewrite::create("^/v[0-9]+(.*)$", "\\1");
  t.start();
  EXPECT_EQ(t.get("/v1/models?a=/v2").status, 200);
  EXPECT_EQ(t.upstream("10.0.1.1").seen()[0].path, "/models?a=/v2");
  EXPECT_EQ(t.upstream("10.0.1.1").seen()[0].header("x-envoy-original-path"), "/v1/models?a=/v2");
  // What does not begin with a slash any more is not sent on.
  EXPECT_EQ(t.get("/v1").status, 400);
}

TEST_P(Path, TheRouteSaysWhatAMissingClusterIsAnsweredWith) {
  SimWorld world(27);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200);
  t.route().forward->clusters = {{.cluster = "gone"}};
  t.start();
  EXPECT_EQ(t.get().status, 503);
  t.route().forward->no_cluster_status = 500;
  t.publish();
  const Answer answer = t.get();
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.header("x-glia-reason"), "no_cluster");
}

TEST_P(Path, TheWorkerMayEndRightAfterItsEndpointsLeft) {
  SimWorld world(25);
  for (const char* ip : {"10.0.1.1", "10.0.1.2"}) world.fabric().partition("10.0.0.1", ip);
  {
    MeshWorld t(world, down(), up());
    t.upstream("10.0.1.1");
    t.start();
    const auto answer = t.client().send({});
    t.advance(100ms);  // It waits for a connection that cannot come.
    t.remove_endpoint("10.0.1.1");
    t.upstream("10.0.1.2");
    t.publish();
  }
  world.run_for(1s);
  EXPECT_EQ(world.fabric().open_streams(), 0u);
}

// What an answer says of the drawing may be written when the drawing is gone already.
TEST_P(Path, AnswersByADrawingThatIsReplacedMeanwhile) {
  SimWorld world(24);
  MeshWorld t(world, down(), up());
  const std::string old_name(60, 'o');
  t.upstream("10.0.1.1").replies(200, "", 1s);
  t.manager().server_name = old_name;
  t.route().response_headers = {{.add = {{.name = old_name, .value = old_name}}}};
  for (const int status : {200, 504}) {
    t.publish();
    const auto answer = t.client().send({});
    ASSERT_TRUE(world.run_until([&] { return t.upstream("10.0.1.1").active() == 1; }, 5s));
    t.publish();
    ASSERT_TRUE(world.run_until([&] { return answer->finished; }, 5s));
    EXPECT_EQ(answer->status, status);
    EXPECT_EQ(answer->header(status == 200 ? old_name : "server"), old_name);
    t.upstream("10.0.1.1").hangs();
    t.route().forward->timeout = 1s;
  }
}

TEST_P(Path, LeavesACallInPeaceWhenItsClusterIsRemoved) {
  SimWorld world(13);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1", "one").replies(200, "late", 5s);
  t.upstream("10.0.1.2", "two").replies(200, "two");
  t.route().forward->clusters = {{.cluster = "one"}};
  t.start();
  const auto answer = t.client().send({});
  ASSERT_TRUE(world.run_until([&] { return t.upstream("10.0.1.1").active() == 1; }, 5s));
  t.route().forward->clusters = {{.cluster = "two"}};
  t.remove_cluster("one");
  t.publish();
  // The client's one HTTP/1 connection is busy.
  if (down() == Codec::kHttp2) EXPECT_EQ(t.get().body, "two");
  ASSERT_TRUE(world.run_until([&] { return answer->finished; }, 20s));
  EXPECT_EQ(answer->error, "");
  EXPECT_EQ(answer->body, "late");
}

TEST_P(Path, RefusesAPathThatApplicationsReadInDifferentWays) {
  SimWorld world(19);
  MeshWorld t(world, down(), up());
  t.upstream("10.0.1.1").replies(200);
  t.start();
  for (const char* path : {"/..", "/a/../b", "/a/.", "/./a", "/%2e%2E/a", "/a/.%2e", "/a/..%2fb",
                           "/a%2f../b", "/a%5c..%5cb", "/a/..;x=y/b", "/a/..%3b/b?c=/d"}) {
    const Answer answer = t.get(path);
    EXPECT_EQ(answer.status, 400) << path;
    EXPECT_EQ(answer.header("x-glia-reason"), "bad_request") << path;
  }
  EXPECT_TRUE(t.upstream("10.0.1.1").seen().empty());
  for (const char* path : {"/", "/.well-known/x", "/a/...", "/a.b", "/..a", "/a//b",
                           "/v2/a%2fb/infer", "/a?b=/../c", "/a;b=..", "/%252e%252e/a"}) {
    EXPECT_EQ(t.get(path).status, 200) << path;
  }
}

TEST(Redirect, KeepsWhatItDoesNotReplace) {
  const struct {
    RedirectAction action;
    const char *authority, *location;
  } cases[] = {
      {{}, "shop:81", "http://shop:81/old/x?a=b"},
      {{.path = "/new"}, "[::1]", "http://[::1]/new?a=b"},
      {{.path = "/new?c=d", .strip_query = true}, "shop", "http://shop/new?c=d"},
      {{.prefix = "/new", .strip_query = true}, "shop", "http://shop/new/x"},
      {{.scheme = "https"}, "[::1]", "https://[::1]/old/x?a=b"},
      {{.scheme = "https"}, "shop:80", "https://shop/old/x?a=b"},
      {{.scheme = "https"}, "shop:81", "https://shop:81/old/x?a=b"},
      {{.scheme = "https", .host = "a.com:8443"}, "shop", "https://a.com:8443/old/x?a=b"},
      {{.port = 82}, "[::1]:81", "http://[::1]:82/old/x?a=b"},
  };
  SimWorld world(18);
  MeshWorld t(world);
  t.route().match.path.text = *TextMatcher::create(TextMatcher::Kind::kPrefix, "/old");
  t.route().forward.reset();
  for (const auto& [action, authority, location] : cases) {
    t.route().redirect = action;
    t.publish();
    const Answer answer = t.send({.path = "/old/x?a=b", .authority = authority});
    EXPECT_EQ(answer.status, 301);
    EXPECT_EQ(answer.header("location"), location);
  }
}

// A client that says that ten bytes will follow, and sends two.
TEST(SlowRequest, IsRefusedWhenItIsNotCompleteInTime) {
  SimWorld world(16);
  MeshWorld t(world);
  t.upstream("10.0.1.1").replies(200, "never");
  t.manager().request_timeout = 2s;
  t.start();
  Party client(world.host("10.0.0.7").connect(*Address::ip("10.0.0.1", 80)));
  client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab");
  ASSERT_TRUE(world.run_until([&] { return client.ended || client.broken; }, 20s));
  EXPECT_TRUE(client.received.starts_with("HTTP/1.1 408 ")) << client.received;
  EXPECT_NE(client.received.find("not complete after 2000 ms"), std::string::npos);
}

TEST(SlowRequest, MayTakeItsTimeOnceTheAnswerHasBegun) {
  SimWorld world(17);
  MeshWorld t(world);
  t.upstream("10.0.1.1").echoes();
  t.manager().request_timeout = 2s;
  t.start();
  Party client(world.host("10.0.0.7").connect(*Address::ip("10.0.0.1", 80)));
  client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab");
  t.advance(5s);
  client.send("cd");
  ASSERT_TRUE(world.run_until([&] { return client.received.ends_with("cd"); }, 5s))
      << client.received;
}

TEST(SlowRequest, IsNotHeldAgainstTheUpstream) {
  SimWorld world(22);
  MeshWorld t(world);
  t.upstream("10.0.1.1").replies(200, "thanks");
  t.route().forward->timeout = 2s;
  t.start();
  Party client(world.host("10.0.0.7").connect(*Address::ip("10.0.0.1", 80)));
  client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n");
  for (const char* piece : {"a", "b", "c", "d"}) {
    t.advance(5s);
    client.send(piece);
  }
  ASSERT_TRUE(world.run_until([&] { return client.received.ends_with("0\r\n\r\n"); }, 5s))
      << client.received;
  EXPECT_TRUE(client.received.starts_with("HTTP/1.1 200 ")) << client.received;
}

TEST_P(Path, NamesTheRouteThatAnswersByItself) {
  SimWorld world(16);
  MeshWorld t(world, down(), up());
  t.route().forward.reset();
  t.route().direct = DirectAction{.status = 404, .body = "no such service"};
  t.start();
  const Answer answer = t.get();
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body, "no such service");
  EXPECT_EQ(answer.header("x-glia-reason"), "direct_response");
  EXPECT_EQ(answer.header("x-glia-hop"), "node-1");
  EXPECT_EQ(answer.header("x-glia-route"), "all");
  EXPECT_EQ(answer.header("x-glia-config"), "v1");
}

TEST(GrpcPath, CarriesTrailers) {
  SimWorld world(14);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
  t.upstream("10.0.1.1").replies(200, "message");
  t.upstream("10.0.1.1").reply_header("content-type", "application/grpc");
  t.upstream("10.0.1.1").reply_trailer("grpc-status", "0");
  t.start();
  const Answer answer =
      t.send({.method = "POST",
              .headers = {{"content-type", "application/grpc"}, {"te", "trailers"}},
              .body = "x"});
  EXPECT_EQ(answer.body, "message");
  ASSERT_TRUE(answer.trailers.contains("grpc-status"));
  EXPECT_EQ(answer.trailers.at("grpc-status"), "0");
}

TEST(GrpcPath, RefusesInTheWayOfGrpc) {
  SimWorld world(15);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
  t.start();
  const Answer answer =
      t.send({.method = "POST",
              .headers = {{"content-type", "application/grpc"}, {"te", "trailers"}},
              .body = "x"});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("grpc-status"), "14");
  EXPECT_NE(answer.header("grpc-message").find("service"), std::string::npos);
}

}  // namespace
}  // namespace glia
