// To which cluster a request goes: where its session goes, and where its route leads by now when the
// mesh changes under it.
#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

class Choice : public testing::TestWithParam<Codec> {};

INSTANTIATE_TEST_SUITE_P(Protocols, Choice, testing::Values(Codec::kHttp1, Codec::kHttp2),
                         [](const testing::TestParamInfo<Codec>& info) {
                           return info.param == Codec::kHttp1 ? "Http1" : "Http2";
                         });

// What a change of the mesh looks like from a request that is between two attempts: the workload that
// it was sent to left, the route names another by now, and its drawing is an old one.
TEST_P(Choice, FollowsItsRouteToAnotherClusterWhenTheLastEndpointOfItsOwnHasLeft) {
  SimWorld world(10);
  MeshWorld t(world, GetParam(), GetParam());
  t.cluster().connect_timeout = 2s;
  t.upstream("10.0.1.1");
  t.upstream("10.0.1.2", "other").replies(200, "other");
  t.route().name = "shop";
  t.start();
  world.fabric().partition("10.0.0.1", "10.0.1.1");
  const auto answer = t.client().send({.method = "POST", .body = "question"});
  t.advance(1s);
  t.route().forward->clusters.front().cluster = "other";
  t.remove_endpoint("10.0.1.1");
  t.publish();
  t.advance(5s);
  EXPECT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(answer->body, "other");
  ASSERT_EQ(t.upstream("10.0.1.2").seen().size(), 1u);
  EXPECT_EQ(t.upstream("10.0.1.2").seen()[0].body, "question");
}

// A mesh that changes again while the request is on its way to where the last change sent it.
struct Wandering {
  explicit Wandering(Codec codec) : world(11), t(world, codec, codec) {
    t.cluster().connect_timeout = 2s;
    t.upstream("10.0.1.1");
    t.upstream("10.0.1.2", "second");
    t.upstream("10.0.1.3", "third").replies(200, "third");
    t.route().name = "shop";
    t.start();
    for (const char* unreachable : {"10.0.1.1", "10.0.1.2"}) {
      world.fabric().partition("10.0.0.1", unreachable);
    }
    answer = t.client().send({.method = "POST", .body = "question"});
    t.advance(1s);
    leads_to("second");
    t.remove_endpoint("10.0.1.1");
    t.publish();
    t.advance(1500ms);  // The connection to the first is given up, that to the second has begun.
    t.remove_endpoint("10.0.1.2", "second");
  }
  void leads_to(const std::string& cluster) {
    t.route().forward->clusters.front().cluster = cluster;
  }
  void go_on() {
    t.publish();
    t.publish();  // Nothing but the exchange holds the drawing that named the second first.
    t.advance(5s);
  }

  SimWorld world;
  MeshWorld t;
  std::shared_ptr<const Answer> answer;
};

TEST_P(Choice, FollowsItsRouteThroughSeveralDrawings) {
  Wandering request(GetParam());
  request.leads_to("third");
  request.go_on();
  EXPECT_EQ(request.answer->status, 200) << request.answer->body;
  EXPECT_EQ(request.answer->body, "third");
}

TEST_P(Choice, SaysWhereItWasWhenNoDrawingKnowsAnother) {
  Wandering request(GetParam());
  request.go_on();
  EXPECT_EQ(request.answer->status, 503);
  EXPECT_NE(request.answer->body.find("cluster second"), std::string::npos) << request.answer->body;
}

// Who has the same value goes to the same version, and with a greater share only to the newer one.
TEST_P(Choice, KeepsASessionAtItsVersionWhileTheShareGrows) {
  SimWorld world(13);
  MeshWorld t(world, GetParam(), GetParam());
  t.upstream("10.0.1.1").replies(200, "stable");
  t.upstream("10.0.1.2", "candidate").replies(200, "candidate");
  ForwardAction& forward = *t.route().forward;
  t.route().session = {.from = SessionKey::From::kCookie, .name = "user"};
  const auto share = [&](uint32_t percent) {
    forward.clusters = {{.cluster = "candidate", .weight = percent},
                        {.cluster = "service", .weight = 100 - percent}};
    forward.total_weight = 100;
    t.publish();
  };
  const auto version_of = [&](int user) {
    return t.send({.path = "/", .headers = {{"cookie", cat("a=b; user=u", user)}}}).body;
  };
  constexpr int kUsers = 200;
  std::vector<std::string> at(kUsers, "stable");
  for (const uint32_t percent : {10, 25, 50}) {
    share(percent);
    int moved = 0;
    for (int user = 0; user < kUsers; ++user) {
      const std::string version = version_of(user);
      EXPECT_EQ(version_of(user), version);
      if (at[static_cast<std::size_t>(user)] == "candidate")
        EXPECT_EQ(version, "candidate") << user;
      at[static_cast<std::size_t>(user)] = version;
      moved += version == "candidate";
    }
    EXPECT_NEAR(moved * 100 / kUsers, percent, 8);
  }
}

}  // namespace
}  // namespace glia
