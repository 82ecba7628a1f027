// Answers to copies beside those that clients get: compared and counted, and clients see nothing of it.
#include "proxy/flow/shadow_pair.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/flow/shadow.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

class ShadowPairTest : public testing::TestWithParam<Codec> {
 protected:
  ShadowPairTest() : t(world, GetParam(), GetParam()) {
    for (SimUpstream* upstream : {&stable(), &next()}) {
      upstream->reply_header("content-type", "application/json");
      upstream->replies(200, R"({"id":"1","label":"cat","score":0.5})");
    }
    t.route().forward->mirrors = {{.cluster = "next"}};
    t.route().compare = std::make_shared<const CompareRules>(CompareRules{.absolute = 0.01});
  }
  SimUpstream& stable() { return t.upstream("10.0.1.1"); }
  SimUpstream& next() { return t.upstream("10.0.1.2", "next"); }
  void begin() {
    t.start();
    t.worker().tally({"next"});
  }
  Answer ask() {
    Answer answer = t.get();
    t.advance(10s);
    return answer;
  }
  ClusterTally::Shadow taken() { return t.worker().take_tallies().clusters.at("next").shadow; }
  bool shows(std::string_view name, int value) {
    return t.metrics().find(cat("glia_http_shadow_", name, "_total{envoy_http_conn_manager_prefix=",
                                "\"in\"} ", value, "\n")) != std::string::npos;
  }
  SimWorld world{11};
  MeshWorld t;
};

INSTANTIATE_TEST_SUITE_P(Protocols, ShadowPairTest, testing::Values(Codec::kHttp1, Codec::kHttp2),
                         [](const testing::TestParamInfo<Codec>& info) {
                           return info.param == Codec::kHttp1 ? "Http1" : "Http2";
                         });

TEST_P(ShadowPairTest, CountsWhatIsTheSameAndWhatDiffersByField) {
  begin();
  next().replies(200, R"({"score":0.501,"label":"cat","id":"2"})");
  EXPECT_EQ(ask().body, R"({"id":"1","label":"cat","score":0.5})");
  next().replies(200, R"({"id":"2","label":"dog","score":0.9})");
  ask();
  const ClusterTally::Shadow shadow = taken();
  EXPECT_EQ(shadow.sent, 2u);
  EXPECT_EQ(shadow.failed, 0u);
  EXPECT_EQ(shadow.compared, 2u);
  EXPECT_EQ(shadow.different, 1u);
  EXPECT_EQ(shadow.fields, (ClusterTally::Counts{{"label", 1}, {"score", 1}}));
  EXPECT_EQ(shadow.latency_ms.count(), 2u);
  EXPECT_EQ(shadow.answered_latency_ms.count(), 2u);
  EXPECT_TRUE(shows("compared", 2) && shows("different", 1) && shows("skipped", 0)) << t.metrics();
}

TEST_P(ShadowPairTest, WaitsForTheSlowerOfBothAndNeverHoldsUpTheClient) {
  begin();
  next().replies(200, R"({"label":"cat","score":0.5})", 5s);
  const TimePoint before = world.loop().now();
  EXPECT_EQ(t.get().status, 200);
  EXPECT_LT(world.loop().now() - before, 1s);
  EXPECT_EQ(taken().compared, 0u);
  t.advance(10s);
  ClusterTally::Shadow shadow = taken();
  EXPECT_EQ(shadow.compared, 1u);
  EXPECT_GT(shadow.latency_ms.quantile(1), 4900);
  EXPECT_LT(shadow.answered_latency_ms.quantile(1), 1000);
  stable().replies(200, R"({"label":"cat","score":0.5})", 3s);
  next().replies(200, R"({"label":"cat","score":0.5})");
  ask();
  EXPECT_EQ(taken().compared, 1u);
}

TEST_P(ShadowPairTest, CountsACopyThatFailsAndNotOneThatFailsAsTheOriginalDid) {
  begin();
  next().replies(503, "{}");
  EXPECT_EQ(ask().status, 200);
  stable().replies(503, "{}");
  ask();
  ClusterTally::Shadow shadow = taken();
  EXPECT_EQ(shadow.sent, 2u);
  EXPECT_EQ(shadow.failed, 1u);
  EXPECT_EQ(shadow.compared, 1u);  // Two refusals that say the same.
  stable().replies(200, "{}");
  next().dies();
  EXPECT_EQ(ask().status, 200);
  EXPECT_EQ(taken().failed, 1u);
}

TEST_P(ShadowPairTest, TakesAnotherStatusForADifference) {
  begin();
  next().replies(404, R"({"error":"no such model"})");
  EXPECT_EQ(ask().status, 200);
  EXPECT_EQ(taken().fields, (ClusterTally::Counts{{"status", 1}}));
}

TEST_P(ShadowPairTest, SkipsWhatIsTooLongOrNoJson) {
  begin();
  next().replies(200, cat("\"", std::string(300 * 1024, 'x'), "\""));
  EXPECT_EQ(ask().status, 200);
  EXPECT_EQ(taken().skipped, 1u);
  next().reply_header("content-type", "text/event-stream");
  next().replies(200, "data: {}\n\n");
  ask();
  next().reply_header("content-type", "application/json");
  next().reply_header("content-encoding", "br");
  next().replies(200, "????");
  ask();
  EXPECT_EQ(taken().skipped, 2u);
  EXPECT_TRUE(shows("compared", 0) && shows("skipped", 3)) << t.metrics();
}

TEST_P(ShadowPairTest, ComparesNothingWhereTheClientLeft) {
  begin();
  stable().replies(200, "{}", 5s);
  t.client().send({.path = "/"});
  t.advance(1s);
  t.client().drop();
  t.advance(10s);
  const ClusterTally::Shadow shadow = taken();
  EXPECT_EQ(shadow.sent, 1u);
  EXPECT_EQ(shadow.failed, 0u);
  EXPECT_EQ(shadow.compared + shadow.skipped, 0u);
  EXPECT_EQ(shadow.answered_latency_ms.count(), 0u);
}

TEST_P(ShadowPairTest, CountsCopiesForACanaryWithoutComparingThem) {
  t.route().compare = nullptr;
  begin();
  next().replies(500, "no");
  ask();
  const ClusterTally::Shadow shadow = taken();
  EXPECT_EQ(shadow.sent, 1u);
  EXPECT_EQ(shadow.failed, 1u);
  EXPECT_EQ(shadow.latency_ms.count(), 1u);
  EXPECT_EQ(shadow.compared + shadow.skipped, 0u);
}

// Many long answers at once: those for which there is no room are skipped, and the room comes back.
TEST_P(ShadowPairTest, KeepsABoundedAmountOfManyAtOnce) {
  t.route().compare =
      std::make_shared<const CompareRules>(CompareRules{.kept_bytes = 4 * 1024 * 1024});
  const std::string large = cat("\"", std::string(1024 * 1024, 'x'), "\"");
  stable().replies(200, large);
  t.route().forward->timeout = 100s;
  next().replies(200, large, 20s);  // Until then all of the originals' answers are kept.
  begin();
  constexpr int kCalls = 24;
  std::vector<std::unique_ptr<SimClient>> clients;
  std::vector<std::shared_ptr<const Answer>> answers;
  for (int i = 0; i < kCalls; ++i) {
    clients.push_back(
        std::make_unique<SimClient>(world, cat("10.0.9.", 10 + i), t.address(), GetParam()));
    answers.push_back(clients.back()->send({.path = "/"}));
  }
  ASSERT_TRUE(world.run_until(
      [&] { return std::ranges::all_of(answers, [](const auto& one) { return one->finished; }); },
      15s));
  for (const auto& answer : answers) EXPECT_EQ(answer->body.size(), large.size());
  t.advance(60s);
  ClusterTally::Shadow shadow = taken();
  EXPECT_EQ(shadow.compared + shadow.skipped, static_cast<uint64_t>(kCalls));
  EXPECT_GT(shadow.skipped, 0u);
  next().replies(200, large);
  ask();
  EXPECT_EQ(taken().compared, 1u);
}

}  // namespace
}  // namespace glia
