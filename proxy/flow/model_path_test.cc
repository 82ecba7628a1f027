// Requests to models through a real worker: where they are routed, what is refused, what of them is
// changed, and what a client and an upstream see of that.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <tuple>

#include "proxy/base/text.h"
#include "proxy/flow/raw_peers_test_support.h"
#include "proxy/http/grpc.h"
#include "proxy/model/fields.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kInfer[] = "/inference.GRPCInferenceService/ModelInfer";

Route to(std::string cluster, std::vector<HeaderMatcher> headers = {}) {
  Route route;
  route.name = cat("to-", cluster);
  route.match.path.text = *TextMatcher::create(TextMatcher::Kind::kPrefix, "/");
  route.match.headers = std::move(headers);
  route.forward.emplace();
  route.forward->clusters.push_back({.cluster = std::move(cluster)});
  route.forward->total_weight = 1;
  return route;
}

HeaderMatcher is(std::string_view field, std::string value) {
  return {.name = std::string(field), .value = TextMatcher::exact(std::move(value))};
}

ClientRequest post(std::string path, std::string body) {
  return {.method = "POST", .path = std::move(path), .body = std::move(body), .has_body = true};
}

std::string chat(std::string_view model, std::size_t prompt = 20) {
  return cat(R"({"messages":[{"role":"user","content":")", std::string(prompt, 'p'),
             R"("}],"stream":true,"model":")", model, R"("})");
}

// ModelInferRequest{model_name, raw_input_contents} in its frame.
std::string infer(std::string_view model) {
  const auto field = [](char number, std::string_view text) {
    return cat(static_cast<char>(number << 3 | 2), static_cast<char>(text.size()), text);
  };
  std::string framed;
  append_grpc_message(framed, field(1, model) + field(7, std::string(100, 'r')));
  return framed;
}

using Protocols = std::tuple<Codec, Codec>;

// "10.0.1.1" serves the model "a", "10.0.1.2" serves all the rest.
class ModelPath : public testing::TestWithParam<Protocols> {
 protected:
  ModelPath() {
    t.upstream("10.0.1.1", "a").replies(200, "from a");
    t.upstream("10.0.1.2", "rest").replies(200, "from the rest");
    t.hosts().front().routes = {to("a", {is(model_field::kModel, "a")}), to("rest")};
    t.manager().model.emplace();
  }
  const Seen& last(const std::string& ip) { return t.upstream(ip).seen().back(); }
  bool counts(std::string_view name, int value) {
    const std::string line =
        cat("glia_model_", name, "{envoy_http_conn_manager_prefix=\"in\"} ", value, "\n");
    return t.metrics().find(line) != std::string::npos;
  }
  SimWorld world{1};
  MeshWorld t{world, std::get<0>(GetParam()), std::get<1>(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Protocols, ModelPath,
                         testing::Combine(testing::Values(Codec::kHttp1, Codec::kHttp2),
                                          testing::Values(Codec::kHttp1, Codec::kHttp2)),
                         [](const testing::TestParamInfo<Protocols>& info) {
                           const auto name = [](Codec codec) {
                             return codec == Codec::kHttp1 ? "Http1" : "Http2";
                           };
                           return cat(name(std::get<0>(info.param)), "To",
                                      name(std::get<1>(info.param)));
                         });

TEST_P(ModelPath, RoutesByTheModelInTheBodyAndPassesItOnUnchanged) {
  t.start();
  for (const std::size_t prompt : {1u, 5'000u, 300'000u}) {
    EXPECT_EQ(t.send(post(kChat, chat("a", prompt))).body, "from a");
    EXPECT_EQ(last("10.0.1.1").body, chat("a", prompt));
    EXPECT_TRUE(last("10.0.1.1").body_complete);
    EXPECT_EQ(t.send(post(kChat, chat("b", prompt))).body, "from the rest");
    EXPECT_EQ(last("10.0.1.2").body, chat("b", prompt));
  }
  EXPECT_EQ(last("10.0.1.1").header("x-glia-model"), "a");
  EXPECT_EQ(last("10.0.1.1").header("x-glia-model-dialect"), "openai");
  EXPECT_EQ(last("10.0.1.1").header("x-glia-model-stream"), "true");
  EXPECT_EQ(last("10.0.1.1").header("x-glia-model-input-tokens"), "75001");
}

TEST_P(ModelPath, RoutesByTheModelInThePath) {
  t.start();
  EXPECT_EQ(t.send(post("/v2/models/a/infer", "not even JSON")).body, "from a");
  EXPECT_EQ(t.send(post("/v2/models/%61/infer", "{}")).body, "from a");
  EXPECT_EQ(t.send({.path = "/v2/models/a/ready"}).body, "from a");
  EXPECT_EQ(t.send(post("/v1/models/b:predict", "{}")).body, "from the rest");
}

TEST_P(ModelPath, RoutesByStreamingAndByTokens) {
  HeaderMatcher large{.name = std::string(model_field::kInputTokens)};
  large.range = HeaderMatcher::Range{100, 1'000'000};
  t.hosts().front().routes = {to("a", {large, is(model_field::kStream, "true")}), to("rest")};
  t.start();
  EXPECT_EQ(t.send(post(kChat, chat("m", 4'000))).body, "from a");
  EXPECT_EQ(t.send(post(kChat, chat("m", 40))).body, "from the rest");
}

TEST_P(ModelPath, TakesOutWhatAClientSaysOfItsModel) {
  t.start();
  ClientRequest lie = post(kChat, chat("b"));
  lie.headers = {{"x-glia-model", "a"}, {"x-glia-model-version", "9"}};
  EXPECT_EQ(t.send(lie).body, "from the rest");
  EXPECT_EQ(last("10.0.1.2").header("x-glia-model"), "b");
  EXPECT_EQ(last("10.0.1.2").header("x-glia-model-version"), "");
  EXPECT_EQ(t.send({.path = "/", .headers = {{"x-glia-model", "a"}}}).body, "from the rest");
  EXPECT_EQ(last("10.0.1.2").header("x-glia-model"), "");
}

TEST_P(ModelPath, RefusesTwoModels) {
  t.start();
  const Answer answer = t.send(post(kChat, R"({"model":"b","m\u006fdel":"a"})"));
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.header("x-glia-reason"), "bad_request");
  EXPECT_TRUE(
      answer.body.starts_with("the body of this openai chat request has two keys "
                              "\"model\", and servers differ in which they read\n"))
      << answer.body;
  EXPECT_TRUE(t.upstream("10.0.1.1").seen().empty());
  EXPECT_TRUE(t.upstream("10.0.1.2").seen().empty());
  EXPECT_TRUE(counts("refused", 1)) << t.metrics();
}

TEST_P(ModelPath, ReadsNoBodyThatNobodyAsksFor) {
  t.hosts().front().routes = {to("rest")};
  t.start();
  EXPECT_EQ(t.send(post(kChat, "no JSON")).body, "from the rest");
  EXPECT_EQ(last("10.0.1.2").body, "no JSON");
  EXPECT_EQ(last("10.0.1.2").header("x-glia-model-dialect"), "openai");
  // A route on another path asks.
  t.hosts().front().routes = {to("a", {is(model_field::kModel, "a")}), to("rest")};
  t.hosts().front().routes[0].match.path.text =
      *TextMatcher::create(TextMatcher::Kind::kPrefix, "/v2/");
  t.publish();
  EXPECT_EQ(t.send(post(kChat, "no JSON")).body, "from the rest");
  t.manager().model->always = true;
  t.publish();
  EXPECT_EQ(t.send(post(kChat, "no JSON")).status, 400);
}

TEST_P(ModelPath, RoutesWhatItCannotTellByTheRestUnlessToldOtherwise) {
  t.manager().model->held_bytes = 1024;
  t.start();
  const std::string body = chat("a", 100'000);
  EXPECT_EQ(t.send(post(kChat, body)).body, "from the rest");
  EXPECT_EQ(last("10.0.1.2").body, body);
  EXPECT_TRUE(counts("unknown", 1)) << t.metrics();
  t.manager().model->unknown = ModelReading::Unknown::kRefuse;
  t.publish();
  const Answer refused = t.send(post(kChat, body));
  EXPECT_EQ(refused.status, 400);
  EXPECT_TRUE(
      refused.body.starts_with("the model of this openai chat request is not known: the "
                               "first 1024 bytes of its body name none\n"))
      << refused.body;
  t.advance(5s);  // The connection whose body was not taken is closed.
  EXPECT_TRUE(t.send(post(kChat, "{}"))
                  .body.starts_with(
                      "the model of this openai chat request is not known: its body names none\n"));
  ClientRequest gzip = post(kChat, "....");
  gzip.headers = {{"content-encoding", "gzip"}};
  EXPECT_TRUE(
      t.send(gzip).body.starts_with("the model of this openai chat request is not known: "
                                    "its body is compressed, or there is none\n"));
}

TEST_P(ModelPath, BreaksOffABodyWithASecondModelBehindWhatWasHeld) {
  t.manager().model->held_bytes = 1024;
  t.start();
  const std::string body =
      cat(R"({"model":"a","x":")", std::string(400'000, 'x'), R"(","model":"b"})");
  const Answer answer = t.send(post(kChat, body));
  EXPECT_EQ(answer.status, 400) << answer.error;
  EXPECT_NE(answer.body.find("has two keys \"model\""), std::string::npos) << answer.body;
  for (const Seen& seen : t.upstream("10.0.1.1").seen()) EXPECT_FALSE(seen.body_complete);
  EXPECT_TRUE(counts("refused", 1)) << t.metrics();
}

TEST_P(ModelPath, GivesTheModelAnotherNameInABody) {
  t.hosts().front().routes[0].model_name = ModelName{"a/long-name-of-it", ""};
  t.start();
  const std::string body = chat("a", 200'000);
  EXPECT_EQ(t.send(post(kChat, body)).body, "from a");
  EXPECT_EQ(last("10.0.1.1").body, chat("a/long-name-of-it", 200'000));
  EXPECT_TRUE(last("10.0.1.1").body_complete);
  EXPECT_EQ(last("10.0.1.1").header("x-glia-model"), "a/long-name-of-it");
  EXPECT_TRUE(counts("renamed", 1)) << t.metrics();
}

TEST_P(ModelPath, GivesTheModelAnotherNameInAPath) {
  t.hosts().front().routes[0].model_name = ModelName{"new", "2"};
  t.start();
  EXPECT_EQ(t.send(post("/v2/models/a/infer?x=y", "{}")).body, "from a");
  EXPECT_EQ(last("10.0.1.1").path, "/v2/models/new/versions/2/infer?x=y");
  EXPECT_EQ(t.send(post("/v1/models/a/versions/1:predict", "{}")).body, "from a");
  EXPECT_EQ(last("10.0.1.1").path, "/v1/models/new/versions/2:predict");
}

TEST_P(ModelPath, SplitsOneNameOverVersions) {
  Route& route = t.hosts().front().routes[0];
  route.forward->clusters = {{.cluster = "a", .weight = 1}, {.cluster = "rest", .weight = 1}};
  route.forward->clusters[0].model_name = ModelName{"a-v1", ""};
  route.forward->clusters[1].model_name = ModelName{"a-v2", ""};
  route.forward->total_weight = 2;
  t.start();
  for (int i = 0; i < 40; ++i) EXPECT_EQ(t.send(post(kChat, chat("a"))).status, 200);
  EXPECT_GT(t.upstream("10.0.1.1").seen().size(), 5u);
  EXPECT_GT(t.upstream("10.0.1.2").seen().size(), 5u);
  for (const Seen& seen : t.upstream("10.0.1.1").seen()) EXPECT_EQ(seen.body, chat("a-v1"));
  for (const Seen& seen : t.upstream("10.0.1.2").seen()) EXPECT_EQ(seen.body, chat("a-v2"));
}

TEST_P(ModelPath, RefusesToRenameWhatItCannotSee) {
  t.manager().model->held_bytes = 1024;
  t.hosts().front().routes = {to("a")};
  t.hosts().front().routes[0].model_name = ModelName{"b", ""};
  t.start();
  const Answer answer = t.send(post(kChat, chat("a", 100'000)));
  EXPECT_EQ(answer.status, 400);
  EXPECT_TRUE(
      answer.body.starts_with("the route gives the model another name, and the part of the "
                              "body that was held has none\n"))
      << answer.body;
}

TEST_P(ModelPath, AsksPoliciesAboutTheModel) {
  RbacRule rule;
  rule.kind = RbacRule::Kind::kHeader;
  rule.header = is(model_field::kModel, "a");
  const RbacRules rules{RbacRules::Action::kAllow, {{"only-a", {rule}, {RbacRule()}}}};
  t.hosts().front().routes = {to("rest")};
  t.manager().filters = {
      {.name = "envoy.filters.http.rbac",
       .settings = std::make_shared<const RbacConfig>(RbacConfig{.rules = rules})}};
  t.manager().model_need = ModelNeed::kName;
  t.start();
  EXPECT_EQ(t.send(post(kChat, chat("a"))).status, 200);
  const Answer refused = t.send(post(kChat, chat("b")));
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.header("x-glia-policy"), "only-a");
}

TEST_P(ModelPath, TriesAHeldBodyAgain) {
  t.upstream("10.0.1.3", "a").dies();
  t.start();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(t.send(post(kChat, chat("a", 10'000))).body, "from a");
    EXPECT_EQ(last("10.0.1.1").body, chat("a", 10'000));
  }
}

TEST_P(ModelPath, WritesTheModelIntoTheLog) {
  const std::string log = cat(testing::TempDir(), "model-path-", getpid(), ".log");
  unlink(log.c_str());
  t.manager().access_logs = {{.path = log}};
  t.start();
  EXPECT_EQ(t.send(post(kChat, chat("a"))).status, 200);
  EXPECT_EQ(t.send({.path = "/"}).status, 200);
  t.advance(1s);
  std::ifstream file(log);
  std::string of_model, of_none;
  std::getline(file, of_model);
  std::getline(file, of_none);
  EXPECT_NE(of_model.find(R"("model_dialect":"openai","model":"a","model_streaming":true)"),
            std::string::npos)
      << of_model;
  EXPECT_EQ(of_model.find("pppp"), std::string::npos);
  EXPECT_EQ(of_none.find("model"), std::string::npos) << of_none;
}

TEST(GrpcModelPath, RoutesAndRenamesModelInfer) {
  SimWorld world(2);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
  t.upstream("10.0.1.1", "a").replies(200, "");
  t.upstream("10.0.1.2", "rest").replies(200, "");
  t.hosts().front().routes = {to("a", {is(model_field::kModel, "a")}), to("rest")};
  t.hosts().front().routes[0].model_name = ModelName{"other", ""};
  t.manager().model.emplace();
  t.start();
  ClientRequest request = post(kInfer, infer("a"));
  request.headers = {{"content-type", "application/grpc"}, {"te", "trailers"}};
  t.send(request);
  ASSERT_EQ(t.upstream("10.0.1.1").seen().size(), 1u);
  EXPECT_EQ(t.upstream("10.0.1.1").seen()[0].body, infer("other"));
  request.body = infer("b");
  t.send(request);
  ASSERT_EQ(t.upstream("10.0.1.2").seen().size(), 1u);
  EXPECT_EQ(t.upstream("10.0.1.2").seen()[0].body, infer("b"));
  request.body = infer("a").substr(0, 9);
  const Answer refused = t.send(request);
  EXPECT_EQ(refused.header("grpc-status"), "3");  // INVALID_ARGUMENT
  EXPECT_NE(refused.header("grpc-message").find("ends in the middle of a message"),
            std::string::npos);
}

// One byte a packet, in chunks: the upstream gets the same bytes, and only when the model is known.
TEST(HeldBody, WaitsForTheModelHoweverTheBodyComes) {
  RawWorld w(3);
  w.t.manager().model.emplace();
  w.t.manager().model->always = true;
  w.t.start();
  w.client = w.connect();
  const std::string head = cat("POST ", kChat, " HTTP/1.1\r\nhost: service\r\n");
  w.client->send(head + "transfer-encoding: chunked\r\n\r\n");
  const std::string body = chat("a");
  for (const char c : body) {
    EXPECT_EQ(w.origin.received(), "");
    w.client->send(cat("1\r\n", c, "\r\n"));
    w.world.run_for(1ms);
  }
  w.client->send("0\r\n\r\n");
  w.world.run_for(1s);
  std::string got;
  const std::string received = w.origin.received();
  for (std::size_t at = received.find("\r\n\r\n") + 4; at < received.size();) {
    const std::size_t line = received.find("\r\n", at);
    const std::size_t size = std::stoul(received.substr(at, line - at), nullptr, 16);
    got += received.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
  EXPECT_EQ(got, body);
  EXPECT_TRUE(w.client->received.starts_with("HTTP/1.1 200 OK\r\n")) << w.client->received;
}

TEST(HeldBody, IsWaitedForOnlyAsLongAsARequestMayTake) {
  RawWorld w(4);
  w.t.manager().model.emplace();
  w.t.manager().model->always = true;
  w.t.manager().request_timeout = 5s;
  w.t.start();
  w.client = w.connect();
  w.client->send(cat("POST ", kChat, " HTTP/1.1\r\nhost: service\r\ncontent-length: 100\r\n\r\n{"));
  w.world.run_for(4s);
  EXPECT_EQ(w.client->received, "");
  w.world.run_for(2s);
  EXPECT_TRUE(w.client->received.starts_with("HTTP/1.1 408 ")) << w.client->received;
  expect_signed(w.client->received, "downstream_timeout");
  EXPECT_EQ(w.origin.received(), "");
}

TEST(HeldBody, IsWaitedForOnlyWhileItMoves) {
  RawWorld w(5);
  w.t.manager().model.emplace();
  w.t.manager().model->always = true;
  w.t.start();
  w.client = w.connect();
  w.client->send(cat("POST ", kChat, " HTTP/1.1\r\nhost: service\r\ncontent-length: 100\r\n\r\n{"));
  w.world.run_for(60s);
  EXPECT_TRUE(w.client->received.starts_with("HTTP/1.1 408 ")) << w.client->received;
  EXPECT_NE(w.client->received.find("the client sent of its request less than 240 bytes"),
            std::string::npos)
      << w.client->received;
}

TEST(HeldBody, IsForgottenWhenTheClientLeaves) {
  RawWorld w(6);
  w.t.manager().model.emplace();
  w.t.manager().model->always = true;
  w.t.start();
  w.client = w.connect();
  w.client->send(cat("POST ", kChat, " HTTP/1.1\r\nhost: service\r\ncontent-length: 100\r\n\r\n{"));
  w.world.run_for(1s);
  w.client.reset();
  w.world.run_for(1s);
  EXPECT_EQ(w.origin.received(), "");
  EXPECT_NE(w.t.metrics().find(
                "envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix=\"in\"} 0"),
            std::string::npos);
}

}  // namespace
}  // namespace glia
