// Admission in a real worker: who waits, who is refused with which words, and that whatever a request
// held is given back however it ends.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "proxy/admission/admission_desk.h"
#include "proxy/base/text.h"
#include "proxy/http/grpc.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kMessages[] = "/v1/messages";
constexpr char kServer[] = "10.0.1.1";

ClientRequest ask(std::string path, std::vector<std::pair<std::string, std::string>> headers = {},
                  int most_tokens = 100) {
  return {.method = "POST",
          .path = std::move(path),
          .headers = std::move(headers),
          .body = cat(R"({"model":"m","messages":[{"role":"user","content":"why"}],"max_tokens":)",
                      most_tokens, "}"),
          .has_body = true};
}
std::pair<std::string, std::string> tenant(std::string name) {
  return {"x-llm-d-inference-fairness-id", std::move(name)};
}

class AdmissionFilterTest : public testing::Test {
 protected:
  AdmissionFilterTest() : log_(cat(testing::TempDir(), "admission-", getpid(), ".log")) {
    unlink(log_.c_str());
    t.upstream(kServer).replies(200, "hello", 1s);
    t.manager().access_logs = {{.path = log_}};
    t.manager().model = ModelReading{.always = true};
    config_.application = "llm";
    config_.concurrency = 1;
    config_.desk = desk_;
  }
  void start() {
    t.manager().filters = {
        {.name = "glia.admission", .settings = std::make_shared<const AdmissionConfig>(config_)}};
    t.start();
  }
  // From a connection of its own.
  std::shared_ptr<const Answer> begin(ClientRequest request) {
    clients_.push_back(std::make_unique<SimClient>(world_, cat("10.0.2.", clients_.size() + 1),
                                                   t.address(), Codec::kHttp1));
    const auto answer = clients_.back()->send(std::move(request));
    t.advance(10ms);
    return answer;
  }
  std::string line_of(std::string_view start) {
    const std::string page = t.metrics();
    const std::size_t at = page.find(start);
    return at == page.npos ? "missing" : page.substr(at, page.find('\n', at) - at);
  }
  std::string count(std::string_view name, std::string_view more = "") {
    const std::string start = cat("glia_admission_", name, "{application=\"llm\"", more, "} ");
    const std::string line = line_of(start);
    return line.size() < start.size() ? line : line.substr(start.size());
  }
  std::string refused(std::string_view reason) {
    return count("refused_total", cat(",reason=\"", reason, "\""));
  }
  nlohmann::json logged() {
    t.advance(1s);
    std::ifstream file(log_);
    std::string last;
    for (std::string line; std::getline(file, line);) last = line;
    return nlohmann::json::parse(last);
  }
  std::size_t reached() { return t.upstream(kServer).seen().size(); }

  std::string log_;
  SimWorld world_{1};
  MeshWorld t{world_};
  std::shared_ptr<const AdmissionDesk> desk_ = std::make_shared<const AdmissionDesk>();
  AdmissionConfig config_;
  std::vector<std::unique_ptr<SimClient>> clients_;
};

TEST_F(AdmissionFilterTest, LetsInAsManyAsTheApplicationTakesAndTheOthersWait) {
  start();
  const auto a = begin(ask(kChat)), b = begin(ask(kChat)), c = begin(ask(kChat));
  EXPECT_EQ(reached(), 1u);
  EXPECT_EQ(count("at_work"), "1");
  EXPECT_EQ(count("cost_at_work"), "102");  // Some bytes of prompt, and what it asks for.
  EXPECT_EQ(count("waiting", ",urgency=\"usual\""), "2");
  t.advance(1s);
  EXPECT_EQ(a->status, 200);
  EXPECT_FALSE(b->finished);
  EXPECT_EQ(reached(), 2u);
  t.advance(3s);
  EXPECT_EQ(b->status, 200);
  EXPECT_EQ(c->body, "hello");
  EXPECT_EQ(count("at_work"), "0");
  EXPECT_EQ(count("admitted_total"), "3");
  EXPECT_EQ(count("wait_count"), "2");
  EXPECT_EQ(count("tenant_admitted_total", ",tenant=\"10.0.2.1\""), "1");
}

TEST_F(AdmissionFilterTest, AFullQueueAnswersAtOnceInTheWordsOfOpenAi) {
  config_.queue = 1;
  start();
  begin(ask(kChat)), begin(ask(kChat));
  const auto c = begin(ask(kChat));
  ASSERT_TRUE(c->finished);
  EXPECT_EQ(c->status, 503);
  EXPECT_EQ(c->header("x-glia-reason"), "queue_full");
  EXPECT_EQ(c->header("retry-after"), "1");
  EXPECT_EQ(c->header("content-type"), "application/json");
  const auto error = nlohmann::json::parse(c->body)["error"];
  EXPECT_EQ(error["type"], "overloaded_error");
  EXPECT_EQ(error["code"], "queue_full");
  EXPECT_EQ(error["message"], "the queue of this application is full: 1 requests wait");
  EXPECT_EQ(refused("queue_full"), "1");
  const auto line = logged();
  EXPECT_EQ(line["response_flags"], "UO");
  EXPECT_EQ(line["response_code"], 503);
  EXPECT_EQ(line["response_code_details"],
            "the queue of this application is full: 1 requests wait");
}

TEST_F(AdmissionFilterTest, EachDialectGetsItsOwnError) {
  config_.queue = 0;
  start();
  begin(ask(kChat));
  const std::string full = "the queue of this application is full: 0 requests wait";
  const auto post = [&](std::string path, std::string body) {
    return begin(
        {.method = "POST", .path = std::move(path), .body = std::move(body), .has_body = true});
  };
  const auto oip = post("/v2/models/m/infer", R"({"inputs":[{"shape":[1],"data":[1]}]})");
  EXPECT_EQ(oip->status, 503);
  EXPECT_EQ(nlohmann::json::parse(oip->body), nlohmann::json({{"error", full}}));
  const auto tensorflow = post("/v1/models/m:predict", R"({"instances":[1]})");
  EXPECT_EQ(nlohmann::json::parse(tensorflow->body), nlohmann::json({{"error", full}}));
  const auto unknown = post("/v1/audio/speech", "x");
  EXPECT_EQ(unknown->header("content-type"), "text/plain; charset=utf-8");
  EXPECT_TRUE(unknown->body.starts_with(cat(full, "\nhop: "))) << unknown->body;
  EXPECT_EQ(reached(), 1u);
}

TEST_F(AdmissionFilterTest, ACallThatFailsSaysNothingOfHowLongWorkTakes) {
  t.upstream(kServer).replies(200, "", 100s);
  t.upstream(kServer).reply_header("grpc-status", "14");
  t.route().forward->timeout = 0s;
  config_.cost = AdmissionConfig::Cost::kRequests;
  start();
  const ClientRequest call = {.method = "POST",
                              .path = "/a.B/C",
                              .headers = {{"content-type", "application/grpc"}},
                              .body = std::string("\0\0\0\0\0", 5),
                              .has_body = true};
  begin(call);
  t.advance(200s);
  begin(call);
  // Else it would be told that its turn comes in 100 s.
  const auto waits = begin(call);
  EXPECT_FALSE(waits->finished);
}

TEST_F(AdmissionFilterTest, WhoHasTheMostWaitingIsToldSo) {
  config_.queue = 3;
  start();
  begin(ask(kMessages, {tenant("noisy")}));
  std::vector<std::shared_ptr<const Answer>> noisy;
  for (int i = 0; i < 3; ++i) noisy.push_back(begin(ask(kMessages, {tenant("noisy")})));
  const auto other = begin(ask(kMessages, {tenant("other")}));
  EXPECT_FALSE(other->finished);
  ASSERT_TRUE(noisy[2]->finished);
  EXPECT_EQ(noisy[2]->status, 429);
  EXPECT_EQ(noisy[2]->header("x-glia-reason"), "tenant_share");
  const auto body = nlohmann::json::parse(noisy[2]->body);
  EXPECT_EQ(body["type"], "error");
  EXPECT_EQ(body["error"]["type"], "rate_limit_error");
  EXPECT_EQ(body["error"]["message"],
            "the queue of this application is full: 3 requests wait, and after 10 ms the place of "
            "this one of noisy, which has 3 of them, was given to a tenant with fewer");
  EXPECT_EQ(logged()["response_flags"], "RL");
  EXPECT_EQ(count("tenant_refused_total", ",tenant=\"noisy\""), "1");
  t.advance(10s);
  EXPECT_EQ(other->status, 200);
}

TEST_F(AdmissionFilterTest, TenantsAreTheCallersWhereTheConfigurationSaysSo) {
  config_.tenants = AdmissionConfig::Tenants::kCallers;
  start();
  begin(ask(kChat, {tenant("a")}));
  EXPECT_EQ(count("tenant_admitted_total", ",tenant=\"10.0.2.1\""), "1");
}

TEST_F(AdmissionFilterTest, GrpcCallsAreRefusedWithAStatus) {
  config_.queue = 0;
  config_.cost = AdmissionConfig::Cost::kRequests;
  start();
  begin(ask(kChat));
  const auto b = begin({.method = "POST",
                        .path = "/inference.GRPCInferenceService/ModelInfer",
                        .headers = {{"content-type", "application/grpc"}},
                        .body = std::string("\0\0\0\0\0", 5),
                        .has_body = true});
  ASSERT_TRUE(b->finished);
  EXPECT_EQ(b->status, 200);
  EXPECT_EQ(b->header("grpc-status"), "14");  // UNAVAILABLE
  EXPECT_EQ(b->header("grpc-message"), "the queue of this application is full: 0 requests wait");
  EXPECT_EQ(b->header("x-glia-reason"), "queue_full");
  EXPECT_EQ(b->header("retry-after"), "1");
  EXPECT_EQ(logged()["grpc_status"], "14");
}

TEST_F(AdmissionFilterTest, RefusesAtOnceWhatCannotEndInTimeAndSaysWhy) {
  start();
  begin(ask(kChat));
  t.advance(2s);  // It is known now how long such work takes.
  begin(ask(kChat));
  const auto late = begin(ask(kChat, {{"x-envoy-expected-rq-timeout-ms", "500"}}));
  ASSERT_TRUE(late->finished);
  EXPECT_EQ(late->status, 503);
  EXPECT_EQ(late->header("x-glia-reason"), "deadline");
  const std::string message = nlohmann::json::parse(late->body)["error"]["message"];
  EXPECT_EQ(
      message,
      "the answer would come in 1001 ms (0 ms in the queue with 0 requests, 1001 ms of work), "
      "and the caller waits only 500 ms");
  EXPECT_EQ(refused("deadline"), "1");
}

TEST_F(AdmissionFilterTest, RefusesWhoseTurnDoesNotCome) {
  t.upstream(kServer).hangs();
  config_.wait = 5s;
  start();
  begin(ask(kChat));
  const auto b = begin(ask(kChat));
  t.advance(4900ms);
  EXPECT_FALSE(b->finished);
  t.advance(200ms);
  ASSERT_TRUE(b->finished);
  EXPECT_EQ(b->header("x-glia-reason"), "queue_wait");
  EXPECT_NE(b->body.find("its turn did not come within 5000 ms (wait)"), b->body.npos) << b->body;
}

TEST_F(AdmissionFilterTest, AClientThatLeavesGivesBackWhatItHad) {
  t.upstream(kServer).hangs();
  start();
  begin(ask(kChat)), begin(ask(kChat));
  const auto c = begin(ask(kChat));
  clients_[1]->drop();  // Waits.
  t.advance(10ms);
  EXPECT_EQ(count("waiting", ",urgency=\"usual\""), "1");
  EXPECT_EQ(count("left_total"), "1");
  clients_[0]->drop();  // Is at work.
  t.advance(10ms);
  EXPECT_EQ(reached(), 2u);
  EXPECT_EQ(t.upstream(kServer).seen().back().body, ask(kChat).body);
  clients_[2]->drop();
  t.advance(10ms);
  EXPECT_EQ(count("at_work"), "0");
  EXPECT_EQ(count("cost_at_work"), "0");
}

TEST_F(AdmissionFilterTest, AnAnswerThatBreaksOffGivesItsPlaceBack) {
  t.upstream(kServer).replies(200, std::string(1000, 'x'));
  t.upstream(kServer).breaks_in_the_body();
  start();
  begin(ask(kChat));
  t.advance(1s);
  EXPECT_EQ(count("admitted_total"), "1");
  EXPECT_EQ(count("at_work"), "0");
}

TEST_F(AdmissionFilterTest, AStreamCountsUntilItEnds) {
  LiveUpstream live(world_, "10.0.1.2", Codec::kHttp1);
  live.head(200, {{"content-type", "text/event-stream"}});
  t.remove_endpoint(kServer);
  t.add_endpoint(*Address::ip("10.0.1.2", 8080));
  start();
  const auto a = begin(ask(kChat)), b = begin(ask(kChat));
  live.request(0).answer.say("data: 1\n\n");
  t.advance(5s);
  EXPECT_EQ(a->body, "data: 1\n\n");
  EXPECT_EQ(count("at_work"), "1");
  EXPECT_EQ(live.requests(), 1u);
  live.request(0).answer.end();
  t.advance(10ms);
  EXPECT_TRUE(a->finished);
  ASSERT_EQ(live.requests(), 2u);
  live.request(1).answer.breaks();
  t.advance(10ms);
  EXPECT_EQ(count("at_work"), "0");
}

TEST_F(AdmissionFilterTest, HealthDoesNotWaitBehindWork) {
  start();
  begin(ask(kChat));
  const auto get = begin({.path = "/v2/models/m/ready"});
  const auto health = begin({.path = "/health"});
  const auto grpc = begin({.method = "POST",
                           .path = "/grpc.health.v1.Health/Check",
                           .headers = {{"content-type", "application/grpc"}},
                           .body = std::string("\0\0\0\0\0", 5),
                           .has_body = true});
  EXPECT_EQ(reached(), 4u);
  // What is not known is taken for work.
  begin({.method = "POST", .path = "/v1/audio/speech", .body = "x", .has_body = true});
  EXPECT_EQ(reached(), 4u);
  EXPECT_EQ(count("waiting", ",urgency=\"usual\""), "1");
}

TEST_F(AdmissionFilterTest, UrgentRequestsGoFirst) {
  start();
  begin(ask(kChat));
  begin(ask(kChat, {{"priority", "u=7"}}));
  begin(ask(kChat));
  begin(ask(kChat, {{"priority", "i, u=1"}}));
  EXPECT_EQ(count("waiting", ",urgency=\"urgent\""), "1");
  EXPECT_EQ(count("waiting", ",urgency=\"patient\""), "1");
  t.advance(10s);
  std::string order;
  for (const Seen& seen : t.upstream(kServer).seen()) order += cat(seen.header("priority"), ";");
  EXPECT_EQ(order, ";i, u=1;;u=7;");
}

TEST_F(AdmissionFilterTest, WhoWaitsLongIsNotTakenForASlowSender) {
  t.route().forward->timeout = 0s;  // As in a mesh.
  t.upstream(kServer).replies(200, "hello", 100s);
  config_.wait = 300s;
  start();
  begin(ask(kChat));
  const auto b = begin(ask(kChat));
  t.advance(250s);
  EXPECT_EQ(b->status, 200) << b->body;
}

TEST_F(AdmissionFilterTest, WhatIsAtWorkStaysCountedWhenTheConfigurationChanges) {
  start();
  begin(ask(kChat)), begin(ask(kChat));
  const auto c = begin(ask(kChat));
  EXPECT_EQ(reached(), 1u);
  config_.concurrency = 2;
  start();
  const auto d = begin(ask(kChat));  // Finds one more place, and those before it take that.
  EXPECT_EQ(reached(), 2u);
  EXPECT_EQ(count("at_work"), "2");
  EXPECT_EQ(count("limit"), "2");
  t.advance(10s);
  EXPECT_EQ(d->status, 200);
  EXPECT_EQ(count("admitted_total"), "4");
  EXPECT_EQ(count("at_work"), "0");
}

TEST_F(AdmissionFilterTest, CountsFewTenantsByName) {
  config_.concurrency = 1000;
  t.upstream(kServer).replies(200, "hello");
  start();
  for (std::size_t i = 0; i < 70; ++i) {
    t.send(ask(kChat, {tenant(cat("t", i, std::string(500, 'x')))}));
  }
  EXPECT_EQ(count("tenant_admitted_total", ",tenant=\"(others)\""), "6");
  EXPECT_EQ(count("tenant_admitted_total", cat(",tenant=\"t0", std::string(126, 'x'), "\"")), "1");
}

TEST_F(AdmissionFilterTest, CallersAreToldOfThoseThatWait) {
  auto load = std::make_shared<const ServerLoad>();
  t.cluster().server_load = load;
  start();
  begin(ask(kChat)), begin(ask(kChat)), begin(ask(kChat));
  const ServerReport report = load->report(world_.loop().now());
  EXPECT_EQ(report.in_flight, 3);
  EXPECT_EQ(report.waiting, 2);
  t.advance(10s);
  EXPECT_EQ(load->report(world_.loop().now()).in_flight, 0);
}

// Streams that wait, with heartbeats each second.
class HeartbeatTest : public AdmissionFilterTest {
 protected:
  HeartbeatTest() {
    config_.heartbeat = 1s;
    t.upstream(kServer).replies(200, "data: {}\n\ndata: [DONE]\n\n", 5s);
    t.upstream(kServer).reply_header("content-type", "text/event-stream");
  }
  static ClientRequest stream(std::string path) {
    return {.method = "POST",
            .path = std::move(path),
            .body = R"({"model":"m","stream":true,"messages":[],"input":"why","max_tokens":9})",
            .has_body = true};
  }
};

TEST_F(HeartbeatTest, AStreamThatWaitsGetsCommentsAndThenItsAnswer) {
  start();
  begin(ask(kChat));
  const auto answer = begin(stream(kChat));
  t.advance(500ms);
  EXPECT_EQ(answer->status, 0);
  t.advance(2600ms);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->header("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(answer->body, ": queued\n\n: queued\n\n: queued\n\n");
  EXPECT_EQ(reached(), 1u);
  t.advance(20s);
  EXPECT_TRUE(answer->finished);
  EXPECT_EQ(answer->error, "");
  EXPECT_TRUE(answer->body.ends_with(": queued\n\ndata: {}\n\ndata: [DONE]\n\n")) << answer->body;
  EXPECT_EQ(count("at_work"), "0");
  EXPECT_EQ(count("begun_early_total"), "1");
  EXPECT_EQ(count("admitted_total"), "2");
}

// What has begun as events in clear cannot go on compressed.
TEST_F(HeartbeatTest, TheServerOfAStreamThatMayBeginEarlyIsNotAskedForACompressedOne) {
  start();
  ClientRequest request = stream(kChat);
  request.headers = {{"accept-encoding", "gzip, br"}};
  begin(request);
  begin(request);
  t.advance(20s);
  ASSERT_EQ(reached(), 2u);
  const auto& seen = t.upstream(kServer).seen();
  EXPECT_EQ(seen[0].header("accept-encoding"), "gzip, br");  // It did not wait.
  EXPECT_EQ(seen[1].header("accept-encoding"), "");
}

TEST_F(HeartbeatTest, AnAnswerThatBeginsEarlyTellsTheLoadInItsHead) {
  t.cluster().server_load = std::make_shared<const ServerLoad>();
  start();
  begin(stream(kChat));
  const auto early = begin(stream(kChat));
  t.advance(2s);
  EXPECT_EQ(early->status, 200);
  const std::string told = early->header("endpoint-load-metrics");
  EXPECT_NE(told.find("glia.in_flight=2"), told.npos) << told;
  EXPECT_NE(told.find("num_requests_waiting=1"), told.npos) << told;
  t.advance(20s);
  EXPECT_TRUE(early->finished);
}

TEST_F(HeartbeatTest, NobodyElseIsAnsweredEarly) {
  t.upstream(kServer).replies(200, "{}", 2s);
  start();
  begin(ask(kChat));
  const auto whole = begin(ask(kChat));
  ClientRequest infer = stream("/v2/models/m/infer");
  const auto tensor = begin(infer);
  t.advance(1900ms);
  EXPECT_EQ(whole->status, 0);
  EXPECT_EQ(tensor->status, 0);
  t.advance(20s);
  EXPECT_EQ(whole->status, 200);
}

TEST_F(HeartbeatTest, WhoWaitsLessThanAHeartbeatGetsTheHeadOfTheApplication) {
  t.upstream(kServer).replies(200, "data: {}\n\n", 300ms);
  start();
  begin(ask(kChat));
  const auto answer = begin(stream(kChat));
  t.advance(2s);
  EXPECT_EQ(answer->header("content-type"), "text/event-stream");
  EXPECT_EQ(answer->body, "data: {}\n\n");
  EXPECT_EQ(count("begun_early_total"), "0");
}

TEST_F(HeartbeatTest, ARefusalIsAnEventInTheWordsOfTheDialect) {
  config_.wait = 3500ms;
  t.upstream(kServer).hangs();
  start();
  begin(ask(kChat));
  const auto chat = begin(stream(kChat)), messages = begin(stream(kMessages)),
             responses = begin(stream("/v1/responses"));
  t.advance(4s);
  const std::string comments = ": queued\n\n: queued\n\n: queued\n\n";
  for (const auto& answer : {chat, messages, responses}) {
    EXPECT_TRUE(answer->finished);
    EXPECT_EQ(answer->error, "");
    EXPECT_EQ(answer->status, 200);
    ASSERT_TRUE(answer->body.starts_with(comments)) << answer->body;
  }
  const auto error_of = [&](const Answer& answer, std::string_view before, std::string_view after) {
    const std::string rest = answer.body.substr(comments.size());
    EXPECT_TRUE(rest.starts_with(before)) << rest;
    EXPECT_TRUE(rest.ends_with(after)) << rest;
    return nlohmann::json::parse(
        rest.substr(before.size(), rest.size() - before.size() - after.size()));
  };
  const std::string sentence = "its turn did not come within 3500 ms (wait)";
  const auto openai = error_of(*chat, "data: ", "\n\ndata: [DONE]\n\n");
  EXPECT_EQ(openai["error"]["message"], sentence);
  EXPECT_EQ(openai["error"]["code"], "queue_wait");
  const auto anthropic = error_of(*messages, "event: error\ndata: ", "\n\n");
  EXPECT_EQ(anthropic["type"], "error");
  EXPECT_EQ(anthropic["error"]["message"], sentence);
  EXPECT_EQ(error_of(*responses, "event: error\ndata: ", "\n\n")["error"]["message"], sentence);
  const auto line = logged();
  EXPECT_EQ(line["response_code"], 200);
  EXPECT_EQ(line["response_flags"], "UO");
  EXPECT_EQ(line["response_code_details"], sentence);
}

TEST_F(HeartbeatTest, AnErrorOfTheApplicationIsAnEvent) {
  start();
  begin(ask(kChat));
  const auto answer = begin(stream(kChat));
  t.upstream(kServer).replies(400, "{\n \"error\": \"no such model\"\n}\n");
  t.upstream(kServer).reply_header("content-type", "application/json");
  t.advance(20s);
  EXPECT_TRUE(
      answer->body.ends_with("\n\ndata: {\ndata:  \"error\": \"no such model\"\n"
                             "data: }\n\ndata: [DONE]\n\n"))
      << answer->body;
}

TEST_F(HeartbeatTest, AnApplicationThatIsGoneIsAnEvent) {
  start();
  begin(ask(kChat));
  const auto answer = begin(stream(kChat));
  t.advance(2s);
  t.upstream(kServer).dies();
  t.advance(20s);
  EXPECT_TRUE(answer->finished);
  EXPECT_EQ(answer->error, "");
  EXPECT_NE(answer->body.find("data: {\"error\":{\"message\":\""), std::string::npos)
      << answer->body;
  EXPECT_TRUE(answer->body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(count("at_work"), "0");
}

TEST_F(HeartbeatTest, AClientThatLeavesGivesItsPlaceBack) {
  start();
  begin(ask(kChat));
  begin(stream(kChat));
  t.advance(2s);
  clients_.back()->drop();
  t.advance(50ms);
  EXPECT_EQ(count("waiting", ",urgency=\"usual\""), "0");
  EXPECT_EQ(count("left_total"), "1");
  t.advance(10s);
  EXPECT_EQ(reached(), 1u);
}

}  // namespace
}  // namespace glia
