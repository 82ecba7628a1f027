// Second copies of requests (glia.v1.Hedging), through a whole worker with its access log.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

const ClientRequest kChat = {
    .method = "POST",
    .path = "/v1/chat/completions",
    .headers = {{"content-type", "application/json"}},
    .body = R"({"model":"m","messages":[{"role":"user","content":"hi"}]})"};

class Hedged : public testing::TestWithParam<Codec> {
 protected:
  Hedged() : path_(cat(testing::TempDir(), "hedge-", getpid(), ".log")) {
    unlink(path_.c_str());
    t.manager().access_logs = {{.path = path_}};
    t.manager().model.emplace();
    t.cluster().balancing.policy = Balancing::Policy::kRoundRobin;
    slow().replies(200, "slow", 5s);
    quick().replies(200, "quick");
    t.route().hedging = Hedging{.delay = 100ms};
  }
  ~Hedged() override {
    t.advance(10s);
    EXPECT_EQ(active(), 0) << "a copy is still counted";
  }
  Hedging& hedging() { return *t.route().hedging; }
  SimUpstream& slow() { return t.upstream("10.0.1.1"); }
  SimUpstream& quick() { return t.upstream("10.0.1.2"); }
  // Sends until the slow one was met first.
  Answer send(const ClientRequest& request = kChat) {
    for (int i = 0; i < 2; ++i) {
      const std::size_t met = slow().seen().size();
      const Answer answer = t.send(request);
      if (slow().seen().size() > met) return answer;
    }
    ADD_FAILURE() << "the slow upstream was not asked";
    return {};
  }
  std::size_t copies() { return slow().seen().size() + quick().seen().size(); }
  // Whether a second copy goes up of two such requests, of which one meets the slow upstream.
  bool sent_twice(const ClientRequest& request) {
    const std::size_t before = copies();
    t.send(request);
    t.send(request);
    return copies() - before > 2;
  }
  nlohmann::json last_line() {
    t.advance(300ms);
    std::ifstream file(path_);
    std::string last;
    for (std::string line; std::getline(file, line);) last = line;
    return nlohmann::json::parse(last);
  }
  uint64_t metric(std::string_view name) {
    const std::string page = t.metrics();
    const std::size_t at = page.find(cat("\n", name, "{"));
    if (at == page.npos) return 0;
    const std::size_t space = page.find(' ', at);
    const std::string_view number(page.data() + space + 1, page.find('\n', space) - space - 1);
    return parse_decimal(number).value_or(0);
  }
  int64_t active() {
    const Cluster& cluster = *t.worker().clusters().find("service");
    auto& stats = const_cast<Cluster&>(cluster).stats();
    auto sum = static_cast<int64_t>(stats.requests_active + stats.hedges_active);
    for (const auto& [address, endpoint] : cluster.endpoints()) sum += endpoint->active();
    return sum + static_cast<int64_t>(slow().active() + quick().active());
  }

  std::string path_;
  SimWorld world_{1};
  MeshWorld t{world_, Codec::kHttp1, GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Protocols, Hedged, testing::Values(Codec::kHttp1, Codec::kHttp2),
                         [](const auto& info) {
                           return info.param == Codec::kHttp1 ? "Http1" : "Http2";
                         });

TEST_P(Hedged, TakesTheAnswerOfTheSecondCopyIfItComesFirst) {
  t.start();
  const TimePoint began = world_.loop().now();
  const Answer answer = send();
  EXPECT_EQ(answer.body, "quick");
  EXPECT_GE(world_.loop().now() - began, 100ms);
  EXPECT_LT(world_.loop().now() - began, 200ms);
  EXPECT_EQ(quick().seen().back().body, kChat.body);
  EXPECT_TRUE(quick().seen().back().body_complete);
  EXPECT_EQ(quick().seen().back().headers, slow().seen().back().headers);
  t.advance(50ms);
  EXPECT_EQ(slow().active(), 0u) << "it was told to stop within 50 ms";
  EXPECT_EQ(metric("glia_cluster_hedge_rq_total"), 1u);
  EXPECT_EQ(metric("glia_cluster_hedge_rq_won_total"), 1u);
  EXPECT_EQ(metric("envoy_cluster_upstream_rq_retry"), 0u);
  const auto line = last_line();
  EXPECT_EQ(line["hedge"], "won");
  EXPECT_EQ(line["response_flags"], "-");
  EXPECT_EQ(line["upstream_request_attempt_count"], 2);
  EXPECT_EQ(line["upstream_host"], "10.0.1.2:8080");
}

TEST_P(Hedged, KeepsTheFirstIfItAnswersFirst) {
  slow().replies(200, "slow but first", 300ms);
  quick().replies(200, "late", 5s);
  t.start();
  for (int i = 0; i < 2; ++i) {
    const Answer answer = t.send(kChat);
    t.advance(50ms);
    EXPECT_EQ(slow().active() + quick().active(), 0u);
    if (answer.body == "late") continue;  // It was the first copy, and slow the second.
    EXPECT_EQ(answer.body, "slow but first");
  }
  const Answer answer = send();
  EXPECT_EQ(answer.body, "slow but first");
  EXPECT_EQ(last_line()["upstream_host"], "10.0.1.1:8080");
}

TEST_P(Hedged, AsksOnlyOneThatAnswersInTime) {
  slow().replies(200, "in time", 90ms);
  t.start();
  EXPECT_FALSE(sent_twice(kChat));
  EXPECT_EQ(metric("glia_cluster_hedge_rq_total"), 0u);
  EXPECT_FALSE(last_line().contains("hedge"));
}

TEST_P(Hedged, WaitsForTheOtherWhileOneAnswerIsBad) {
  slow().replies(200, "slow", 500ms);
  quick().replies(503, "bad");
  t.start();
  EXPECT_EQ(send().body, "slow");
  const auto line = last_line();
  EXPECT_EQ(line["hedge"], "lost");
  EXPECT_EQ(line["upstream_host"], "10.0.1.1:8080");
  quick().replies(200, "quick", 1s);
  slow().replies(503, "bad", 200ms);
  EXPECT_EQ(send().body, "quick");
  EXPECT_EQ(last_line()["hedge"], "won");
}

TEST_P(Hedged, GivesTheLastAnswerIfBothAreBad) {
  slow().replies(503, "first", 500ms);
  quick().replies(502, "second");
  t.start();
  const Answer answer = send();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.body, "first");
}

TEST_P(Hedged, ABrokenCopyIsNotTheAnswer) {
  slow().replies(200, "slow", 400ms);
  quick().replies(200, "quick", 10s);
  t.start();
  const auto answer = t.client().send(kChat);
  t.advance(200ms);
  quick().dies();
  t.advance(1s);
  EXPECT_EQ(answer->body, "slow") << answer->error;
}

TEST_P(Hedged, OnlyWhatMayBeDoneTwice) {
  t.start();
  ClientRequest stream = kChat;
  stream.body = R"({"model":"m","stream":true,"messages":[]})";
  ClientRequest stored = kChat;
  stored.path = "/v1/responses";
  stored.body = R"({"model":"m","input":"hi"})";
  EXPECT_FALSE(sent_twice(stream));
  EXPECT_FALSE(sent_twice(stored));
  EXPECT_FALSE(sent_twice({.method = "POST", .path = "/order", .body = "one"}));
  EXPECT_FALSE(sent_twice({.method = "POST", .path = "/v2/repository/models/m/load"}));
  EXPECT_TRUE(sent_twice(kChat));
  hedging().requests = Hedging::Requests::kAll;
  t.publish();
  EXPECT_TRUE(sent_twice({.method = "POST", .path = "/order", .body = "one"}));
  EXPECT_TRUE(sent_twice({.path = "/"}));
  EXPECT_FALSE(sent_twice(stream)) << "streams never";
}

TEST_P(Hedged, OnlyWithAllOfTheBody) {
  t.start();
  ClientRequest large = kChat;
  large.body = cat(R"({"model":"m","messages":[{"role":"user","content":")",
                   std::string(100'000, 'x'), R"("}]})");
  EXPECT_FALSE(sent_twice(large));
  hedging().kept_bytes = 200'000;
  t.publish();
  EXPECT_TRUE(sent_twice(large));
  EXPECT_EQ(quick().seen().back().body, large.body);
}

TEST_P(Hedged, TheDelayCountsFromTheEndOfTheRequest) {
  hedging().requests = Hedging::Requests::kAll;
  slow().replies(200, "slow", 50ms);
  t.start();
  EXPECT_FALSE(sent_twice({.method = "POST",
                           .path = "/x",
                           .body = std::string(10 * ClientRequest::kPacedPiece, 'x'),
                           .pace = 50ms}));
}

TEST_P(Hedged, NeedsAnotherEndpoint) {
  t.remove_endpoint("10.0.1.2");
  t.start();
  EXPECT_EQ(t.send(kChat).body, "slow");
  EXPECT_EQ(slow().seen().size(), 1u);
}

TEST_P(Hedged, NoMoreCopiesAtOnceThanTheBudgetAllows) {
  slow().replies(200, "slow", 2s);
  quick().replies(200, "slow, too", 2s);
  hedging().budget_percent = 20;
  t.start();
  std::vector<std::unique_ptr<SimClient>> clients;
  std::vector<std::shared_ptr<const Answer>> answers;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(
        std::make_unique<SimClient>(world_, cat("10.0.9.", i + 1), t.address(), Codec::kHttp1));
    answers.push_back(clients.back()->send(kChat));
  }
  t.advance(1s);
  // A fifth of 50 and themselves.
  EXPECT_NEAR(static_cast<double>(copies()), 50 + 12.5, 0.6);
  t.advance(10s);
  for (const auto& answer : answers) EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(metric("glia_cluster_hedge_rq_overflow_total"), 100 - copies());
}

TEST_P(Hedged, AClientThatLeavesEndsBothCopies) {
  quick().replies(200, "slow, too", 5s);
  t.start();
  (void)t.client().send(kChat);
  t.advance(200ms);
  EXPECT_EQ(slow().active() + quick().active(), 2u);
  t.client().drop();
  t.advance(50ms);
  EXPECT_EQ(active(), 0);
}

TEST_P(Hedged, LearnsHowLongAnswersUsuallyTake) {
  hedging() = {.quantile = 0.9};
  slow().replies(200, "usual", 40ms);
  quick().replies(200, "usual", 40ms);
  t.start();
  for (uint64_t i = 0; i < RecentTimes::kLeast; ++i) t.send(kChat);
  EXPECT_EQ(copies(), RecentTimes::kLeast) << "nothing was known";
  slow().replies(200, "slow", 5s);
  const TimePoint began = world_.loop().now();
  EXPECT_TRUE(sent_twice(kChat));
  EXPECT_LT(world_.loop().now() - began, 200ms);
}

// What the caller speaks makes no difference, nor that it is gRPC.
TEST(HedgedCalls, OfGrpcAreSentTwice) {
  SimWorld world(2);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
  t.upstream("10.0.1.1").hangs();
  SimUpstream& quick = t.upstream("10.0.1.2");
  quick.replies(200);
  quick.reply_header("content-type", "application/grpc");
  quick.reply_header("grpc-status", "0");
  t.manager().model.emplace();
  t.route().hedging = Hedging{.delay = 100ms};
  t.start();
  // ModelInferRequest with model_name "m", in a frame of gRPC.
  const ClientRequest infer = {
      .method = "POST",
      .path = "/inference.GRPCInferenceService/ModelInfer",
      .headers = {{"content-type", "application/grpc"}, {"grpc-timeout", "5S"}},
      .body = std::string("\0\0\0\0\3\n\1m", 8)};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(t.send(infer).header("grpc-status"), "0");
  EXPECT_EQ(quick.seen().size(), 4u);
  EXPECT_EQ(quick.seen().back().body, infer.body);
  EXPECT_EQ(t.upstream("10.0.1.1").active(), 0u);
  EXPECT_GE(t.upstream("10.0.1.1").seen().size(), 1u);
}

// Of a call whose first copy fails by its grpc-status while the second is under way: the second's status
// is not the first's.
TEST(HedgedCalls, EachCopyIsCountedByItsOwnStatus) {
  SimWorld world(3);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
  SimUpstream& failing = t.upstream("10.0.1.1");
  failing.replies(200, "", 200ms);
  SimUpstream& good = t.upstream("10.0.1.2");
  good.replies(200, "", 500ms);
  for (SimUpstream* const upstream : {&failing, &good}) {
    upstream->reply_header("content-type", "application/grpc");
    upstream->reply_header("grpc-status", upstream == &good ? "0" : "14");
  }
  t.cluster().balancing.policy = Balancing::Policy::kRoundRobin;
  t.route().hedging = Hedging{.delay = 100ms, .requests = Hedging::Requests::kAll};
  t.start();
  const ClientRequest call = {.method = "POST",
                              .path = "/a.B/C",
                              .headers = {{"content-type", "application/grpc"}},
                              .body = std::string("\0\0\0\0\0", 5)};
  while (failing.seen().empty() || good.seen().size() < failing.seen().size()) {
    EXPECT_EQ(t.send(call).header("grpc-status"), "0");
  }
  t.advance(1s);
  const Cluster& cluster = *t.worker().clusters().find("service");
  const auto& endpoints = cluster.endpoints();
  const auto& stats = endpoints.at(failing.address())->stats();
  EXPECT_EQ(stats.requests_ok, 0u);
  EXPECT_EQ(stats.requests_failed, failing.seen().size());
  EXPECT_EQ(endpoints.at(good.address())->stats().requests_failed, 0u);
}

TEST_P(Hedged, ARetryAvoidsBothThatFailed) {
  slow().replies(503, "slow", 300ms);
  quick().replies(502, "quick");
  t.upstream("10.0.1.3").replies(200, "third");
  t.cluster().balancing.policy = Balancing::Policy::kRandom;
  t.route().forward->retry = RetryPolicy{.on = RetryPolicy::k5xx, .retries = 1};
  t.route().hedging->delay = 1ms;
  t.start();
  for (int i = 0; i < 30; ++i) {
    // Of a bad one that answers before it is sent twice, the retry may meet the other bad one.
    const std::size_t met = slow().seen().size();
    const Answer answer = t.send(kChat);
    if (slow().seen().size() > met) EXPECT_EQ(answer.body, "third");
  }
  EXPECT_GT(slow().seen().size(), 5u);
}

TEST_P(Hedged, TheTimeOfTheRouteEndsBothCopies) {
  quick().replies(200, "slow, too", 5s);
  t.route().forward->timeout = 1s;
  t.start();
  EXPECT_EQ(t.send(kChat).status, 504);
  t.advance(50ms);
  EXPECT_EQ(active(), 0);
}

}  // namespace
}  // namespace glia
