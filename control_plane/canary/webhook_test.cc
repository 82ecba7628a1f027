// A question to a real HTTP server, and what its answer means.
#include "control_plane/canary/webhook.h"

#include <gtest/gtest.h>

#include "control_plane/canary/http_answers_test_support.h"
#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/tcp.h"

namespace glia {
namespace {

class WebhookTest : public testing::Test {
 protected:
  Confirmation ask(uint16_t port, Duration timeout = 20s) {
    Canary::Confirm whom;
    whom.host = "127.0.0.1";
    whom.port = port;
    whom.path = "/canaries?of=mine";
    whom.timeout = timeout;
    Confirmation said;
    bool answered = false;
    webhook_.ask(whom, "{\"to\": 25}", [&](const Confirmation& confirmation) {
      said = confirmation;
      answered = true;
    });
    while (!answered) loop_.turn(1s);
    return said;
  }
  EventLoop loop_{std::make_unique<LibeventBackend>()};
  SocketNetwork network_{loop_};
  HttpQuestions questions_{loop_, network_};
  Webhook webhook_{questions_};
};

TEST_F(WebhookTest, PostsTheQuestionAndTakes2xxForAYes) {
  OneAnswer server("HTTP/1.1 204 No Content\r\n\r\n");
  const Confirmation said = ask(server.port());
  EXPECT_EQ(said.answer, Confirmation::Answer::kYes) << said.why;
  const std::string request = to_lower(server.request());
  EXPECT_TRUE(request.starts_with("post /canaries?of=mine http/1.1\r\n")) << request;
  EXPECT_NE(request.find(cat("host: 127.0.0.1:", server.port(), "\r\n")), request.npos) << request;
  EXPECT_NE(request.find("content-type: application/json\r\n"), request.npos) << request;
  EXPECT_NE(request.find("content-length: 10\r\n"), request.npos) << request;
  EXPECT_TRUE(request.ends_with("\r\n\r\n{\"to\": 25}")) << request;
}

TEST_F(WebhookTest, Takes403ForANoAndKeepsWhatWasSaid) {
  OneAnswer server("HTTP/1.1 403 Forbidden\r\ncontent-length: 10\r\n\r\nnot today\n");
  const Confirmation said = ask(server.port());
  EXPECT_EQ(said.answer, Confirmation::Answer::kNo);
  EXPECT_EQ(said.why, "status 403: not today");
}

TEST_F(WebhookTest, AnythingElseIsNoAnswer) {
  OneAnswer broken("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
  const Confirmation said = ask(broken.port());
  EXPECT_EQ(said.answer, Confirmation::Answer::kNone);
  EXPECT_EQ(said.why, "status 500");
  OneAnswer nonsense("what?\r\n\r\n");
  EXPECT_EQ(ask(nonsense.port()).answer, Confirmation::Answer::kNone);
  uint16_t closed = 0;
  {
    const Listening gone;
    closed = gone.port();
  }
  EXPECT_EQ(ask(closed).answer, Confirmation::Answer::kNone);
}

TEST_F(WebhookTest, ALongAnswerIsNoAnswer) {
  OneAnswer server(cat("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
                       std::string(HttpQuestions::kLargestAnswer + 1, 'x')));
  EXPECT_EQ(ask(server.port()).answer, Confirmation::Answer::kNone);
}

TEST_F(WebhookTest, WhoDoesNotAnswerInTimeHasNotAnswered) {
  const Listening silent;
  const Confirmation said = ask(silent.port(), 50ms);
  EXPECT_EQ(said.answer, Confirmation::Answer::kNone);
  EXPECT_EQ(said.why, "no answer within 50 ms");
}

TEST_F(WebhookTest, MayEndWhileAQuestionIsOpen) {
  const Listening silent;
  Canary::Confirm whom;
  whom.host = "127.0.0.1";
  whom.port = silent.port();
  {
    HttpQuestions questions(loop_, network_);
    Webhook webhook(questions);
    webhook.ask(whom, "{}", [](const Confirmation&) { ADD_FAILURE() << "nobody is there"; });
    for (int i = 0; i < 3; ++i) loop_.turn(10ms);
  }
  loop_.turn(0s);
}

}  // namespace
}  // namespace glia
