// What a real worker tells of models' answers: figures on its metrics page and lines in its log, while
// nothing of the answer waits for that or is changed by it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "proxy/base/text.h"
#include "proxy/flow/model_figures.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

constexpr std::string_view kProxy = "10.0.0.1";
constexpr char kChat[] = "/v1/chat/completions";

std::string chat(std::string_view model) {
  return cat(R"({"messages":[{"role":"user","content":"hello"}],"stream":true,"model":")", model,
             R"("})");
}

std::string token(std::string_view text) {
  return cat(R"(data: {"choices":[{"delta":{"content":")", text, R"("}}]})", "\n\n");
}

constexpr std::string_view kLabels =
    "{envoy_http_conn_manager_prefix=\"in\",gen_ai_operation_name=\"chat\","
    "gen_ai_request_model=\"m\",envoy_cluster_name=\"service\"";

// A proxy that reads requests to models, between a live client and a live engine.
class ModelAnswers : public testing::TestWithParam<Codec> {
 protected:
  ModelAnswers()
      : world(7, {.least_latency = 1ms, .most_latency = 1ms, .short_read = 0, .short_write = 0}),
        mesh(world, GetParam(), GetParam()),
        engine(world, "10.0.1.1", GetParam()) {
    mesh.add_endpoint(*Address::ip("10.0.1.1", 8080));
    mesh.manager().model.emplace();
    mesh.manager().model->always = true;
    mesh.route().forward->timeout = 0s;
    mesh.manager().access_logs = {{.path = log_path}};
    unlink(log_path.c_str());
    engine.head(200, {{"content-type", "text/event-stream"}});
  }
  ~ModelAnswers() override { unlink(log_path.c_str()); }

  LiveCall& begin(std::vector<std::pair<std::string, std::string>> headers = {}) {
    if (client == nullptr) {
      mesh.start();
      client =
          std::make_unique<LiveClient>(world, "10.0.9.8", *Address::ip(kProxy, 80), GetParam());
    }
    const std::size_t before = engine.requests();
    LiveCall& call = client->call(kChat, std::move(headers));
    call.speech.say(chat("m"));
    call.speech.end();
    EXPECT_TRUE(world.run_until([&] { return engine.requests() > before; }, 5s));
    return call;
  }
  Speech& says() { return engine.request(engine.requests() - 1).answer; }
  bool shows(std::string_view line) { return mesh.metrics().find(line) != std::string::npos; }
  std::string last_log_line() {
    mesh.advance(1s);
    std::ifstream file(log_path);
    std::string line, last;
    while (std::getline(file, line)) last = line;
    return last;
  }

  const std::string log_path = cat(testing::TempDir(), "model-answer-", getpid(), ".log");
  SimWorld world;
  MeshWorld mesh;
  LiveUpstream engine;
  std::unique_ptr<LiveClient> client;
};

INSTANTIATE_TEST_SUITE_P(Protocols, ModelAnswers, testing::Values(Codec::kHttp1, Codec::kHttp2),
                         [](const testing::TestParamInfo<Codec>& info) {
                           return info.param == Codec::kHttp1 ? "Http1" : "Http2";
                         });

// What keeps a connection alive while a request is queued is not the first token: neither for the figures,
// nor for the choice among servers.
TEST_P(ModelAnswers, BeginWithTheirFirstEventAndNotWithAComment) {
  mesh.cluster().balancing.policy = Balancing::Policy::kModel;
  begin();
  const auto& endpoints = mesh.worker().clusters().find("service")->endpoints();
  EndpointLoad& load = endpoints.begin()->second->load();
  EXPECT_GT(load.reading(), 0);
  says().say(": queued\n\n");
  mesh.advance(2s);
  says().say(": queued\n\n");
  EXPECT_GT(load.reading(), 0);
  EXPECT_FALSE(load.latency());
  mesh.advance(1s);
  EXPECT_FALSE(load.latency());
  says().say(token("x"));
  mesh.advance(10ms);
  EXPECT_EQ(load.reading(), 0);
  ASSERT_TRUE(load.latency());
  EXPECT_GE(*load.latency(), 3s);
  says().say("data: [DONE]\n\n");
  says().end();
  mesh.advance(10ms);
  EXPECT_TRUE(shows(cat("time_to_first_token_seconds_bucket", kLabels, ",le=\"2.5\"} 0\n")));
  EXPECT_TRUE(shows(cat("time_to_first_token_seconds_bucket", kLabels, ",le=\"5\"} 1\n")));
}

TEST_P(ModelAnswers, AreCountedByWhatTheirStreamsSay) {
  LiveCall& call = begin({{"x-llm-d-inference-fairness-id", "team-a"}});
  mesh.advance(300ms);
  std::string all;
  const auto say = [&](const std::string& event) {
    all += event;
    says().say(event);
  };
  say(R"(data: {"choices":[{"delta":{"role":"assistant","content":""}}]})"
      "\n\n");
  for (int i = 0; i < 5; ++i) {
    mesh.advance(200ms);
    say(token("x"));
  }
  say(R"(data: {"choices":[{"delta":{},"finish_reason":"length"}]})"
      "\n\n");
  say(R"(data: {"choices":[],"usage":{"prompt_tokens":70,"completion_tokens":9}})"
      "\n\ndata: [DONE]\n\n");
  says().end();
  ASSERT_TRUE(world.run_until([&] { return call.finished; }, 5s));
  EXPECT_EQ(call.heard.text, all);
  // The role at 300 ms is no output; the first token came at 500 ms.
  EXPECT_TRUE(shows(cat("time_to_first_token_seconds_bucket", kLabels, ",le=\"0.25\"} 0\n")));
  EXPECT_TRUE(shows(cat("time_to_first_token_seconds_bucket", kLabels, ",le=\"0.75\"} 1\n")));
  // 8 tokens in 800 ms.
  EXPECT_TRUE(shows(cat("time_per_output_token_seconds_bucket", kLabels, ",le=\"0.075\"} 0\n")));
  EXPECT_TRUE(shows(cat("time_per_output_token_seconds_bucket", kLabels, ",le=\"0.15\"} 1\n")));
  EXPECT_TRUE(shows(cat("token_usage_sum", kLabels, ",gen_ai_token_type=\"input\"} 70\n")));
  EXPECT_TRUE(shows(cat("token_usage_sum", kLabels, ",gen_ai_token_type=\"output\"} 9\n")));
  EXPECT_TRUE(shows(cat("finish_reasons_total", kLabels, ",reason=\"length\"} 1\n")));
  EXPECT_TRUE(shows(cat("glia_model_output_events_total", kLabels, "} 5\n")));
  EXPECT_TRUE(shows(cat("glia_model_output_errors_total", kLabels, "} 0\n")));
  EXPECT_TRUE(
      shows("tenant_tokens_total{envoy_http_conn_manager_prefix=\"in\",tenant=\"team-a\","
            "gen_ai_token_type=\"output\"} 9\n"))
      << mesh.metrics();
  const std::string line = last_log_line();
  EXPECT_NE(line.find("\"model_input_tokens\":70,\"model_output_tokens\":9,"
                      "\"model_first_output\":50"),
            std::string::npos)
      << line;
  EXPECT_NE(line.find(",\"model_finish_reason\":\"length\""), std::string::npos) << line;
  EXPECT_EQ(line.find("model_error"), std::string::npos) << line;
}

TEST_P(ModelAnswers, TellOfAnErrorBehindAStatusOf200) {
  LiveCall& call = begin();
  says().say(token("x") + "data: {\"error\":{\"message\":\"CUDA out of memory\"}}\n\n");
  says().end();
  ASSERT_TRUE(world.run_until([&] { return call.finished; }, 5s));
  EXPECT_TRUE(shows(cat("glia_model_output_errors_total", kLabels, "} 1\n"))) << mesh.metrics();
  EXPECT_NE(last_log_line().find("\"model_error\":\"CUDA out of memory\""), std::string::npos);
}

TEST_P(ModelAnswers, AreCountedAsFarAsTheyCameWhenTheClientLeaves) {
  LiveCall& call = begin();
  says().say(token("a") + token("b") + token("c"));
  ASSERT_TRUE(world.run_until([&] { return !call.heard.text.empty(); }, 5s));
  client->hang_up(call);
  mesh.advance(1s);
  EXPECT_TRUE(shows(cat("token_usage_sum", kLabels, ",gen_ai_token_type=\"output\"} 3\n")))
      << mesh.metrics();
}

TEST_P(ModelAnswers, AreNotReadWhenTheyAreRefusals) {
  engine.head(429, {{"content-type", "text/event-stream"}});
  LiveCall& call = begin();
  says().say(token("x"));
  says().end();
  ASSERT_TRUE(world.run_until([&] { return call.finished; }, 5s));
  EXPECT_FALSE(shows("gen_ai_")) << mesh.metrics();
}

TEST_P(ModelAnswers, LeaveInTheTurnInWhichTheyCame) {
  LiveCall& call = begin();
  says().say(token("first"));
  ASSERT_TRUE(world.run_until([&] { return !call.heard.text.empty(); }, 1s));
  mesh.advance(1s);
  world.fabric().record();
  std::size_t known = 0;
  for (int i = 0; i < 20; ++i) {
    const std::string event = token(cat(i));
    says().say(event);
    bool read = false, sent = false;
    for (int turns = 0; turns < 1000 && !read; ++turns) {
      world.loop().turn(10ms);
      std::istringstream news(world.fabric().transcript().substr(known));
      known += news.str().size();
      std::string time, number, local, remote, what, bytes;
      while (news >> time >> number >> local >> remote >> what >> bytes) {
        if (!local.starts_with(cat(kProxy, ":"))) continue;
        read = read || (what == "bytes" && remote.starts_with("10.0.1.1"));
        sent = sent || (what == "sends" && remote.starts_with("10.0.9.8"));
      }
    }
    EXPECT_TRUE(read && sent) << i;
    ASSERT_TRUE(world.run_until([&] { return call.heard.text.ends_with(event); }, 5ms));
    mesh.advance(100ms);
  }
}

// Whoever can name models cannot make the page grow.
TEST(ModelFigures, CountModelsBeyondTheirRoomAsOther) {
  ModelFigures figures;
  ModelAnswer answer;
  answer.output_events = 1;
  for (int i = 0; i < 200; ++i) {
    const std::string model = cat("model-", i), tenant = cat("tenant-", i);
    answer.finish_reasons = {cat("reason-", i)};
    figures.count({.operation = "chat", .model = model, .tenant = tenant}, "c", answer, TimePoint(),
                  TimePoint(1s));
    figures.count({.operation = "chat", .model = "model-0"}, "c", answer, TimePoint(),
                  TimePoint(1s));
  }
  MetricsPage page;
  figures.collect(page, {});
  const std::string text = page.prometheus();
  const auto counts = [&](std::string_view line) { return text.find(line) != std::string::npos; };
  EXPECT_TRUE(counts("gen_ai_request_model=\"model-63\""));
  EXPECT_FALSE(counts("gen_ai_request_model=\"model-64\""));
  EXPECT_TRUE(counts("glia_model_output_events_total{gen_ai_request_model=\"other\"} 136\n"));
  EXPECT_TRUE(counts("tenant=\"tenant-63\"") && !counts("tenant=\"tenant-64\""));
  EXPECT_TRUE(counts(
      "glia_model_tenant_tokens_total{tenant=\"other\",gen_ai_token_type=\"output\"} 136\n"));
  EXPECT_TRUE(
      counts("gen_ai_request_model=\"model-0\",envoy_cluster_name=\"c\",reason=\"other\"}"));
  EXPECT_FALSE(counts("reason=\"reason-99\""));
}

}  // namespace
}  // namespace glia
