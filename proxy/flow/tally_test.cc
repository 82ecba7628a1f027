// What a worker counts for the control plane of the clusters that this asks for.
#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

class Tallied : public testing::Test {
 protected:
  Tallied() {
    t.upstream("10.0.1.1").replies(200, "hello", 20ms);
    t.manager().model.emplace();
    t.manager().model->always = true;
  }
  ClusterTally taken() {
    Tallies all = t.worker().take_tallies();
    return all.find("service") == nullptr ? ClusterTally() : *all.find("service");
  }
  SimWorld world{3};
  MeshWorld t{world};
};

TEST_F(Tallied, CountsOnlyClustersThatAreAskedFor) {
  t.start();
  EXPECT_EQ(t.get().status, 200);
  EXPECT_TRUE(t.worker().take_tallies().clusters.empty());
  t.worker().tally({"another"});
  EXPECT_EQ(t.get().status, 200);
  EXPECT_EQ(t.worker().take_tallies().clusters.at("another").requests, 0u);
  t.worker().tally({"another", "service"});
  EXPECT_EQ(t.get().status, 200);
  EXPECT_EQ(t.get().status, 200);
  const ClusterTally tally = taken();
  EXPECT_EQ(tally.requests, 2u);
  EXPECT_EQ(tally.errors, 0u);
  EXPECT_EQ(tally.latency_ms.count(), 2u);
  EXPECT_GT(tally.latency_ms.quantile(0), 19);
  EXPECT_EQ(taken().requests, 0u);  // Each once.
  t.worker().tally({});
  EXPECT_EQ(t.get().status, 200);
  EXPECT_TRUE(t.worker().take_tallies().clusters.empty());
}

TEST_F(Tallied, CountsErrorsOfTheServerAndNotOfTheClient) {
  t.start();
  t.worker().tally({"service"});
  t.upstream("10.0.1.1").replies(503);
  t.get();
  EXPECT_EQ(taken().errors, 1u);
  t.upstream("10.0.1.1").replies(404);
  t.get();
  ClusterTally tally = taken();
  EXPECT_EQ(tally.requests, 1u);
  EXPECT_EQ(tally.errors, 0u);
  t.upstream("10.0.1.1").replies(200, std::string(100'000, 'x'));
  t.upstream("10.0.1.1").breaks_in_the_body();
  t.get();
  EXPECT_EQ(taken().errors, 1u);
}

TEST_F(Tallied, CountsARequestThatNobodyAnsweredInTime) {
  t.route().forward->timeout = 1s;
  t.start();
  t.worker().tally({"service"});
  t.upstream("10.0.1.1").hangs();
  EXPECT_EQ(t.get().status, 504);
  EXPECT_EQ(taken().errors, 1u);
}

TEST_F(Tallied, CountsNoErrorAndNoTimeOfAClientThatLeft) {
  t.start();
  t.worker().tally({"service"});
  t.upstream("10.0.1.1").hangs();
  t.client().send({.path = "/"});
  t.advance(1s);
  t.client().drop();
  t.advance(1s);
  const ClusterTally tally = taken();
  EXPECT_EQ(tally.requests, 1u);
  EXPECT_EQ(tally.errors, 0u);
  EXPECT_EQ(tally.latency_ms.count(), 0u);
}

TEST_F(Tallied, CountsWhatModelsAnswer) {
  t.upstream("10.0.1.1").reply_header("content-type", "text/event-stream");
  t.upstream("10.0.1.1")
      .replies(200,
               "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"
               "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],"
               "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n");
  t.start();
  t.worker().tally({"service"});
  const ClientRequest chat{.method = "POST",
                           .path = "/v1/chat/completions",
                           .body = "{\"model\":\"m\",\"stream\":true}",
                           .has_body = true};
  t.send(chat);
  t.upstream("10.0.1.1").replies(200, "data: {\"error\":{\"message\":\"no\"}}\n\n");
  t.send(chat);
  const ClusterTally tally = taken();
  EXPECT_EQ(tally.requests, 2u);
  EXPECT_EQ(tally.errors, 0u);
  EXPECT_EQ(tally.output_errors, 1u);
  EXPECT_EQ(tally.input_tokens, 7u);
  EXPECT_EQ(tally.output_tokens, 3u);
  EXPECT_EQ(tally.finish_reasons.at("stop"), 1u);
  EXPECT_EQ(tally.first_token_ms.count(), 1u);
}

// A listener that reads no requests: the answer is read for the control plane alone.
TEST_F(Tallied, ReadsAnswersOfModelsWhereNobodyReadsTheRequests) {
  t.manager().model.reset();
  t.upstream("10.0.1.1").reply_header("content-type", "text/event-stream");
  t.upstream("10.0.1.1").replies(200, "data: {\"choices\":[{\"text\":\"x\"}]}\n\n");
  t.start();
  const ClientRequest asked{.method = "POST",
                            .path = "/v1/completions",
                            .headers = {{"x-glia-model", "stays"}},
                            .body = "{}",
                            .has_body = true};
  t.send(asked);
  t.worker().tally({"service"});
  t.send(asked);
  EXPECT_EQ(taken().output_tokens, 1u);
  for (const Seen& seen : t.upstream("10.0.1.1").seen()) {
    EXPECT_EQ(seen.header("x-glia-model"), "stays");
  }
  EXPECT_EQ(t.metrics().find("gen_ai_"), std::string::npos);
}

TEST_F(Tallied, CountsAGrpcStatusThatIsTheServersFault) {
  SimWorld grpc_world(5);
  MeshWorld g(grpc_world, Codec::kHttp2, Codec::kHttp2);
  g.upstream("10.0.1.1").replies(200);
  g.upstream("10.0.1.1").reply_header("content-type", "application/grpc");
  g.start();
  g.worker().tally({"service"});
  const ClientRequest call{.method = "POST",
                           .path = "/p.S/M",
                           .headers = {{"content-type", "application/grpc"}, {"te", "trailers"}},
                           .has_body = true};
  for (const std::string status : {"0", "5", "13", "14"}) {
    g.upstream("10.0.1.1").reply_trailer("grpc-status", status);
    g.send(call);
  }
  const ClusterTally tally = g.worker().take_tallies().clusters.at("service");
  EXPECT_EQ(tally.requests, 4u);
  EXPECT_EQ(tally.errors, 2u);
}

}  // namespace
}  // namespace glia
