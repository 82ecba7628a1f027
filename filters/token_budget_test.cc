// Token budgets in a real worker: what is taken at the door, counted in the answer and given back.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "proxy/base/text.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

constexpr char kName[] = "glia.token_budgets";
constexpr char kChat[] = "/v1/chat/completions";
constexpr char kMessages[] = "/v1/messages";
constexpr char kServer[] = "10.0.1.1";
constexpr int kInput = 2;  // Tokens of the prompt below, as they are estimated.

ClientRequest ask(int most_tokens, std::string who = "a", std::string model = "m",
                  std::string path = kChat) {
  const std::string most = most_tokens > 0 ? cat(R"(,"max_tokens":)", most_tokens) : "";
  return {.method = "POST",
          .path = std::move(path),
          .headers = {{"x-llm-d-inference-fairness-id", std::move(who)}},
          .body = cat(R"({"model":")", model, R"(","messages":[{"role":"user","content":"why"}])",
                      most, "}"),
          .has_body = true};
}

std::string answer(int input, int output) {
  return cat(R"({"choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":)", input,
             R"(,"completion_tokens":)", output, R"(,"total_tokens":)", input + output, "}}");
}

std::string event(std::string_view word) {
  return cat(R"(data: {"choices":[{"index":0,"delta":{"content":")", word, "\"}}]}\n\n");
}

class TokenBudgetTest : public testing::Test {
 protected:
  TokenBudgetTest() {
    t.manager().model = ModelReading{.always = true};
    config_.application = "llm";
    config_.ledger = ledger_;
    config_.budgets = {{.name = "minute", .tokens = 600, .each_tenant = true}};
  }
  void start() {
    t.manager().filters = {
        {.name = kName, .settings = std::make_shared<const TokenBudgetsConfig>(config_)}};
    t.start();
  }
  // JSON answers with this usage.
  void answers(int input, int output) {
    t.upstream(kServer).replies(200, answer(input, output));
    t.upstream(kServer).reply_header("content-type", "application/json");
  }
  std::string left(const Answer& answer) { return answer.header("x-ratelimit-remaining-tokens"); }
  uint64_t left(std::string_view who, std::string_view model = "") {
    const TokenAccount account{cat("minute\n", who, "\n", model), &config_.budgets.front()};
    return ledger_->with(
        [&](TokenBook& book) { return book.standing(account, world_.loop().now()).left; });
  }
  std::string count(std::string_view name) {
    const std::string page = t.metrics();
    const std::string start =
        cat("glia_token_budget_", name, "{application=\"llm\",budget=\"minute\"} ");
    const std::size_t at = page.find(start);
    if (at == page.npos) return "missing";
    return page.substr(at + start.size(), page.find('\n', at) - at - start.size());
  }

  SimWorld world_{1};
  MeshWorld t{world_};
  std::shared_ptr<const TokenLedger> ledger_ = std::make_shared<const TokenLedger>();
  TokenBudgetsConfig config_;
};

TEST_F(TokenBudgetTest, ChargesWhatWasUsedAndTellsWhatIsLeft) {
  answers(10, 20);
  start();
  const Answer first = t.send(ask(500));
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, answer(10, 20));
  EXPECT_EQ(first.header("x-ratelimit-limit-tokens"), "600");
  // The head is sent before it is known what was used.
  EXPECT_EQ(left(first), cat(600 - 500 - kInput));
  EXPECT_EQ(left("a"), 570u);
  EXPECT_EQ(count("charged_total"), cat(500 + kInput));
  EXPECT_EQ(count("given_back_total"), cat(500 + kInput - 30));
  EXPECT_EQ(left("b"), 600u);
}

TEST_F(TokenBudgetTest, RefusesInTheWordsOfTheDialectWhatMayUseMoreThanIsLeft) {
  answers(10, 490);
  start();
  t.send(ask(500));
  const Answer openai = t.send(ask(300));
  EXPECT_EQ(openai.status, 429);
  EXPECT_EQ(openai.header("x-glia-reason"), "token_budget");
  const uint64_t seconds = *parse_decimal(openai.header("retry-after"));
  EXPECT_GE(seconds, 20u);
  EXPECT_LE(seconds, 21u);
  EXPECT_EQ(
      nlohmann::json::parse(openai.body)["error"]["message"],
      cat("the token budget minute of 600 tokens in 60 s has 100 left for a, and this request "
          "may use 302 (2 of input, at most 300 of output); ask for less, or again in ",
          seconds, " s"));
  const Answer anthropic = t.send(ask(300, "a", "m", kMessages));
  EXPECT_EQ(anthropic.status, 429);
  EXPECT_EQ(nlohmann::json::parse(anthropic.body)["error"]["type"], "rate_limit_error");
  EXPECT_EQ(anthropic.header("anthropic-ratelimit-tokens-limit"), "600");
  EXPECT_EQ(t.send(ask(300, "b")).status, 200);
  EXPECT_EQ(t.send(ask(50)).status, 200);
  t.advance(40s);
  EXPECT_EQ(t.send(ask(300)).status, 429);  // The one of 50 used 500, too: that was owed.
  t.advance(32s);
  EXPECT_EQ(t.send(ask(300)).status, 200);
  EXPECT_EQ(count("refused_total"), "3");
}

TEST_F(TokenBudgetTest, AStreamIsChargedByItsUsage) {
  LiveUpstream live(world_, "10.0.1.2", Codec::kHttp1);
  live.head(200, {{"content-type", "text/event-stream"}});
  t.add_endpoint(*Address::ip("10.0.1.2", 8080));
  start();
  const auto got = t.client().send(ask(400));
  t.advance(10ms);
  EXPECT_EQ(left("a"), 198u);
  live.request(0).answer.say(event("hel"));
  live.request(0).answer.say(event("lo"));
  live.request(0).answer.say(
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n");
  live.request(0).answer.say("data: [DONE]\n\n");
  live.request(0).answer.end();
  t.advance(10ms);
  EXPECT_TRUE(got->finished);
  EXPECT_EQ(left("a"), 590u);
}

TEST_F(TokenBudgetTest, AClientThatLeavesHasUsedWhatItGot) {
  LiveUpstream live(world_, "10.0.1.2", Codec::kHttp1);
  live.head(200, {{"content-type", "text/event-stream"}});
  t.add_endpoint(*Address::ip("10.0.1.2", 8080));
  start();
  t.client().send(ask(400));
  t.advance(10ms);
  for (int i = 0; i < 5; ++i) live.request(0).answer.say(event("x"));
  t.advance(10ms);
  t.client().drop();
  t.advance(10ms);
  EXPECT_EQ(left("a"), static_cast<uint64_t>(600 - kInput - 5));
}

TEST_F(TokenBudgetTest, AStreamThatSaysNotHowLongItGetsIsChargedAsItGoes) {
  LiveUpstream live(world_, "10.0.1.2", Codec::kHttp1);
  live.head(200, {{"content-type", "text/event-stream"}});
  t.add_endpoint(*Address::ip("10.0.1.2", 8080));
  config_.usual_output_tokens = 10;
  start();
  t.client().send(ask(0));
  t.advance(10ms);
  EXPECT_EQ(left("a"), static_cast<uint64_t>(590 - kInput));
  for (int i = 0; i < 100; ++i) live.request(0).answer.say(event("x"));
  t.advance(10ms);
  EXPECT_EQ(left("a"), static_cast<uint64_t>(500 - kInput));
}

TEST_F(TokenBudgetTest, WhatWasNotAnsweredCostsNothing) {
  t.upstream(kServer).replies(500, "{}");
  start();
  EXPECT_EQ(t.send(ask(400)).status, 500);
  EXPECT_EQ(left("a"), 600u);
  t.upstream(kServer).dies();
  EXPECT_EQ(t.send(ask(400)).status, 503);
  EXPECT_EQ(left("a"), 600u);
}

TEST_F(TokenBudgetTest, AnAnswerThatDoesNotSayIsChargedAllThatItMayHaveUsed) {
  t.upstream(kServer).replies(200, R"({"choices":[]})");
  t.upstream(kServer).reply_header("content-type", "application/json");
  start();
  t.send(ask(400));
  EXPECT_EQ(left("a"), static_cast<uint64_t>(200 - kInput));
  // Compressed, it cannot be counted.
  t.upstream(kServer).reply_header("content-encoding", "gzip");
  t.send(ask(100));
  EXPECT_EQ(left("a"), static_cast<uint64_t>(100 - 2 * kInput));
}

TEST_F(TokenBudgetTest, BudgetsAreForModelsTenantsAndRoutes) {
  answers(0, 100);
  config_.budgets = {{.name = "minute", .tokens = 600, .model = "big", .each_tenant = true},
                     {.name = "all of b", .tokens = 1000, .tenant = "b"}};
  start();
  EXPECT_EQ(left(t.send(ask(100, "a", "small"))), "");
  EXPECT_EQ(left(t.send(ask(100, "a", "big"))), "498");
  EXPECT_EQ(left(t.send(ask(100, "b", "small"))), "898");
  EXPECT_EQ(left(t.send(ask(100, "b", "big"))), "498");
  auto own = std::make_shared<TokenBudgetsConfig>();
  own->budgets = {{.name = "of the route", .tokens = 50, .each_model = true}};
  t.route().filters[kName] = std::shared_ptr<const TokenBudgetsConfig>(own);
  t.publish();
  EXPECT_EQ(left(t.send(ask(10))), "38");
  EXPECT_EQ(t.send(ask(100)).status, 429);
  EXPECT_EQ(t.send(ask(10, "a", "another")).status, 200);
  t.route().filters[kName] = std::shared_ptr<const TokenBudgetsConfig>();
  t.publish();
  EXPECT_EQ(left(t.send(ask(10, "a", "big"))), "");
}

TEST_F(TokenBudgetTest, WhatHasNoTokensIsNotCharged) {
  t.upstream(kServer).replies(200, "{}");
  config_.budgets.front().tokens = 1;
  start();
  EXPECT_EQ(t.get("/v2/models/m").status, 200);
  EXPECT_EQ(t.get("/v2/models/m").status, 200);
  EXPECT_EQ(left("a"), 1u);
}

TEST_F(TokenBudgetTest, BucketsStayWhenTheConfigurationChanges) {
  answers(100, 400);
  start();
  t.send(ask(500));
  config_.budgets.front().tokens = 1200;
  start();
  EXPECT_EQ(left(t.send(ask(10))), cat(100 - 10 - kInput));
}

// --- The usage that nobody asked for --------------------------------------------------------------

ClientRequest stream(std::string options = "") {
  ClientRequest request = ask(400);
  request.body.insert(request.body.size() - 1, cat(R"(,"stream":true)", options));
  return request;
}

constexpr char kUsage[] =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":30}}\n\n";

class HiddenUsageTest : public TokenBudgetTest {
 protected:
  HiddenUsageTest() : live_(world_, "10.0.1.2", Codec::kHttp1) {
    live_.head(200, {{"content-type", "text/event-stream"}});
    t.add_endpoint(*Address::ip("10.0.1.2", 8080));
  }
  // What the client got of a stream with usage, in pieces of `size` bytes.
  std::string streamed(std::size_t size) {
    const auto got = t.client().send(stream());
    t.advance(10ms);
    LiveRequest& request = live_.request(live_.requests() - 1);
    const std::string all = cat(": hello\n\n", event("x"), event("y"), kUsage, "data: [DONE]\n\n");
    for (std::size_t at = 0; at < all.size(); at += size) {
      request.answer.say(all.substr(at, size));
      t.advance(1ms);
    }
    request.answer.end();
    t.advance(10ms);
    EXPECT_TRUE(got->finished) << got->error;
    return got->body;
  }
  LiveUpstream live_;
};

TEST_F(HiddenUsageTest, TheServerIsAskedForItAndTheClientDoesNotSeeIt) {
  start();
  const std::string expected = cat(": hello\n\n", event("x"), event("y"), "data: [DONE]\n\n");
  for (std::size_t size : {1u, 2u, 3u, 7u, 50u, 10'000u}) {
    t.advance(10min);
    EXPECT_EQ(streamed(size), expected) << size;
    EXPECT_GE(left("a"), 563u) << size;  // Ten a second flow in meanwhile.
    EXPECT_LE(left("a"), 570u) << size;
  }
  std::string asked = stream().body;
  asked.insert(asked.size() - 1, R"(,"stream_options":{"include_usage":true})");
  EXPECT_EQ(live_.request(0).heard.text, asked);
}

TEST_F(HiddenUsageTest, EventsAndCommentsDoNotWaitForTheNext) {
  start();
  const auto got = t.client().send(stream());
  t.advance(10ms);
  for (const std::string& text :
       {std::string(": ping\n\n"), event("x"), std::string(": ping\n\n")}) {
    const std::string before = got->body;
    live_.request(0).answer.say(text);
    t.advance(10ms);
    EXPECT_EQ(got->body, before + text);
  }
}

TEST_F(HiddenUsageTest, AnEventThatIsTooLongPassesAsItComes) {
  start();
  const auto got = t.client().send(stream());
  t.advance(10ms);
  live_.request(0).answer.say(cat("data: \"", std::string(100'000, 'x')));
  t.advance(10ms);
  EXPECT_GT(got->body.size(), 65'536u);
}

TEST_F(HiddenUsageTest, WhoAsksForItGetsIt) {
  start();
  const auto got = t.client().send(stream(R"(,"stream_options":{"include_usage":true})"));
  t.advance(10ms);
  live_.request(0).answer.say(kUsage);
  live_.request(0).answer.end();
  t.advance(10ms);
  EXPECT_EQ(got->body, kUsage);
  EXPECT_EQ(live_.request(0).heard.text,
            stream(R"(,"stream_options":{"include_usage":true})").body);
  EXPECT_EQ(left("a"), 563u);
}

TEST_F(HiddenUsageTest, RequestsStayAsTheyComeWhereTheConfigurationSaysSo) {
  config_.keep_requests = true;
  start();
  t.client().send(stream());
  t.advance(10ms);
  EXPECT_EQ(live_.request(0).heard.text, stream().body);
}

TEST_F(HiddenUsageTest, AModelThatGetsAnotherNameIsAskedForItsUsageAsWell) {
  t.route().model_name = ModelName{.model = "another"};
  start();
  t.client().send(stream());
  t.advance(10ms);
  const std::string& sent = live_.request(0).heard.text;
  EXPECT_TRUE(sent.starts_with(R"({"model":"another","messages")")) << sent;
  EXPECT_TRUE(sent.ends_with(R"("stream":true,"stream_options":{"include_usage":true}})")) << sent;
  EXPECT_EQ(nlohmann::json::parse(sent)["model"], "another");
}

}  // namespace
}  // namespace glia
