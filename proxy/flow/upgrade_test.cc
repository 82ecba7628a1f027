// Connections that go on with another protocol (WebSocket), and HTTP/1.0, through a whole worker with
// bytes on both sides.
#include <gtest/gtest.h>

#include "proxy/flow/raw_peers_test_support.h"

namespace glia {
namespace {

constexpr std::string_view kAsk =
    "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "
    "WebSocket\r\n"
    "Sec-WebSocket-Key: x\r\n\r\n";
constexpr std::string_view kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: y\r\n\r\n";
constexpr std::string_view kSwitchDown =
    "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: y\r\nconnection: upgrade\r\n"
    "upgrade: websocket\r\n\r\n";

class Upgrade : public testing::Test {
 protected:
  Upgrade() : raw(1) {
    raw.t.manager().server.http1.upgrades = {"websocket"};
    raw.origin.answered_heads = 0;
  }
  void ask(std::string_view more = "") {
    raw.t.start();
    client = raw.connect();
    client->send(cat(kAsk, more));
    soon();
    ASSERT_EQ(raw.origin.connections.size(), 1u);
  }
  void soon() { raw.world.run_for(100ms); }
  RawOrigin::Connection& upstream() { return *raw.origin.connections.at(0); }
  void open(std::string_view more = "") {
    ask();
    upstream().received.clear();
    upstream().send(cat(kSwitch, more));
    soon();
    ASSERT_EQ(client->received, cat(kSwitchDown, more));
    client->received.clear();
  }

  RawWorld raw;
  std::unique_ptr<Party> client;
};

TEST_F(Upgrade, CarriesBytesBothWaysOnceTheUpstreamAgrees) {
  ask("early");
  const std::string head = upstream().received;
  EXPECT_TRUE(head.starts_with("GET /chat HTTP/1.1\r\nhost: a.test\r\n")) << head;
  EXPECT_TRUE(head.ends_with("\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")) << head;
  EXPECT_NE(head.find("\r\nsec-websocket-key: x\r\n"), head.npos);
  upstream().received.clear();
  upstream().send(cat(kSwitch, "welcome"));
  soon();
  EXPECT_EQ(client->received, cat(kSwitchDown, "welcome"));
  EXPECT_EQ(upstream().received, "early");
  client->received.clear();
  for (int i = 0; i < 10; ++i) {
    client->send("GET / HTTP/1.1\r\n\r\n");
    upstream().send("HTTP/1.1 200 OK\r\n\r\n");
    soon();
  }
  EXPECT_EQ(count_of(upstream().received, "GET / HTTP/1.1\r\n\r\n"), 10);
  EXPECT_EQ(upstream().received.size(), 5u + 180u) << "nothing is added";
  EXPECT_EQ(client->received.size(), 190u);
  EXPECT_EQ(raw.upstream_requests(), 1u);
}

TEST_F(Upgrade, LetsEitherSideEndFirst) {
  open();
  client->send("last", true);
  soon();
  EXPECT_EQ(upstream().received, "last");
  EXPECT_TRUE(upstream().ended);
  EXPECT_FALSE(client->ended);
  upstream().send("more", true);
  soon();
  EXPECT_EQ(client->received, "more");
  EXPECT_TRUE(client->ended);
  EXPECT_EQ(raw.metric("envoy_http_downstream_cx_active{"), 0u);
  EXPECT_EQ(raw.metric("envoy_http_downstream_rq_active{"), 0u);
}

TEST_F(Upgrade, LetsTheUpstreamEndFirst) {
  open("bye");
  upstream().send("", true);
  soon();
  EXPECT_TRUE(client->ended);
  client->send(std::string(200'000, 'x'), true);
  soon();
  EXPECT_EQ(upstream().received.size(), 200'000u);
  EXPECT_TRUE(upstream().ended);
  raw.world.run_for(3s);
  EXPECT_EQ(raw.metric("envoy_http_downstream_cx_active{"), 0u);
  EXPECT_EQ(raw.metric("envoy_cluster_upstream_cx_active{"), 0u);
}

TEST_F(Upgrade, EndsOneSideWhenTheOtherBreaks) {
  open();
  upstream().send("x");
  client.reset();
  soon();
  EXPECT_TRUE(upstream().ended || upstream().broken);
  EXPECT_EQ(raw.metric("envoy_http_downstream_rq_active{"), 0u);
}

TEST_F(Upgrade, PassesAnotherAnswerOnAndReadsNothingBehindTheRequest) {
  ask("GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
  upstream().send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
  raw.world.run_for(5s);
  EXPECT_EQ(client->received,
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
  EXPECT_TRUE(client->ended);
  EXPECT_EQ(raw.origin.received().find("smuggled"), std::string::npos);
  raw.origin.answered_heads = RawOrigin::kAll;
  EXPECT_EQ(raw.ask(std::string(kValidRequest)), kOk);
}

TEST_F(Upgrade, RefusesASwitchToSomethingElse) {
  ask();
  upstream().send("HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nevil");
  raw.world.run_for(1s);
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 502 ")) << client->received;
  EXPECT_EQ(client->received.find("evil"), std::string::npos);
  EXPECT_TRUE(upstream().ended || upstream().broken);
}

TEST_F(Upgrade, SlowsTheSenderDownToThePaceOfTheReader) {
  open();
  expect_sender_slowed(raw, *client, upstream());
}

TEST_F(Upgrade, OutlivesTheRoutesTimeAndEndsWhenNothingMoves) {
  raw.t.route().forward->timeout = 2s;
  raw.t.manager().stream_idle_timeout = 30s;
  open();
  expect_end_when_idle(raw, *client, upstream());
}

TEST_F(Upgrade, WaitsForTheSwitchAsLongAsTheRouteAllows) {
  raw.t.route().forward->timeout = 2s;
  ask();
  raw.world.run_for(3s);
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 504 ")) << client->received;
}

TEST(UpgradeToHttp2, IsABadGateway) {
  SimWorld world(1);
  MeshWorld t(world, Codec::kHttp1, Codec::kHttp2);
  t.upstream("10.0.1.1").replies(200);
  t.manager().server.http1.upgrades = {"websocket"};
  t.start();
  Party client(world.host("10.0.0.7").connect(*Address::ip("10.0.0.1", 80)));
  client.send(std::string(kAsk));
  world.run_for(1s);
  EXPECT_TRUE(client.received.starts_with("HTTP/1.1 502 ")) << client.received;
  EXPECT_NE(client.received.find("needs HTTP/1.1"), std::string::npos) << client.received;
  EXPECT_TRUE(t.upstream("10.0.1.1").seen().empty());
}

// An answer that stands still after its head: the client's connection ends, as its stream does on HTTP/2.
TEST(StandingStill, EndsTheConnectionOfAnAnswerThatHasBegun) {
  RawWorld raw(1);
  raw.t.manager().stream_idle_timeout = 30s;
  raw.t.route().forward->timeout = 0s;
  raw.t.start();
  raw.origin.answered_heads = 0;
  auto client = raw.connect();
  client->send(std::string(kValidRequest));
  raw.world.run_for(1s);
  raw.origin.connections.at(0)->send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel");
  raw.world.run_for(29s);
  EXPECT_FALSE(client->ended);
  raw.world.run_for(40s);
  EXPECT_TRUE(client->ended || client->broken);
  EXPECT_TRUE(raw.origin.connections[0]->ended || raw.origin.connections[0]->broken);
  EXPECT_EQ(raw.metric("envoy_http_downstream_rq_active{"), 0u);
}

TEST(OldClient, ReadsUntilTheEndOfTheConnection) {
  RawWorld raw(1);
  raw.t.manager().server.http1.accept_http_10 = true;
  raw.t.manager().server.http1.default_host = "a.test";
  raw.t.start();
  raw.origin.answered_heads = 0;
  auto client = raw.connect();
  client->send("GET / HTTP/1.0\r\n\r\n");
  raw.world.run_for(1s);
  EXPECT_TRUE(raw.origin.received().starts_with("GET / HTTP/1.1\r\nhost: a.test\r\n"));
  raw.origin.connections.at(0)->send(
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  raw.world.run_for(1s);
  EXPECT_EQ(client->received, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
  EXPECT_TRUE(client->ended);
}

}  // namespace
}  // namespace glia
