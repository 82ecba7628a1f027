// Requests for hosts that a drawing does not have, while somebody is asked for them.
#include "proxy/mesh/discovery.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

class DiscoveryTest : public testing::Test {
 protected:
  DiscoveryTest() {
    t.upstream("10.0.1.1").replies(200, "hello");
    t.hosts().front().name = "known";
    t.hosts().front().domains = {"known"};
    VirtualHost unknown{.name = "unknown", .domains = {"*"}, .routes = {}};
    Route& route = unknown.routes.emplace_back();
    route.name = "unknown";
    route.direct = DirectAction{.status = 404, .body = "nobody"};
    route.discover = DiscoverHost{.timeout = 5s};
    t.hosts().push_back(std::move(unknown));
    t.worker().discovery().ask_by([this](const std::string& host, Duration limit) {
      asked.push_back(cat(host, " ", limit / 1s));
    });
    t.start();
  }
  std::shared_ptr<const Answer> send(const std::string& authority) {
    return t.client().send({.authority = authority});
  }
  // The drawing has it now.
  void draw(const std::string& host) {
    VirtualHost more = t.hosts().front();
    more.name = host;
    more.domains = {host};
    t.hosts().push_back(std::move(more));
    t.publish();
    t.advance(10ms);
  }

  SimWorld world_{1};
  MeshWorld t{world_};
  std::vector<std::string> asked;
};

TEST_F(DiscoveryTest, TheFirstRequestWaitsForTheDrawingThatHasItsHost) {
  const auto answer = send("Reco:80");
  t.advance(1s);
  EXPECT_EQ(asked, (std::vector<std::string>{"reco 5"}));
  EXPECT_FALSE(answer->finished);
  t.publish();  // Something else.
  t.advance(10ms);
  EXPECT_FALSE(answer->finished);
  draw("reco:80");
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "hello");
  asked.clear();
  EXPECT_EQ(t.send({.authority = "reco"}).status, 200);
  EXPECT_EQ(t.send({.authority = "known"}).status, 200);
  EXPECT_TRUE(asked.empty()) << asked.front();
  EXPECT_EQ(t.worker().discovery().waiting(), 0u);
}

TEST_F(DiscoveryTest, ARefusalIsTheAnswerToAllThatWaitForThatHost) {
  SimClient other(world_, "10.0.0.3", t.address(), Codec::kHttp1);
  const auto one = send("gone"), two = other.send({.authority = "gone"});
  t.advance(10ms);
  EXPECT_EQ(asked.size(), 1u);
  t.worker().discovery().refused("else", Error(ErrorKind::kNoRoute, Fault::kDownstream, "no else"));
  t.advance(10ms);
  EXPECT_FALSE(one->finished);
  t.worker().discovery().refused("gone", Error(ErrorKind::kNoRoute, Fault::kDownstream, "no gone"));
  t.advance(10ms);
  for (const auto& answer : {one, two}) {
    EXPECT_EQ(answer->status, 404);
    EXPECT_TRUE(answer->body.starts_with("no gone\n")) << answer->body;
    EXPECT_EQ(answer->header("x-glia-reason"), "no_route");
  }
}

TEST_F(DiscoveryTest, WhoLeavesWhileWaitingLeavesNothingBehind) {
  send("late");
  t.advance(10ms);
  EXPECT_EQ(t.worker().discovery().waiting(), 1u);
  t.client().drop();
  t.advance(10ms);
  EXPECT_EQ(t.worker().discovery().waiting(), 0u);
  draw("late");
  EXPECT_EQ(t.send({.authority = "late"}).status, 200);
}

TEST_F(DiscoveryTest, DrawingsThatDoNotHaveItDoNotKeepARequestForEver) {
  const auto answer = send("never");
  for (int second = 0; second < 6; ++second) {
    t.advance(1s);
    t.publish();
  }
  t.advance(10ms);
  EXPECT_EQ(answer->status, 503);
  EXPECT_TRUE(answer->body.starts_with("the way to never was not complete after 5000 ms"))
      << answer->body;
}

// Whom the main thread takes to be served already, by another table of routes, it refuses nothing; and of
// two that wait for one host neither asks again, as the other does.
TEST_F(DiscoveryTest, WhoIsNeverRefusedDoesNotWaitLongerThanItsRouteSays) {
  SimClient other(world_, "10.0.0.3", t.address(), Codec::kHttp1);
  const auto one = send("elsewhere"), two = other.send({.authority = "elsewhere"});
  t.advance(1s);
  t.publish();  // Without it.
  t.advance(3900ms);
  EXPECT_FALSE(one->finished);
  t.advance(500ms);
  for (const auto& answer : {one, two}) {
    EXPECT_EQ(answer->status, 503);
    EXPECT_TRUE(answer->body.starts_with("the way to elsewhere was not complete after 5000 ms"))
        << answer->body;
  }
  EXPECT_EQ(t.worker().discovery().waiting(), 0u);
}

// As where everything is held: a Host that is no Service's goes where its connection was going.
TEST_F(DiscoveryTest, WhatACapturedConnectionWasForCountsWhereItsHostMeansNothing) {
  const Address meant = *Address::parse("10.96.0.10:80"), other = *Address::parse("10.9.9.9:80");
  world_.fabric().capture(meant, t.address());
  world_.fabric().capture(other, t.address());
  SimClient client(world_, "10.0.0.3", meant, Codec::kHttp1);
  SimClient stranger(world_, "10.0.0.4", other, Codec::kHttp1);
  const auto answer = client.send({.authority = "example.com"});
  const auto nothing = stranger.send({.authority = "example.com"});
  const auto is_nobody = [this](std::string_view host) {
    t.worker().discovery().refused(
        host, Error(ErrorKind::kNoRoute, Fault::kDownstream, cat("nobody is ", host)));
    t.advance(10ms);
  };
  t.advance(10ms);
  EXPECT_EQ(asked, (std::vector<std::string>{"example.com 5"}));
  is_nobody("example.com");
  ASSERT_EQ(asked.size(), 3u);
  draw("10.96.0.10:80");
  EXPECT_EQ(answer->status, 200);
  is_nobody("10.9.9.9:80");
  EXPECT_EQ(nothing->status, 404);
  EXPECT_TRUE(nothing->body.starts_with("nobody is example.com")) << nothing->body;
}

// So it is known what may be given back.
TEST_F(DiscoveryTest, AClusterIsSaidToBeUsedOnceForEachTimeAndWhileItIs) {
  EXPECT_EQ(t.worker().used_clusters().size(), 0u);
  EXPECT_EQ(t.send({.authority = "known"}).status, 200);
  EXPECT_EQ(t.worker().used_clusters().size(), 1u);
  EXPECT_EQ(t.worker().used_clusters().size(), 0u);
  t.upstream("10.0.1.1").hangs();
  const auto answer = send("known");
  for (int i = 0; i < 3; ++i) {
    t.advance(1s);
    EXPECT_EQ(t.worker().used_clusters().size(), 1u);
  }
  t.client().drop();
  t.advance(10ms);
  t.worker().used_clusters();
  EXPECT_EQ(t.worker().used_clusters().size(), 0u);
}

TEST_F(DiscoveryTest, OnlySoManyRequestsWait) {
  std::vector<std::unique_ptr<SimClient>> clients;
  std::vector<std::shared_ptr<const Answer>> answers;
  for (std::size_t i = 0; i <= Discovery::kMostWaiting; ++i) {
    clients.push_back(std::make_unique<SimClient>(world_, cat("10.1.", i / 250, ".", i % 250 + 1),
                                                  t.address(), Codec::kHttp1));
    answers.push_back(clients.back()->send({.authority = "crowded"}));
  }
  t.advance(100ms);
  EXPECT_EQ(t.worker().discovery().waiting(), Discovery::kMostWaiting);
  EXPECT_EQ(std::ranges::count_if(answers, [](const auto& one) { return one->status == 503; }), 1);
  draw("crowded");
  t.advance(1s);
  EXPECT_EQ(std::ranges::count_if(answers, [](const auto& one) { return one->status == 200; }),
            static_cast<std::ptrdiff_t>(Discovery::kMostWaiting));
}

}  // namespace
}  // namespace glia
