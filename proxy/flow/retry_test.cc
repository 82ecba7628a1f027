// Retries that a route's policy asks for, and the time that it gives each attempt, through a whole
// worker with its access log.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

class Retrying : public testing::TestWithParam<Codec> {
 protected:
  Retrying() : path_(cat(testing::TempDir(), "retry-", getpid(), ".log")) {
    unlink(path_.c_str());
    t.manager().access_logs = {{.path = path_}};
    t.upstream("10.0.1.1");
    t.route().forward->retry = RetryPolicy{};
  }
  RetryPolicy& policy() { return *t.route().forward->retry; }
  SimUpstream& bad() { return t.upstream("10.0.1.1"); }
  SimUpstream& good() { return t.upstream("10.0.1.2"); }
  nlohmann::json last_line() {
    t.advance(300ms);
    std::ifstream file(path_);
    std::string last;
    for (std::string line; std::getline(file, line);) last = line;
    return nlohmann::json::parse(last);
  }
  uint64_t metric(std::string_view name) {
    const std::string page = t.metrics();
    const std::size_t at = page.find(cat("\nenvoy_cluster_upstream_rq_", name, "{"));
    if (at == page.npos) return 0;
    const std::size_t space = page.find(' ', at);
    const std::string_view number(page.data() + space + 1, page.find('\n', space) - space - 1);
    return parse_decimal(number).value_or(0);
  }
  // Every request meets the bad upstream first.
  void one_after_the_other() {
    t.remove_endpoint("10.0.1.1");
    t.remove_endpoint("10.0.1.2");
    t.add_endpoint(*Address::ip("10.0.1.1", 8080));
    t.add_endpoint(*Address::ip("10.0.1.2", 8080));
  }
  // Sends until the bad one was met first.
  Answer send(ClientRequest request = {}) {
    for (int i = 0; i < 2; ++i) {
      const std::size_t met = bad().seen().size();
      const Answer answer = t.send(request);
      if (bad().seen().size() > met) return answer;
    }
    ADD_FAILURE() << "the bad upstream was not asked";
    return {};
  }

  std::string path_;
  SimWorld world_{1};
  MeshWorld t{world_, Codec::kHttp1, GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Protocols, Retrying, testing::Values(Codec::kHttp1, Codec::kHttp2),
                         [](const auto& info) {
                           return info.param == Codec::kHttp1 ? "Http1" : "Http2";
                         });

TEST_P(Retrying, GivesUpAnAttemptThatTakesTooLongAndTriesAnother) {
  bad().hangs();
  good().replies(200, "good");
  policy() = {.on = RetryPolicy::kGatewayError, .per_try_timeout = 300ms};
  one_after_the_other();
  t.start();
  const TimePoint began = world_.loop().now();
  const Answer answer = send({.method = "POST", .body = "question"});
  EXPECT_EQ(answer.body, "good");
  EXPECT_GE(world_.loop().now() - began, 300ms);
  EXPECT_LT(world_.loop().now() - began, 1s);
  EXPECT_EQ(good().seen().back().body, "question");
  EXPECT_EQ(metric("per_try_timeout"), 1u);
  EXPECT_EQ(metric("timeout"), 0u);
  EXPECT_EQ(bad().active(), 0u) << "it was told to stop";
  const auto line = last_line();
  EXPECT_EQ(line["response_flags"], "-");
  EXPECT_EQ(line["upstream_request_attempt_count"], 2);
  EXPECT_EQ(line["upstream_host"], "10.0.1.2:8080");
}

TEST_P(Retrying, SaysThatAnAttemptTookTooLong) {
  bad().hangs();
  policy().per_try_timeout = 300ms;
  t.start();
  const Answer answer = send();
  EXPECT_EQ(answer.status, 504);
  EXPECT_NE(answer.body.find("within 300 ms (per_try_timeout of route all)"), std::string::npos);
  EXPECT_EQ(last_line()["response_flags"], "UT");
  EXPECT_EQ(bad().seen().size(), 1u);
}

TEST_P(Retrying, SaysThatItHasTriedAsOftenAsItMay) {
  bad().hangs();
  policy() = {.on = RetryPolicy::k5xx, .retries = 2, .per_try_timeout = 300ms};
  t.start();
  const Answer answer = send();
  EXPECT_EQ(answer.status, 504);
  EXPECT_EQ(bad().seen().size(), 3u);
  EXPECT_EQ(metric("per_try_timeout"), 3u);
  EXPECT_EQ(metric("retry_limit_exceeded"), 1u);
  EXPECT_EQ(last_line()["response_flags"], "UT,URX");
}

TEST_P(Retrying, TheTimeOfTheRouteEndsAllAttempts) {
  bad().hangs();
  policy() = {.on = RetryPolicy::k5xx, .retries = 10, .per_try_timeout = 300ms};
  t.route().forward->timeout = 1s;
  t.start();
  EXPECT_EQ(send().status, 504);
  EXPECT_LE(bad().seen().size(), 4u);
  EXPECT_EQ(last_line()["response_flags"], "UT");
}

TEST_P(Retrying, TheTimeOfAnAttemptCountsFromTheEndOfTheRequest) {
  bad().replies(200, "slow but sure", 250ms);
  policy() = {.per_try_timeout = 300ms};
  t.start();
  EXPECT_EQ(send().body, "slow but sure");
  bad().echoes();  // And the body of an answer may take as long as it likes.
}

TEST_P(Retrying, AnAttemptThatStandsStillBeforeItsAnswerIsTriedElsewhere) {
  bad().hangs();
  good().replies(200, "good");
  policy() = {.on = RetryPolicy::kReset, .per_try_timeout = 10s, .per_try_idle_timeout = 300ms};
  one_after_the_other();
  t.start();
  EXPECT_EQ(send({.method = "POST", .body = "question"}).body, "good");
  EXPECT_EQ(metric("per_try_idle_timeout"), 1u);
  EXPECT_EQ(metric("per_try_timeout"), 0u);
  EXPECT_EQ(last_line()["upstream_request_attempt_count"], 2);
}

TEST_P(Retrying, SaysThatAnAttemptStoodStill) {
  bad().hangs();
  policy() = {.per_try_timeout = 2s, .per_try_idle_timeout = 300ms};
  t.start();
  const Answer answer = send();
  EXPECT_EQ(answer.status, 504);
  EXPECT_NE(answer.body.find("sent nothing of an answer for 300 ms (per_try_idle_timeout of route"),
            std::string::npos)
      << answer.body;
}

TEST_P(Retrying, AnAnswerThatStandsStillIsBrokenOffAndOneThatGoesOnIsNot) {
  policy() = {.per_try_idle_timeout = 300ms};
  bad().replies(200, std::string(1000, 'x'));
  bad().paces_the_body(250ms);
  t.start();
  EXPECT_EQ(send().body.size(), 1000u) << "it took seconds";
  bad().paces_the_body(400ms);
  const Answer stalled = send();
  EXPECT_EQ(stalled.status, 200);
  EXPECT_NE(stalled.error, "");
  EXPECT_LT(stalled.body.size(), 1000u);
  EXPECT_EQ(metric("per_try_idle_timeout"), 1u);
  t.advance(1s);
  EXPECT_EQ(bad().active(), 0u) << "it was told to stop";
  const auto line = last_line();
  EXPECT_NE(std::string(line["response_flags"]).find("UT"), std::string::npos) << line.dump();
}

TEST_P(Retrying, AClientThatSendsItsRequestSlowlyIsNoUpstreamThatStandsStill) {
  policy() = {.per_try_idle_timeout = 300ms};
  bad().echoes();
  t.start();
  const Answer answer = send({.method = "POST", .body = std::string(640, 'q'), .pace = 500ms});
  EXPECT_EQ(answer.body.size(), 640u) << answer.error;
  EXPECT_EQ(metric("per_try_idle_timeout"), 0u);
}

TEST_P(Retrying, AsksAnotherAfterAnAnswerThatThePolicyNames) {
  bad().replies(503, "bad");
  good().replies(200, "good");
  one_after_the_other();
  policy().on = RetryPolicy::kGatewayError;
  t.start();
  EXPECT_EQ(send({.method = "POST", .body = "question"}).body, "good");
  EXPECT_EQ(last_line()["upstream_request_attempt_count"], 2);
  policy() = {.on = RetryPolicy::kStatuses, .statuses = {418}};
  t.publish();
  EXPECT_EQ(send().body, "bad");
  bad().replies(418);
  EXPECT_EQ(send().body, "good");
}

TEST_P(Retrying, LeavesAnswersAloneThatThePolicyDoesNotName) {
  bad().replies(500, "bad");
  policy().on = RetryPolicy::kGatewayError | RetryPolicy::kReset | RetryPolicy::kConflict;
  t.start();
  EXPECT_EQ(send().body, "bad");
  EXPECT_EQ(bad().seen().size(), 1u);
}

TEST_P(Retrying, SendsNoBodyTwiceThatIsTooLargeToKeep) {
  bad().replies(503, "bad");
  policy().on = RetryPolicy::k5xx;
  t.start();
  EXPECT_EQ(send({.method = "POST", .body = std::string(100'000, 'x')}).body, "bad");
  EXPECT_EQ(bad().seen().size(), 1u);
}

TEST_P(Retrying, TriesACallAgainThatEndedWithAStatusThatThePolicyNames) {
  bad().replies(200);
  bad().reply_header("content-type", "application/grpc");
  bad().reply_header("grpc-status", "14");
  good().replies(200);
  good().reply_header("content-type", "application/grpc");
  good().reply_header("grpc-status", "0");
  one_after_the_other();
  policy().on = RetryPolicy::kGrpcUnavailable;
  t.start();
  const Answer answer =
      send({.method = "POST", .headers = {{"content-type", "application/grpc"}}, .body = "abcde"});
  EXPECT_EQ(answer.header("grpc-status"), "0");
  EXPECT_EQ(last_line()["grpc_status"], "0");
}

// A broken cluster does not get a multiple of its load: as many retries at once as its limit says.
TEST_P(Retrying, NoMoreAtOnceThanTheClusterAllows) {
  bad().replies(503, "bad", 500ms);
  policy() = {.on = RetryPolicy::k5xx, .retries = 5, .back_off = 0s};
  t.cluster().limits.retries = 2;
  t.start();
  std::vector<std::unique_ptr<SimClient>> clients;
  std::vector<std::shared_ptr<const Answer>> answers;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(
        std::make_unique<SimClient>(world_, cat("10.0.9.", i + 1), t.address(), Codec::kHttp1));
    answers.push_back(clients.back()->send({}));
  }
  t.advance(10s);
  for (const auto& answer : answers) EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(bad().seen().size(), 10u + 2 * 5u);
  EXPECT_EQ(metric("retry_overflow"), 8u);
  EXPECT_EQ(metric("retry_limit_exceeded"), 2u);
}

TEST_P(Retrying, WaitsLongerBeforeEach) {
  bad().replies(503);
  policy() = {.on = RetryPolicy::k5xx, .retries = 8, .back_off = 100ms, .back_off_most = 10s};
  t.start();
  t.route().forward->timeout = 0s;
  t.publish();
  const TimePoint began = world_.loop().now();
  send();
  EXPECT_EQ(bad().seen().size(), 9u);
  // Anywhere below 100, 200, ... 12800 ms, cut at 10 s.
  EXPECT_GT(world_.loop().now() - began, 2s);
  EXPECT_LT(world_.loop().now() - began, 22'700ms);
}

}  // namespace
}  // namespace glia
