// Probes of the application, asked through the sidecar.
#include "proxy/server/app_probes.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

TEST(AppProbeTest, IsReadFromTheCommandLine) {
  const auto http = parse_app_probe("web/readiness=http://:8080/ready?a=b");
  ASSERT_TRUE(http.ok());
  EXPECT_EQ(http->name, "web/readiness");
  EXPECT_EQ(http->port, 8080);
  EXPECT_EQ(http->path, "/ready?a=b");
  const auto tcp = parse_app_probe("db/liveness=tcp://:5432");
  ASSERT_TRUE(tcp.ok());
  EXPECT_EQ(tcp->port, 5432);
  EXPECT_EQ(tcp->path, "");
  for (const char* const text : {"", "a", "=http://:1/", "a=", "a=http://:0/", "a=http://:65536/",
                                 "a=http://:80", "a=tcp://:80/x", "a=http://host:80/",
                                 "a=https://:80/", "a=http://:80/a b", "a b=tcp://:1"}) {
    const auto wrong = parse_app_probe(text);
    ASSERT_FALSE(wrong.ok()) << text;
    EXPECT_NE(wrong.error().message().find("not NAME=http://:PORT/PATH"), std::string::npos);
  }
}

class AppProbesTest : public testing::Test {
 protected:
  AppProbesTest()
      : application_(world_, *Address::ip("127.0.0.1", 8080), Codec::kHttp1),
        probes_(world_.loop(), world_.host("127.0.0.1"),
                {*parse_app_probe("web/readiness=http://:8080/ready"),
                 *parse_app_probe("web/liveness=tcp://:8080"),
                 *parse_app_probe("none/liveness=tcp://:9")}),
        kubelet_(world_, "10.0.0.2", *Address::ip("127.0.0.1", AppProbes::kPort), Codec::kHttp1) {
    EXPECT_TRUE(probes_.listen(*Address::ip("127.0.0.1", AppProbes::kPort)).ok());
  }
  std::shared_ptr<const Answer> ask(std::string path, std::string method = "GET") {
    const auto got = kubelet_.send(
        {.method = std::move(method), .path = std::move(path), .headers = {{"x-probe", "yes"}}});
    world_.run_for(1s);
    return got;
  }

  SimWorld world_{1};
  SimUpstream application_;
  AppProbes probes_;
  SimClient kubelet_;
};

TEST_F(AppProbesTest, TheApplicationAnswersThroughTheSidecar) {
  application_.replies(200, "fine");
  auto got = ask("/app-probe/web/readiness");
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, "fine");
  ASSERT_EQ(application_.seen().size(), 1u);
  EXPECT_EQ(application_.seen()[0].path, "/ready");
  EXPECT_EQ(application_.seen()[0].header("x-probe"), "yes");
  application_.replies(503, std::string(100'000, 'x'));
  got = ask("/app-probe/web/readiness");
  EXPECT_EQ(got->status, 503);
  EXPECT_EQ(got->body.size(), AppProbes::kShown);
}

TEST_F(AppProbesTest, AConnectionIsAnswerEnoughForTcp) {
  EXPECT_EQ(ask("/app-probe/web/liveness")->status, 200);
  const auto got = ask("/app-probe/none/liveness");
  EXPECT_EQ(got->status, 503);
  EXPECT_NE(got->body.find("the application does not answer on port 9"), std::string::npos);
}

TEST_F(AppProbesTest, AnApplicationThatListensOnIpv6AloneIsFound) {
  SimUpstream modern(world_, *Address::ip("::1", 9), Codec::kHttp1);
  EXPECT_EQ(ask("/app-probe/none/liveness")->status, 200);
}

// Anybody may ask here, so nobody is vouched for.
TEST_F(AppProbesTest, WhatASidecarSaysOfACallerDoesNotPass) {
  application_.replies(200);
  kubelet_.send({.path = "/app-probe/web/readiness",
                 .headers = {{"x-probe", "yes"},
                             {"x-forwarded-client-cert", "URI=spiffe://mesh/admin"},
                             {"x-forwarded-for", "10.0.0.9"},
                             {"forwarded", "for=10.0.0.9"}}});
  world_.run_for(1s);
  ASSERT_EQ(application_.seen().size(), 1u);
  const auto& seen = application_.seen()[0];
  EXPECT_EQ(seen.header("x-probe"), "yes");
  EXPECT_EQ(seen.header("x-forwarded-client-cert"), "");
  EXPECT_EQ(seen.header("x-forwarded-for"), "");
  EXPECT_EQ(seen.header("forwarded"), "");
}

// A pod whose probes are not answered is restarted.
TEST_F(AppProbesTest, WhoHoldsConnectionsOpenKeepsNobodyOut) {
  std::vector<std::unique_ptr<SimClient>> many;
  for (std::size_t i = 0; i < SmallServer::kMostConnections; ++i) {
    many.push_back(std::make_unique<SimClient>(
        world_, "10.0.0.3", *Address::ip("127.0.0.1", AppProbes::kPort), Codec::kHttp1));
    many.back()->send({.path = "/app-probe/web/liveness"});
  }
  world_.run_for(1s);
  EXPECT_EQ(ask("/app-probe/web/liveness")->status, 200);
}

// A connection that ends in the turn in which it is ended for a newer one.
TEST_F(AppProbesTest, TheOldestMayEndByItselfMeanwhile) {
  const Address at = *Address::ip("127.0.0.1", AppProbes::kPort);
  std::deque<std::unique_ptr<SimClient>> many;
  const auto open = [&] {
    many.push_back(std::make_unique<SimClient>(world_, "10.0.0.3", at, Codec::kHttp1));
    many.back()->send({.path = "/app-probe/web/liveness"});
  };
  for (std::size_t i = 0; i < SmallServer::kMostConnections; ++i) open();
  world_.run_for(1s);
  for (int round = 0; round < 40; ++round) {
    if (round % 2 == 0) open();
    many.pop_front();
    if (round % 2 == 1) open();
    open();
    world_.run_for(Duration(world_.random().below(2'000'000)));
  }
  world_.run_for(1s);
  EXPECT_EQ(ask("/app-probe/web/liveness")->status, 200);
}

TEST_F(AppProbesTest, OnlyWhatIsNamedCanBeAsked) {
  for (const char* const path : {"/", "/ready", "/app-probe/", "/app-probe/web", "/admin",
                                 "/app-probe/web/readiness/../x"}) {
    EXPECT_EQ(ask(path)->status, 404) << path;
  }
  EXPECT_EQ(ask("/app-probe/web/readiness", "POST")->status, 405);
  EXPECT_TRUE(application_.seen().empty());
}

TEST_F(AppProbesTest, AnApplicationThatHangsIsNotWaitedForForEver) {
  application_.hangs();
  const auto got = ask("/app-probe/web/readiness");
  EXPECT_FALSE(got->finished);
  world_.run_for(AppProbes::kLongest);
  EXPECT_EQ(got->status, 504);
}

}  // namespace
}  // namespace glia
