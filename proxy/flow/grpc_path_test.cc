// gRPC through a real worker: what a caller finds at the end of a call, whatever the upstream does.
#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "proxy/http/grpc.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

ClientRequest call(std::vector<std::pair<std::string, std::string>> more = {}) {
  ClientRequest request{.method = "POST",
                        .path = "/shop.Cart/Add",
                        .headers = {{"content-type", "application/grpc"}, {"te", "trailers"}},
                        .body = std::string("\0\0\0\0\1x", 6)};
  for (auto& field : more) request.headers.push_back(std::move(field));
  return request;
}

class Grpc : public testing::TestWithParam<Codec> {
 protected:
  Codec up() const { return GetParam(); }
};

// A streaming call that has reached the upstream; the test speaks for both ends.
struct Streaming {
  Streaming(uint64_t seed, Codec up, std::vector<std::pair<std::string, std::string>> fields = {})
      : world(seed), t(world, Codec::kHttp2, up), upstream(world, "10.0.1.1", up) {
    upstream.head(200, {{"content-type", "application/grpc"}});
    t.add_endpoint(*Address::ip("10.0.1.1", 8080));
    t.start();
    client = std::make_unique<LiveClient>(world, "10.0.9.8", t.address(), Codec::kHttp2);
    fields.emplace_back("content-type", "application/grpc");
    call = &client->call("/a.B/C", std::move(fields));
    EXPECT_TRUE(world.run_until([&] { return upstream.requests() == 1; }, 5s));
  }
  SimWorld world;
  MeshWorld t;
  LiveUpstream upstream;
  std::unique_ptr<LiveClient> client;
  LiveCall* call = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Upstream, Grpc, testing::Values(Codec::kHttp1, Codec::kHttp2),
                         [](const testing::TestParamInfo<Codec>& info) {
                           return info.param == Codec::kHttp1 ? "Http1" : "Http2";
                         });

TEST_P(Grpc, TurnsAnHttpErrorIntoAStatus) {
  const struct {
    int http;
    const char* grpc;
  } cases[] = {{400, "13"}, {401, "16"}, {403, "7"},  {404, "12"}, {429, "14"},
               {502, "14"}, {503, "14"}, {504, "14"}, {500, "2"},  {302, "2"}};
  SimWorld world(1, {.short_read = 0, .short_write = 0});  // Heads come with their bodies.
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").reply_header("content-type", "text/html");
  t.start();
  for (const auto& [http, grpc] : cases) {
    t.upstream("10.0.1.1").replies(http, "<html>no</html>");
    const Answer answer = t.send(call());
    EXPECT_EQ(answer.error, "") << http;
    EXPECT_EQ(answer.status, 200) << http;
    EXPECT_EQ(answer.header("content-type"), "application/grpc");
    EXPECT_EQ(answer.header("grpc-status"), grpc) << http;
    EXPECT_EQ(answer.header("grpc-message"),
              cat("HTTP status ", http, " with text/html where gRPC was expected"));
    EXPECT_EQ(answer.header("x-glia-reason"), "not_grpc");
    EXPECT_EQ(answer.header("x-glia-cluster"), "service");
    EXPECT_EQ(answer.body, "");
    EXPECT_TRUE(answer.trailers.empty());
  }
  // Read to its end, the connection was used again.
  EXPECT_EQ(t.upstream("10.0.1.1").stats().connections, 1u);
}

TEST_P(Grpc, QuotesWhatAnErrorSays) {
  SimWorld world(2);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").reply_header("content-type", "application/json");
  t.upstream("10.0.1.1").replies(503, "{\"error\": \"100% full\"}" + std::string(100'000, ' '));
  t.start();
  const Answer answer = t.send(call());
  EXPECT_EQ(answer.header("grpc-status"), "14");
  const std::string message = decode_grpc_message(answer.header("grpc-message"));
  EXPECT_NE(message.find("{\"error\": \"100% full\"}"), std::string::npos) << message;
  EXPECT_LT(message.size(), 400u);
}

TEST_P(Grpc, TakesA200ThatIsNotGrpcForAnError) {
  SimWorld world(3);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").replies(200, "hello");
  t.start();
  Answer answer = t.send(call());
  EXPECT_EQ(answer.header("grpc-status"), "2");
  EXPECT_NE(answer.header("grpc-message").find("no content-type"), std::string::npos);
  t.upstream("10.0.1.1").reply_header("content-type", "application/grpc-web");
  answer = t.send(call());
  EXPECT_EQ(answer.header("grpc-status"), "2");
  EXPECT_EQ(answer.body, "");
}

TEST_P(Grpc, KeepsAStatusThatStandsBesideAnHttpError) {
  SimWorld world(4);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").replies(503);
  t.upstream("10.0.1.1").reply_header("grpc-status", "8");
  t.upstream("10.0.1.1").reply_header("grpc-message", "no more");
  t.start();
  const Answer answer = t.send(call());
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("grpc-status"), "8");
  EXPECT_EQ(answer.header("grpc-message"), "no more");
}

TEST_P(Grpc, PassesAnAnswerWithTrailersOnlyAsItIs) {
  SimWorld world(5);
  MeshWorld t(world, Codec::kHttp2, up());
  SimUpstream& upstream = t.upstream("10.0.1.1");
  upstream.replies(200);
  upstream.reply_header("content-type", "application/grpc+proto");
  upstream.reply_header("grpc-status", "5");
  upstream.reply_header("grpc-message", "no %25 such cart");
  upstream.reply_header("grpc-status-details-bin", "CAUSBG5vbmU");
  t.start();
  const Answer answer = t.send(call());
  EXPECT_EQ(answer.header("content-type"), "application/grpc+proto");
  EXPECT_EQ(answer.header("grpc-status"), "5");
  EXPECT_EQ(answer.header("grpc-message"), "no %25 such cart");
  EXPECT_EQ(answer.header("grpc-status-details-bin"), "CAUSBG5vbmU");
  EXPECT_FALSE(answer.headers.contains("x-glia-reason"));
  EXPECT_TRUE(answer.trailers.empty());
}

TEST_P(Grpc, KeepsTheDetailsInTheTrailersByteForByte) {
  SimWorld world(6);
  MeshWorld t(world, Codec::kHttp2, up());
  SimUpstream& upstream = t.upstream("10.0.1.1");
  upstream.replies(200, "message");
  upstream.reply_header("content-type", "application/grpc");
  upstream.reply_trailer("grpc-status", "3");
  upstream.reply_trailer("grpc-message", "h%C3%A4user, 50%25");
  upstream.reply_trailer("grpc-status-details-bin", "CAMSA2JhZA,,AAEC/+==");
  t.start();
  const Answer answer = t.send(call());
  EXPECT_EQ(answer.body, "message");
  EXPECT_EQ(answer.trailers.at("grpc-status"), "3");
  EXPECT_EQ(answer.trailers.at("grpc-message"), "h%C3%A4user, 50%25");
  EXPECT_EQ(answer.trailers.at("grpc-status-details-bin"), "CAMSA2JhZA,,AAEC/+==");
  EXPECT_EQ(answer.trailers.size(), 3u);
  EXPECT_NE(t.metrics().find("envoy_cluster_upstream_rq_xx{envoy_cluster_name=\"service\","
                             "envoy_response_code_class=\"4\"} 1"),
            std::string::npos)
      << "INVALID_ARGUMENT counts as 400: " << t.metrics();
}

TEST_P(Grpc, GivesAStatusToAStreamThatEndsWithoutOne) {
  SimWorld world(7);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").reply_header("content-type", "application/grpc");
  t.start();
  for (const char* body : {"message", ""}) {
    t.upstream("10.0.1.1").replies(200, body);
    const Answer answer = t.send(call());
    EXPECT_EQ(answer.error, "");
    EXPECT_EQ(answer.body, body);
    ASSERT_TRUE(answer.trailers.contains("grpc-status")) << "body \"" << body << "\"";
    EXPECT_EQ(answer.trailers.at("grpc-status"), "2");
    EXPECT_EQ(answer.trailers.at("grpc-message"),
              "the upstream ended its answer without a grpc-status");
  }
}

TEST_P(Grpc, RepeatsAStatusThatCameTooEarly) {
  SimWorld world(8);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").replies(200, "message");
  t.upstream("10.0.1.1").reply_header("content-type", "application/grpc");
  t.upstream("10.0.1.1").reply_header("grpc-status", "9");
  t.start();
  const Answer answer = t.send(call());
  EXPECT_EQ(answer.body, "message");
  ASSERT_TRUE(answer.trailers.contains("grpc-status"));
  EXPECT_EQ(answer.trailers.at("grpc-status"), "9");
}

TEST_P(Grpc, SaysThatAStreamBrokeOff) {
  SimWorld world(9);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").replies(200, "half of it");
  t.upstream("10.0.1.1").reply_header("content-type", "application/grpc");
  t.upstream("10.0.1.1").breaks_in_the_body();
  t.start();
  const Answer answer = t.send(call());
  EXPECT_EQ(answer.error, "");
  EXPECT_EQ(answer.body, "half of it");
  ASSERT_TRUE(answer.trailers.contains("grpc-status"));
  // RST_STREAM with INTERNAL_ERROR has a code of its own; a connection that closes has not.
  EXPECT_EQ(answer.trailers.at("grpc-status"), up() == Codec::kHttp2 ? "13" : "14");
}

TEST_P(Grpc, SaysThatTheConnectionOfAStreamWasCut) {
  Streaming s(10, up());
  s.upstream.request(0).answer.say("one");
  ASSERT_TRUE(s.world.run_until([&] { return s.call->heard.text == "one"; }, 5s));
  s.upstream.cuts();
  ASSERT_TRUE(s.world.run_until([&] { return s.call->finished; }, 5s));
  EXPECT_EQ(s.call->heard.error, "");
  EXPECT_EQ(s.call->heard.trailers["grpc-status"], "14");
}

TEST_P(Grpc, EndsEitherWayFirst) {
  Streaming s(11, up());
  LiveRequest& seen = s.upstream.request(0);
  for (int i = 0; i < 100; ++i) {
    const std::string said = cat("ask ", i, ";"), told = cat("tell ", i, ";");
    s.call->speech.say(said);
    ASSERT_TRUE(s.world.run_until([&] { return seen.heard.text.ends_with(said); }, 1s)) << i;
    seen.answer.say(told);
    ASSERT_TRUE(s.world.run_until([&] { return s.call->heard.text.ends_with(told); }, 1s)) << i;
  }
  // The caller has no more; the answer goes on.
  s.call->speech.end();
  ASSERT_TRUE(s.world.run_until([&] { return seen.heard.ended; }, 1s));
  seen.answer.say("after the end");
  ASSERT_TRUE(s.world.run_until([&] { return s.call->heard.text.ends_with("after the end"); }, 1s));
  seen.answer.end({{"grpc-status", "0"}});
  ASSERT_TRUE(s.world.run_until([&] { return s.call->finished; }, 1s));
  EXPECT_EQ(s.call->heard.trailers["grpc-status"], "0");
  EXPECT_TRUE(seen.gone);
}

TEST_P(Grpc, MayBeAnsweredBeforeTheCallerHasSaidAll) {
  Streaming s(12, up());
  s.call->speech.say("first of many");
  s.upstream.request(0).answer.say("enough");
  s.upstream.request(0).answer.end({{"grpc-status", "0"}});
  ASSERT_TRUE(s.world.run_until([&] { return s.call->finished; }, 1s));
  EXPECT_EQ(s.call->heard.error, "");
  EXPECT_EQ(s.call->heard.text, "enough");
  EXPECT_EQ(s.call->heard.trailers["grpc-status"], "0");
  EXPECT_TRUE(s.world.run_until([&] { return s.upstream.request(0).gone; }, 50ms));
}

TEST_P(Grpc, AnswersItselfInTheSameWay) {
  SimWorld world(13);
  MeshWorld t(world, Codec::kHttp2, up());
  t.route().forward.reset();
  t.route().direct = DirectAction{.status = 404, .body = "no such service"};
  t.start();
  const Answer answer = t.send(call());
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("grpc-status"), "12");
  EXPECT_NE(answer.header("grpc-message").find("no such service"), std::string::npos);
  EXPECT_EQ(answer.header("x-glia-reason"), "direct_response");
}

// The length of a message is the business of the two ends: nothing here holds a message.
TEST_P(Grpc, HoldsNothingForAMessageThatSaysItHasFourGibibytes) {
  SimWorld world(14);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").echoes();
  t.upstream("10.0.1.1").reply_header("content-type", "application/grpc");
  t.start();
  ClientRequest request = call();
  request.body = std::string("\0\xFF\xFF\xFF\xFF little", 12);
  const Answer answer = t.send(request);
  EXPECT_EQ(answer.body, request.body);
  EXPECT_EQ(answer.trailers.at("grpc-status"), "2") << "the echo has none";
}

// grpc-timeout.

TEST_P(Grpc, EndsACallAtItsDeadline) {
  SimWorld world(20);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").hangs();
  t.start();
  const Answer answer = t.send(call({{"grpc-timeout", "300m"}}));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("grpc-status"), "4");
  EXPECT_EQ(answer.header("grpc-message"), "not over 300 ms after it began (grpc-timeout)");
  EXPECT_GE(world.passed(), 300ms);
  EXPECT_LT(world.passed(), 320ms);
  EXPECT_TRUE(world.run_until([&] { return t.upstream("10.0.1.1").active() == 0; }, 50ms))
      << "the upstream was not told";
  EXPECT_NE(t.metrics().find("downstream_rq_max_duration_reached{envoy_http_conn_manager_prefix="
                             "\"in\"} 1"),
            std::string::npos);
}

TEST_P(Grpc, TellsTheUpstreamWhatIsLeftOfTheDeadline) {
  SimWorld world(21);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").replies(200);
  world.fabric().partition("10.0.0.1", "10.0.1.1");  // 700 ms until there is a connection.
  t.start();
  const auto answer = t.client().send(call({{"grpc-timeout", "5S"}}));
  t.advance(700ms);
  world.fabric().heal("10.0.0.1", "10.0.1.1");
  ASSERT_TRUE(world.run_until([&] { return answer->finished; }, 10s));
  ASSERT_EQ(t.upstream("10.0.1.1").seen().size(), 1u);
  const std::string left = t.upstream("10.0.1.1").seen()[0].header("grpc-timeout");
  const auto duration = parse_grpc_timeout(left);
  ASSERT_TRUE(duration) << left;
  EXPECT_LE(*duration, Duration(4300ms)) << left;
  EXPECT_GE(*duration, Duration(3800ms)) << left;
}

TEST_P(Grpc, RefusesATimeoutThatBreaksTheGrammar) {
  SimWorld world(22);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").replies(200);
  t.start();
  for (const char* text : {"123456789n", "1", "S", "1x", "-1S", "1.5S", "1s", "+1S"}) {
    const Answer answer = t.send(call({{"grpc-timeout", text}}));
    EXPECT_EQ(answer.header("grpc-status"), "3") << text;
    EXPECT_NE(answer.header("grpc-message").find("grpc-timeout"), std::string::npos) << text;
  }
  const Answer twice = t.send(call({{"grpc-timeout", "1S"}, {"grpc-timeout", "2S"}}));
  EXPECT_EQ(twice.header("grpc-status"), "3");
  EXPECT_TRUE(t.upstream("10.0.1.1").seen().empty());
}

TEST_P(Grpc, DoesNotBeginWhatIsOverAlready) {
  SimWorld world(23);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").replies(200);
  t.route().forward->grpc_timeout_offset = 2s;
  t.start();
  for (const char* text : {"0n", "00000000S", "2S", "1999m"}) {
    const Answer answer = t.send(call({{"grpc-timeout", text}}));
    EXPECT_EQ(answer.header("grpc-status"), "4") << text;
  }
  EXPECT_TRUE(t.upstream("10.0.1.1").seen().empty());
}

TEST_P(Grpc, KeepsToTheRoutesLongestTimeoutAndOffset) {
  SimWorld world(24);
  MeshWorld t(world, Codec::kHttp2, up());
  t.upstream("10.0.1.1").hangs();
  t.route().forward->grpc_timeout_max = 1s;
  t.route().forward->grpc_timeout_offset = 200ms;
  t.start();
  const Answer answer = t.send(call({{"grpc-timeout", "99999999H"}}));
  EXPECT_EQ(answer.header("grpc-status"), "4");
  EXPECT_GE(world.passed(), 800ms);
  EXPECT_LT(world.passed(), 820ms);
}

TEST_P(Grpc, SaysInTheTrailersThatTheTimeOfAStreamIsOver) {
  Streaming s(25, up(), {{"grpc-timeout", "2S"}});
  s.upstream.request(0).answer.say("one");
  ASSERT_TRUE(s.world.run_until([&] { return s.call->finished; }, 10s));
  EXPECT_LT(s.world.passed(), 2100ms);
  EXPECT_EQ(s.call->heard.error, "");
  EXPECT_EQ(s.call->heard.text, "one");
  EXPECT_EQ(s.call->heard.trailers["grpc-status"], "4");
  EXPECT_TRUE(s.world.run_until([&] { return s.upstream.request(0).gone; }, 50ms));
}

TEST_P(Grpc, BreaksOffAStreamWhoseCallerDoesNotTakeTheEnd) {
  Streaming s(26, up(), {{"grpc-timeout", "2S"}});
  s.call->reads = false;
  s.upstream.request(0).answer.say(std::string(4 << 20, 'x'));
  ASSERT_TRUE(s.world.run_until([&] { return s.upstream.request(0).gone; }, 3s));
  EXPECT_LT(s.world.passed(), 2100ms);
  EXPECT_TRUE(s.world.run_until(
      [&] {
        return s.t.metrics().find("rq_active{envoy_http_conn_manager_prefix=\"in\"} 0") !=
               std::string::npos;
      },
      3s));
}

}  // namespace
}  // namespace glia
