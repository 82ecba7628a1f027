// CONNECT, and WebSocket where one side speaks HTTP/2, through whole workers with bytes on both sides.
#include <gtest/gtest.h>

#include "proxy/flow/raw_peers_test_support.h"
#include "proxy/http/websocket.h"

namespace glia {
namespace {

constexpr std::string_view kConnect = "CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n";
constexpr std::string_view kOpen = "HTTP/1.1 200 OK\r\n\r\n";
constexpr std::string_view kBehind = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

class Connect : public testing::Test {
 protected:
  Connect() : raw(1) {
    raw.t.manager().server.http1.connect = true;
    route(ConnectAction::kTerminate);
    raw.origin.answered_heads = 0;
  }
  void route(ConnectAction action) {
    raw.t.route().match.path.kind = PathMatch::Kind::kConnect;
    raw.t.route().forward->connect = action;
  }
  void ask(std::string_view bytes) {
    raw.t.start();
    client = raw.connect();
    client->send(std::string(bytes));
    soon();
  }
  void open(std::string_view more = "") {
    ask(cat(kConnect, more));
    ASSERT_EQ(raw.origin.connections.size(), 1u);
    ASSERT_EQ(client->received, kOpen);
    client->received.clear();
  }
  // Refused with `status`, and nothing behind it is read as a request.
  void expect_refused(std::string_view bytes, std::string_view status) {
    SCOPED_TRACE(bytes);
    ask(cat(bytes, kBehind));
    raw.world.run_for(5s);
    EXPECT_TRUE(client->received.starts_with(cat("HTTP/1.1 ", status, " "))) << client->received;
    EXPECT_EQ(count_of(client->received, "HTTP/1.1 "), 1);
    EXPECT_TRUE(client->ended);
    EXPECT_EQ(raw.origin.received(), "");
  }
  void soon() { raw.world.run_for(100ms); }
  RawOrigin::Connection& upstream() { return *raw.origin.connections.at(0); }

  RawWorld raw;
  std::unique_ptr<Party> client;
};

TEST_F(Connect, CarriesBytesToTheClusterAndBack) {
  open("early");
  EXPECT_EQ(upstream().received, "early");
  upstream().received.clear();
  for (int i = 0; i < 10; ++i) {
    client->send(std::string(kBehind));
    upstream().send(std::string(kOk));
    soon();
  }
  EXPECT_EQ(upstream().received.size(), 10 * kBehind.size()) << "nothing is added";
  EXPECT_EQ(client->received.size(), 10 * kOk.size());
  EXPECT_EQ(raw.upstream_requests(), 1u);
  EXPECT_EQ(raw.metric("envoy_cluster_upstream_cx_total{"), 1u);
}

TEST_F(Connect, LetsEitherSideEndFirst) {
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
  EXPECT_EQ(raw.metric("envoy_cluster_upstream_cx_active{"), 0u);
  EXPECT_EQ(raw.metric("envoy_cluster_upstream_rq_active{"), 0u);
}

// The upstream ended and reads slowly what still comes: all of it arrives.
TEST_F(Connect, LosesNothingBehindAnUpstreamThatEndedFirst) {
  open();
  upstream().send("bye", true);
  soon();
  EXPECT_TRUE(client->ended);
  upstream().stream->pause_reading(true);
  client->send(std::string(3'000'000, 'x'), true);
  raw.world.run_for(1s);
  upstream().stream->pause_reading(false);
  raw.world.run_until([&] { return upstream().ended; }, 100s);
  EXPECT_EQ(upstream().received.size(), 3'000'000u);
  EXPECT_TRUE(upstream().ended);
  soon();
  EXPECT_EQ(raw.metric("envoy_cluster_upstream_cx_active{"), 0u);
}

TEST_F(Connect, EndsOneSideWhenTheOtherBreaks) {
  open();
  client->stream->abort();
  client.reset();
  soon();
  EXPECT_TRUE(upstream().ended || upstream().broken);
  EXPECT_EQ(raw.metric("envoy_http_downstream_rq_active{"), 0u);
  EXPECT_EQ(raw.metric("envoy_cluster_upstream_cx_active{"), 0u);
  ask(kConnect);
  EXPECT_EQ(client->received, kOpen);
  raw.origin.connections.at(1)->stream->abort();
  raw.origin.connections.clear();
  soon();
  EXPECT_TRUE(client->ended || client->broken);
  EXPECT_EQ(raw.metric("envoy_http_downstream_rq_active{"), 0u);
}

TEST_F(Connect, PassesOnWhatAnUpstreamSaysFirst) {
  raw.t.start();
  client = raw.connect();
  client->send(std::string(kConnect));
  ASSERT_TRUE(raw.world.run_until([&] { return raw.origin.connections.size() == 1; }, 1s));
  upstream().send("220 ready");
  soon();
  EXPECT_EQ(client->received, cat(kOpen, "220 ready"));
}

TEST_F(Connect, HoldsBackWhatComesBeforeTheAnswer) {
  route(ConnectAction::kForward);
  ask(cat(kConnect, kBehind));
  const std::string head = upstream().received;
  EXPECT_TRUE(head.starts_with("CONNECT db.test:5432 HTTP/1.1\r\nhost: db.test:5432\r\n")) << head;
  EXPECT_EQ(count_of(head, "\r\n\r\n"), 1) << head;
  EXPECT_EQ(head.find("upgrade"), head.npos);
  upstream().received.clear();
  // Lengths in an answer that opens a tunnel mean nothing (RFC 9110 section 9.3.6).
  upstream().send("HTTP/1.0 200 Connection established\r\ncontent-length: 5\r\n\r\nhello there");
  soon();
  EXPECT_EQ(client->received, cat(kOpen, "hello there"));
  EXPECT_EQ(upstream().received, kBehind);
}

TEST_F(Connect, PassesAnUpstreamsRefusalOnAndReadsNothingBehindIt) {
  route(ConnectAction::kForward);
  ask(cat(kConnect, kBehind));
  upstream().send("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\n\r\nno");
  raw.world.run_for(5s);
  EXPECT_EQ(client->received, "HTTP/1.1 407 \r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
  EXPECT_TRUE(client->ended);
  EXPECT_EQ(raw.origin.received().find("smuggled"), std::string::npos);
}

TEST_F(Connect, RefusesAnUpstreamThatSwitchesInstead) {
  route(ConnectAction::kForward);
  ask(kConnect);
  upstream().send("HTTP/1.1 101 S\r\nupgrade: connect\r\nconnection: upgrade\r\n\r\nevil");
  soon();
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 502 ")) << client->received;
}

TEST_F(Connect, IsUnavailableWhenNobodyListens) {
  raw.t.remove_endpoint("10.0.1.1");
  raw.t.add_endpoint(*Address::ip("10.0.1.9", 8080));
  expect_refused(kConnect, "503");
}

TEST_F(Connect, IsRefusedUnlessTheRouteOrTheManagerAllowsIt) {
  route(ConnectAction::kRefuse);
  expect_refused(kConnect, "405");
  expect_signed(client->received, "method_not_allowed");
  route(ConnectAction::kAsManager);
  expect_refused(kConnect, "405");
  EXPECT_EQ(count_of(client->received, "CONNECT is not allowed on this route"), 1);
  raw.t.manager().connect = true;
  ask(kConnect);
  EXPECT_TRUE(upstream().received.starts_with("CONNECT db.test:5432 HTTP/1.1\r\n"));
}

TEST_F(Connect, TakesOnlyTheRoutesThatAreForIt) {
  raw.t.route().match.path.kind = PathMatch::Kind::kPrefix;
  expect_refused(kConnect, "404");
  raw.t.route().match.path = {.kind = PathMatch::Kind::kRegex,
                              .text = *TextMatcher::create(TextMatcher::Kind::kRegex, ".*")};
  expect_refused(kConnect, "404");
  route(ConnectAction::kTerminate);
  raw.t.start();
  EXPECT_TRUE(raw.ask(std::string(kValidRequest)).starts_with("HTTP/1.1 404 "));
}

TEST_F(Connect, IsNotOpenedByAnAnswerOfOurOwn) {
  raw.t.route().forward.reset();
  raw.t.route().direct = DirectAction{.status = 200, .body = "tunnel?"};
  expect_refused(kConnect, "500");
}

TEST_F(Connect, NeedsAHostAndAPortAndNothingElse) {
  for (const char* target :
       {"db.test", "db.test:", ":5432", "db.test:0", "db.test:65536", "db.test:x", "db.test:1:2",
        "me@db.test:5432", "db.test:5432/", "db.test:5432?x", "http://db.test:5432", "[::1]", "::1",
        "/", "*", "db%2etest:5432", "db.test:5432,evil.test:1"}) {
    expect_refused(cat("CONNECT ", target, " HTTP/1.1\r\nHost: db.test:5432\r\n\r\n"), "400");
  }
  const std::string line = "CONNECT db.test:5432 HTTP/1.1\r\n";
  const std::string host = "Host: db.test:5432\r\n";
  expect_refused(cat(line, "\r\n"), "400");
  expect_refused(cat(line, "Host: evil.test\r\n\r\n"), "400");
  expect_refused(cat(line, "Host: db.test:80\r\n\r\n"), "400");
  expect_refused(cat(line, host, host, "\r\n"), "400");
  expect_refused(cat(line, host, "Content-Length: 5\r\n\r\nhello"), "400");
  expect_refused(cat(line, host, "Content-Length: 0\r\n\r\n"), "400");
  expect_refused(cat(line, host, "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400");
}

TEST_F(Connect, TakesTheHostWithoutThePortAndWithoutRegardToCase) {
  ask("CONNECT [::1]:5432 HTTP/1.1\r\nHost: [::1]\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client->received, kOpen);
  ask("CONNECT db.test:443 HTTP/1.1\r\nHost: DB.test:443\r\nUpgrade: websocket\r\n"
      "Connection: upgrade\r\n\r\n");
  EXPECT_EQ(client->received, kOpen);
}

TEST_F(Connect, SaysTheTargetInOneSpellingWithItsPort) {
  route(ConnectAction::kForward);
  ask("CONNECT DB.Test.:080 HTTP/1.1\r\nHost: db.test.:080\r\n\r\n");
  EXPECT_TRUE(
      upstream().received.starts_with("CONNECT db.test:80 HTTP/1.1\r\nhost: db.test:80\r\n"))
      << upstream().received;
}

TEST_F(Connect, SlowsTheSenderDownToThePaceOfTheReader) {
  open();
  expect_sender_slowed(raw, *client, upstream());
}

TEST_F(Connect, OutlivesTheRoutesTimeAndEndsWhenNothingMoves) {
  raw.t.route().forward->timeout = 2s;
  raw.t.manager().stream_idle_timeout = 30s;
  open();
  expect_end_when_idle(raw, *client, upstream());
}

// Bytes - HTTP/1.1 - a proxy - HTTP/2 - a proxy - bytes, or HTTP/1.1 again.
class Chain : public testing::Test {
 protected:
  Chain()
      : world(1),
        first(world, Codec::kHttp1, Codec::kHttp2, "10.0.0.2"),
        second(world, Codec::kHttp2, Codec::kHttp1, "10.0.0.1"),
        origin(world, kOrigin) {
    first.add_endpoint(*Address::ip("10.0.0.1", 80));
    second.add_endpoint(kOrigin);
    origin.answered_heads = 0;
    for (MeshWorld* proxy : {&first, &second}) {
      proxy->manager().server.http1.upgrades = {"websocket"};
      proxy->manager().server.limits.allow_connect = true;
      proxy->cluster().http.allow_connect = true;
    }
  }
  void connects(ConnectAction at_the_end) {
    for (MeshWorld* proxy : {&first, &second}) {
      proxy->manager().server.http1.connect = true;
      proxy->route().match.path.kind = PathMatch::Kind::kConnect;
      proxy->route().forward->connect = ConnectAction::kForward;
    }
    second.route().forward->connect = at_the_end;
  }
  void ask(std::string_view bytes) {
    first.start();
    second.start();
    client = std::make_unique<Party>(world.host("10.0.0.7").connect(*Address::ip("10.0.0.2", 80)));
    client->send(std::string(bytes));
    soon();
  }
  void soon() { world.run_for(200ms); }
  RawOrigin::Connection& upstream() { return *origin.connections.at(0); }
  // What comes behind `name` in the head that the origin got.
  std::string field(std::string_view name) {
    const std::string& head = upstream().received;
    const std::size_t at = head.find(cat("\r\n", name, ": "));
    if (at == head.npos) return "";
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
  void expect_both_ways_until_each_ends() {
    client->received.clear();
    upstream().received.clear();
    for (int i = 0; i < 5; ++i) {
      client->send(std::string(kBehind));
      upstream().send(std::string(kOk));
      soon();
    }
    EXPECT_EQ(upstream().received.size(), 5 * kBehind.size());
    EXPECT_EQ(client->received.size(), 5 * kOk.size());
    client->send("last", true);
    soon();
    EXPECT_TRUE(upstream().received.ends_with("last"));
    EXPECT_TRUE(upstream().ended);
    EXPECT_FALSE(client->ended);
    upstream().send("more", true);
    soon();
    EXPECT_TRUE(client->received.ends_with("more"));
    EXPECT_TRUE(client->ended);
    for (MeshWorld* proxy : {&first, &second}) {
      EXPECT_NE(
          proxy->metrics().find("downstream_rq_active{envoy_http_conn_manager_prefix=\"in\"} 0\n"),
          std::string::npos);
    }
  }

  const Address kOrigin = *Address::ip("10.0.1.1", 8080);
  SimWorld world;
  MeshWorld first, second;
  RawOrigin origin;
  std::unique_ptr<Party> client;
};

TEST_F(Chain, CarriesATunnelThroughAnHttp2Stream) {
  connects(ConnectAction::kTerminate);
  ask(cat(kConnect, "early"));
  EXPECT_EQ(client->received, kOpen);
  EXPECT_EQ(upstream().received, "early");
  expect_both_ways_until_each_ends();
}

TEST_F(Chain, AsksTheNextProxyForATunnel) {
  connects(ConnectAction::kForward);
  ask(kConnect);
  EXPECT_TRUE(upstream().received.starts_with("CONNECT db.test:5432 HTTP/1.1\r\n"));
  upstream().send("HTTP/1.1 200 OK\r\n\r\nhi");
  soon();
  EXPECT_EQ(client->received, cat(kOpen, "hi"));
  expect_both_ways_until_each_ends();
}

TEST_F(Chain, ResetsTheStreamWhenTheUpstreamBreaks) {
  connects(ConnectAction::kTerminate);
  ask(kConnect);
  ASSERT_EQ(client->received, kOpen);
  origin.connections.clear();
  soon();
  EXPECT_TRUE(client->ended || client->broken);
}

TEST_F(Chain, CancelsTheTunnelWhenTheClientBreaks) {
  connects(ConnectAction::kTerminate);
  ask(kConnect);
  client->stream->abort();
  client.reset();
  soon();
  EXPECT_TRUE(upstream().ended || upstream().broken);
}

TEST_F(Chain, HoldsBackOverHttp2WhatComesBeforeTheAnswer) {
  connects(ConnectAction::kForward);
  ask(cat(kConnect, kBehind));
  EXPECT_EQ(upstream().received.find("smuggled"), std::string::npos);
  upstream().send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
  world.run_for(5s);
  EXPECT_EQ(client->received,
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
  EXPECT_EQ(origin.received().find("smuggled"), std::string::npos);
}

constexpr std::string_view kWebSocketAsk =
    "GET /chat?room=1 HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

constexpr std::string_view kAgree =
    "HTTP/1.1 101 S\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ";

// RFC 6455 section 1.3 has this key and its answer.
TEST_F(Chain, TranslatesWebSocketToHttp2AndBack) {
  ask(kWebSocketAsk);
  ASSERT_EQ(origin.connections.size(), 1u);
  EXPECT_TRUE(upstream().received.starts_with("GET /chat?room=1 HTTP/1.1\r\nhost: a.test\r\n"))
      << upstream().received;
  EXPECT_TRUE(upstream().received.ends_with("connection: upgrade\r\nupgrade: websocket\r\n\r\n"));
  EXPECT_EQ(field("sec-websocket-version"), "13");
  EXPECT_EQ(field("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(client->received, "");
  upstream().send(
      cat(kAgree, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\n\r\n"));
  soon();
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 101 Switching Protocols\r\n"))
      << client->received;
  EXPECT_EQ(count_of(client->received, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            1);
  EXPECT_EQ(count_of(client->received, "sec-websocket-protocol: chat\r\n"), 1);
  expect_both_ways_until_each_ends();
}

// As an HTTP/2 client asks, and as an HTTP/2 server answers: without a key, and without its answer.
class Keyless : public Chain {
 protected:
  Keyless() { first.route().request_headers.push_back({.remove = {"sec-websocket-key"}}); }
};

TEST_F(Keyless, TheOriginIsAskedWithAKeyOfOurs) {
  ask(kWebSocketAsk);
  const std::string key = field("sec-websocket-key");
  EXPECT_EQ(key.size(), 24u);
  EXPECT_NE(key, "dGhlIHNhbXBsZSBub25jZQ==");
  upstream().send(cat(kAgree, websocket_accept(key), "\r\n\r\n"));
  soon();
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 101 Switching Protocols\r\n"))
      << client->received;
  EXPECT_EQ(client->received.find("sec-websocket-accept"), std::string::npos);
  expect_both_ways_until_each_ends();
}

TEST_F(Keyless, AnOriginThatDoesNotKnowTheKeyIsRefused) {
  ask(kWebSocketAsk);
  upstream().send(cat(kAgree, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nevil"));
  soon();
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 502 ")) << client->received;
  EXPECT_EQ(client->received.find("evil"), std::string::npos);
}

TEST_F(Chain, AnswersTheClientsKeyWhereTheUpstreamDoesNot) {
  second.route().response_headers.push_back({.remove = {"sec-websocket-accept"}});
  ask(kWebSocketAsk);
  upstream().send(cat(kAgree, "whatever\r\n\r\n"));
  soon();
  EXPECT_EQ(count_of(client->received, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), 1)
      << client->received;
}

TEST_F(Chain, SaysWhyIfTheNextHopOffersNoExtendedConnect) {
  second.manager().server.limits.allow_connect = false;
  ask(kWebSocketAsk);
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 502 ")) << client->received;
  EXPECT_NE(client->received.find("RFC 8441"), std::string::npos);
  EXPECT_TRUE(origin.connections.empty());
}

TEST_F(Chain, RefusesAProtocolThatIsNotConfigured) {
  second.manager().server.http1.upgrades.clear();
  ask(kWebSocketAsk);
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 501 ")) << client->received;
  EXPECT_TRUE(origin.connections.empty());
}

}  // namespace
}  // namespace glia
