// Streams that use more than they have taken: ended in the words of their dialect, where that is asked
// for, and charged for what they used, however they end.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "proxy/admission/admission_desk.h"
#include "proxy/base/text.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

using Stop = TokenBudget::Stop;

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kMessages[] = "/v1/messages";
constexpr int kInput = 2;  // Tokens of the prompt below, as they are estimated.

ClientRequest ask(std::string path, std::string more = "") {
  return {.method = "POST",
          .path = std::move(path),
          .headers = {{"x-llm-d-inference-fairness-id", "a"}},
          .body = cat(R"({"model":"m","messages":[{"role":"user","content":"why"}],"stream":true)",
                      more, "}"),
          .has_body = true};
}

std::string word(std::string_view text, int choice = 0) {
  return cat(R"(data: {"id":"c-1","object":"chat.completion.chunk","created":7,"model":"m",)",
             R"("choices":[{"index":)", choice, R"(,"delta":{"content":")", text, "\"}}]}\n\n");
}

std::string anthropic(std::string_view name, std::string_view rest) {
  return cat("event: ", name, "\ndata: {\"type\":\"", name, "\"", rest, "}\n\n");
}
std::string delta(std::string_view text) {
  return anthropic("content_block_delta",
                   cat(R"(,"index":1,"delta":{"type":"text_delta","text":")", text, "\"}"));
}

class TokenStopTest : public testing::Test {
 protected:
  TokenStopTest() : live_(world_, "10.0.1.2", Codec::kHttp1) {
    t.manager().model = ModelReading{.always = true};
    live_.head(200, {{"content-type", "text/event-stream"}});
    t.add_endpoint(*Address::ip("10.0.1.2", 8080));
    config_.application = "llm";
    config_.ledger = ledger_;
    config_.usual_output_tokens = 3;
    config_.keep_requests = true;
  }
  void start(Stop stop, uint64_t tokens = 600) {
    config_.budgets = {{.name = "minute", .tokens = tokens, .stop = stop}};
    t.manager().filters = {{.name = "glia.token_budgets",
                            .settings = std::make_shared<const TokenBudgetsConfig>(config_)}};
    t.start();
  }
  std::shared_ptr<const Answer> send(ClientRequest request) {
    const auto got = t.client().send(std::move(request));
    t.advance(10ms);
    return got;
  }
  LiveRequest& last() { return live_.request(live_.requests() - 1); }
  void say(const std::string& text) {
    last().answer.say(text);
    t.advance(1ms);
  }
  uint64_t left() {
    const TokenAccount account{"minute\n\n", &config_.budgets.front()};
    return ledger_->with(
        [&](TokenBook& book) { return book.standing(account, world_.loop().now()).left; });
  }

  SimWorld world_{1};
  MeshWorld t{world_};
  LiveUpstream live_;
  std::shared_ptr<const TokenLedger> ledger_ = std::make_shared<const TokenLedger>();
  TokenBudgetsConfig config_;
};

TEST_F(TokenStopTest, AStreamIsNotEndedUnlessThatIsAskedFor) {
  start(Stop::kNever, 10);
  const auto got = send(ask(kChat));
  std::string all;
  for (int i = 0; i < 40; ++i) say(word("x")), all += word("x");
  EXPECT_EQ(got->body, all);
  EXPECT_FALSE(got->finished);
}

TEST_F(TokenStopTest, AStreamThatOutgrowsItsReservationEndsInTheWordsOfOpenAi) {
  start(Stop::kAtReservation);
  const auto got = send(ask(kChat));
  say(word("a"));
  say(cat(word("b"), ": ping\n\n", word("c")));
  EXPECT_FALSE(got->finished);
  say(cat(word("d"), word("e")));
  EXPECT_TRUE(got->finished);
  EXPECT_EQ(got->error, "");
  EXPECT_EQ(got->body,
            cat(word("a"), word("b"), ": ping\n\n", word("c"),
                R"(data: {"id":"c-1","object":"chat.completion.chunk","created":7,"model":"m",)",
                R"("choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]})",
                "\n\ndata: [DONE]\n\n"));
  // Who makes the rest was told, and the one that was too many was used.
  EXPECT_TRUE(last().gone);
  EXPECT_EQ(left(), 600u - kInput - 4);
  EXPECT_NE(t.metrics().find("glia_token_budget_stopped_total{application=\"llm\",budget="
                             "\"minute\"} 1"),
            std::string::npos);
}

// Whichever line ends the server writes: a connection is kept alive only by what arrives.
TEST_F(TokenStopTest, CommentsBetweenEventsAreNotHeldBack) {
  start(Stop::kAtReservation);
  const auto got = send(ask(kChat));
  std::string all;
  for (const std::string_view end : {"\n", "\r\n"}) {
    const std::string comment = cat(": ping", end, end);
    say(comment);
    EXPECT_EQ(got->body, all += comment);
    // In two pieces, cut where a line ends.
    say(cat(": ping", end));
    say(std::string(end));
    EXPECT_EQ(got->body, all += comment);
  }
}

TEST_F(TokenStopTest, ChoicesThatHaveEndedKeepTheirReason) {
  start(Stop::kAtReservation);
  const auto got = send(ask(kChat, R"(,"n":2,"max_tokens":2)"));
  say(word("a", 0));
  say(R"(data: {"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})"
      "\n\n");
  for (int i = 0; i < 4; ++i) say(word("b", 1));
  EXPECT_TRUE(got->finished);
  EXPECT_EQ(got->body.find("\"index\":0,\"delta\":{},\"logprobs\""), std::string::npos);
  EXPECT_NE(got->body.find(R"([{"index":1,"delta":{},"logprobs":null,"finish_reason":"length"}])"),
            std::string::npos)
      << got->body;
}

TEST_F(TokenStopTest, AStreamEndsInTheWordsOfAnthropic) {
  start(Stop::kAtReservation);
  const auto got = send(ask(kMessages, R"(,"max_tokens":2)"));
  const std::string begin =
      cat(anthropic("message_start",
                    R"(,"message":{"id":"m-1","usage":{"input_tokens":2,"output_tokens":1}})"),
          anthropic("content_block_start", R"(,"index":0,"content_block":{"type":"text"})"),
          anthropic("content_block_stop", R"(,"index":0)"),
          anthropic("content_block_start", R"(,"index":1,"content_block":{"type":"text"})"),
          delta("a"), delta("b"));
  say(begin);
  EXPECT_EQ(got->body, begin);
  say(delta("c"));
  EXPECT_TRUE(got->finished);
  EXPECT_EQ(got->body,
            cat(begin, anthropic("content_block_stop", R"(,"index":1)"),
                anthropic("message_delta",
                          R"(,"delta":{"stop_reason":"max_tokens","stop_sequence":null},)"
                          R"("usage":{"output_tokens":3})"),
                anthropic("message_stop", "")));
  EXPECT_TRUE(last().gone);
}

TEST_F(TokenStopTest, ATextCompletionEndsAsOne) {
  start(Stop::kAtReservation);
  ClientRequest request = ask("/v1/completions");
  request.body = R"({"model":"m","prompt":"why","stream":true,"max_tokens":1})";
  const auto got = send(std::move(request));
  say(R"(data: {"id":"t-1","choices":[{"index":0,"text":"a"}]})"
      "\n\n");
  say(R"(data: {"id":"t-1","choices":[{"index":0,"text":"b"}]})"
      "\n\n");
  EXPECT_TRUE(got->finished);
  const std::size_t at = got->body.rfind("data: {");
  const auto last_chunk =
      nlohmann::json::parse(got->body.substr(at + 6, got->body.find('\n', at) - at - 6));
  EXPECT_EQ(last_chunk["object"], "text_completion");
  EXPECT_EQ(last_chunk["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(last_chunk["choices"][0]["text"], "");
  EXPECT_TRUE(got->body.ends_with("data: [DONE]\n\n"));
}

TEST_F(TokenStopTest, ADialectWithoutSuchAnEndBreaksOff) {
  start(Stop::kAtReservation);
  ClientRequest request = ask("/v1/responses");
  request.body = R"({"model":"m","input":"why","stream":true,"max_output_tokens":1})";
  const auto got = send(std::move(request));
  const auto piece = [](std::string_view text) {
    return cat(R"(data: {"type":"response.output_text.delta","delta":")", text, "\"}\n\n");
  };
  say(piece("a"));
  say(piece("b"));
  EXPECT_TRUE(got->finished);
  EXPECT_NE(got->error, "");
  EXPECT_EQ(got->body, piece("a"));
  EXPECT_TRUE(last().gone);
}

TEST_F(TokenStopTest, AStreamGoesOnWhileTheBudgetHasSomethingLeft) {
  start(Stop::kWhenEmpty, 10);  // 5 are taken at the door.
  const auto got = send(ask(kChat));
  for (int i = 0; i < 8; ++i) say(word("x"));
  EXPECT_FALSE(got->finished);
  for (int i = 0; i < 2 && !got->finished; ++i) say(word("y"));
  EXPECT_TRUE(got->finished);
  EXPECT_NE(got->body.find(R"("finish_reason":"length")"), std::string::npos);
  EXPECT_EQ(left(), 0u);
}

TEST_F(TokenStopTest, AStreamWithinItsReservationIsNotEndedForTheDebtsOfAnother) {
  start(Stop::kWhenEmpty, 10);
  const auto within = send(ask(kChat));
  LiveRequest& first = last();
  ledger_->with([&](TokenBook& book) {
    const TokenAccount account{"minute\n\n", &config_.budgets.front()};
    book.charge({&account, 1}, 100, world_.loop().now());
  });
  for (int i = 0; i < 3; ++i) first.answer.say(word("x"));
  first.answer.say("data: [DONE]\n\n");
  first.answer.end();
  t.advance(10ms);
  EXPECT_TRUE(within->finished);
  EXPECT_EQ(within->body.find("length"), std::string::npos);
}

TEST_F(TokenStopTest, TheUsageThatNobodyAskedForStaysHidden) {
  config_.keep_requests = false;
  start(Stop::kAtReservation);
  const auto got = send(ask(kChat));
  say(word("a"));
  say("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1}}\n\n");
  say("data: [DONE]\n\n");
  last().answer.end();
  t.advance(10ms);
  EXPECT_EQ(got->body, cat(word("a"), "data: [DONE]\n\n"));
  EXPECT_EQ(left(), 600u - kInput - 1);
}

// --- Streams that break off are charged for what they used ---------------------------------------

TEST_F(TokenStopTest, AStreamThatTheServerBreaksOffIsChargedForWhatCame) {
  start(Stop::kNever);
  const auto got = send(ask(kChat, R"(,"max_tokens":400)"));
  for (int i = 0; i < 5; ++i) say(word("x"));
  last().answer.breaks();
  t.advance(10ms);
  EXPECT_TRUE(got->finished);
  EXPECT_NE(got->error, "");
  EXPECT_EQ(left(), 600u - kInput - 5);
}

TEST_F(TokenStopTest, AStreamThatRunsOutOfTimeIsChargedForWhatCame) {
  t.manager().max_stream_duration = 5s;
  start(Stop::kNever);
  const auto got = send(ask(kChat, R"(,"max_tokens":400)"));
  for (int i = 0; i < 5; ++i) say(word("x"));
  EXPECT_EQ(left(), 600u - kInput - 400);
  t.advance(6s);
  EXPECT_TRUE(got->finished);
  EXPECT_NE(got->error, "");
  EXPECT_GE(left(), 600u - kInput - 5);
}

TEST_F(TokenStopTest, AClientThatLeavesBeforeTheAnswerHasUsedItsInput) {
  live_.waits();
  start(Stop::kNever);
  send(ask(kChat, R"(,"max_tokens":400)"));
  EXPECT_EQ(left(), 600u - kInput - 400);
  t.client().drop();
  t.advance(10ms);
  EXPECT_EQ(left(), 600u - kInput);
}

// The queue behind the budgets has sent a head of 200 and comments by the time that it refuses.
TEST_F(TokenStopTest, AStreamThatIsRefusedBehindHeartbeatsCostsNothing) {
  const AdmissionConfig queue{.application = "llm",
                              .concurrency = 1,
                              .wait = 2s,
                              .heartbeat = 1s,
                              .desk = std::make_shared<const AdmissionDesk>()};
  config_.budgets = {{.name = "minute", .tokens = 600, .per = 24h}};
  t.manager().filters = {
      {.name = "glia.token_budgets",
       .settings = std::make_shared<const TokenBudgetsConfig>(config_)},
      {.name = "glia.admission", .settings = std::make_shared<const AdmissionConfig>(queue)}};
  t.start();
  send(ask(kChat, R"(,"max_tokens":100)"));  // Is at work, for ever.
  SimClient another(world_, "10.0.2.9", t.address(), Codec::kHttp1);
  const auto refused = another.send(ask(kChat, R"(,"max_tokens":200)"));
  t.advance(10ms);
  EXPECT_EQ(left(), 600u - kInput - 100 - kInput - 200);
  t.advance(3s);
  EXPECT_TRUE(refused->finished);
  EXPECT_EQ(refused->status, 200);
  EXPECT_TRUE(refused->body.starts_with(": queued\n\n")) << refused->body;
  EXPECT_NE(refused->body.find("its turn did not come"), std::string::npos) << refused->body;
  EXPECT_EQ(left(), 600u - kInput - 100);
}

}  // namespace
}  // namespace glia
