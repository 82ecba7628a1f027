// Streams through a real worker: nothing is held, who leaves is missed at once, who is slow slows
// nobody else, and every time that can run out does.
#include <gtest/gtest.h>

#include <sstream>
#include <tuple>

#include "proxy/base/text.h"
#include "test/harness/live_peer.h"
#include "test/harness/mesh_world.h"
#include "test/sim/party.h"

namespace glia {
namespace {

constexpr std::string_view kProxy = "10.0.0.1";

using Protocols = std::tuple<Codec, Codec>;

std::string_view word(Codec codec) { return codec == Codec::kHttp1 ? "Http1" : "Http2"; }

// A proxy between a live client and a live upstream.
struct Between {
  Between(SimWorld& sim, Codec down, Codec up)
      : world(sim), mesh(sim, down, up), upstream(sim, "10.0.1.1", up) {
    mesh.add_endpoint(*Address::ip("10.0.1.1", 8080));
    mesh.cluster().http.streams = 1000;
    mesh.route().forward->timeout = 0s;
  }
  // Publishes, connects, and waits until the upstream has the request.
  LiveCall& begin(std::vector<std::pair<std::string, std::string>> headers = {},
                  bool with_body = true) {
    if (client == nullptr) {
      mesh.start();
      client = std::make_unique<LiveClient>(world, "10.0.9.8", *Address::ip(kProxy, 80),
                                            std::get<0>(codecs));
    }
    const bool grpc = !headers.empty() && headers[0].second == "application/grpc";
    LiveCall& call = client->call(cat("/", upstream.requests()), std::move(headers), with_body);
    const std::size_t before = upstream.requests();
    upstream.head(200, {{"content-type", grpc ? "application/grpc" : "text/plain"}});
    EXPECT_TRUE(world.run_until([&] { return upstream.requests() > before; }, 5s));
    return call;
  }
  LiveRequest& seen() { return upstream.request(upstream.requests() - 1); }

  SimWorld& world;
  MeshWorld mesh;
  LiveUpstream upstream;
  Protocols codecs{};
  std::unique_ptr<LiveClient> client;
};

class Streams : public testing::TestWithParam<Protocols> {
 protected:
  static constexpr SimFaults kEven = {
      .least_latency = 1ms, .most_latency = 1ms, .short_read = 0, .short_write = 0};
  std::unique_ptr<Between> make(SimWorld& world) {
    auto made = std::make_unique<Between>(world, std::get<0>(GetParam()), std::get<1>(GetParam()));
    made->codecs = GetParam();
    return made;
  }
  bool http1_down() const { return std::get<0>(GetParam()) == Codec::kHttp1; }
};

INSTANTIATE_TEST_SUITE_P(Protocols, Streams,
                         testing::Combine(testing::Values(Codec::kHttp1, Codec::kHttp2),
                                          testing::Values(Codec::kHttp1, Codec::kHttp2)),
                         [](const testing::TestParamInfo<Protocols>& info) {
                           return cat(word(std::get<0>(info.param)), "To",
                                      word(std::get<1>(info.param)));
                         });

// What the proxy did in one turn of the loop, from the network's transcript.
struct Turn {
  bool read = false, sent = false;
};

// Turns the loop until the proxy has read from `from`; what it sent to `to` in that very turn counts.
Turn turn_that_reads(SimWorld& world, std::string_view from, std::string_view to) {
  const std::string proxy = cat(kProxy, ":");
  std::size_t known = world.fabric().transcript().size();
  for (int turns = 0; turns < 1000; ++turns) {
    world.loop().turn(10ms);
    std::istringstream news(world.fabric().transcript().substr(known));
    known += news.str().size();
    Turn turn;
    std::string time, number, local, remote, what, bytes;
    while (news >> time >> number >> local >> remote >> what >> bytes) {
      if (!local.starts_with(proxy)) continue;
      if (what == "bytes" && remote.starts_with(from)) turn.read = true;
      if (what == "sends" && remote.starts_with(to)) turn.sent = true;
    }
    if (turn.read) return turn;
  }
  return {};
}

TEST_P(Streams, PassOnEveryPieceInTheTurnInWhichItCame) {
  SimWorld world(1, kEven);
  const auto t = make(world);
  LiveCall& call = t->begin();
  t->seen().answer.say("head and first piece");
  ASSERT_TRUE(world.run_until([&] { return !call.heard.text.empty(); }, 1s));
  t->mesh.advance(1s);
  world.fabric().record();
  for (int i = 0; i < 20; ++i) {
    const std::string event = cat("data: token ", i, "\n\n");
    t->seen().answer.say(event);
    const Turn down = turn_that_reads(world, "10.0.1.1", "10.0.9.8");
    EXPECT_TRUE(down.read && down.sent) << "token " << i;
    ASSERT_TRUE(world.run_until([&] { return call.heard.text.ends_with(event); }, 5ms));
    call.speech.say(event);
    const Turn up = turn_that_reads(world, "10.0.9.8", "10.0.1.1");
    EXPECT_TRUE(up.read && up.sent) << "answer " << i;
    ASSERT_TRUE(world.run_until([&] { return t->seen().heard.text.ends_with(event); }, 5ms));
    t->mesh.advance(100ms);
  }
}

TEST_P(Streams, LastLongerThanTheirPauses) {
  SimWorld world(2);
  const auto t = make(world);
  LiveCall& call = t->begin({{"accept", "text/event-stream"}}, /*with_body=*/false);
  std::string all;
  for (int minute = 0; minute < 30; ++minute) {
    t->mesh.advance(60s);
    all += cat("data: minute ", minute, "\n\n");
    t->seen().answer.say(cat("data: minute ", minute, "\n\n"));
    ASSERT_TRUE(world.run_until([&] { return call.heard.text == all; }, 5ms)) << minute;
  }
  t->seen().answer.end();
  ASSERT_TRUE(world.run_until([&] { return call.finished; }, 1s));
  EXPECT_TRUE(call.heard.ended) << call.heard.error;
}

TEST_P(Streams, LastWhenOnlyTheCallerTalks) {
  SimWorld world(3);
  const auto t = make(world);
  LiveCall& call = t->begin({{"content-type", "application/grpc"}});
  for (int minute = 0; minute < 30; ++minute) {
    t->mesh.advance(60s);
    call.speech.say("x");
  }
  t->mesh.advance(1s);
  EXPECT_EQ(t->seen().heard.text, std::string(30, 'x'));
  EXPECT_FALSE(t->seen().gone);
}

TEST_P(Streams, AreCancelledUpstreamWhenTheClientLeavesInTheMiddle) {
  SimWorld world(4);
  const auto t = make(world);
  LiveCall& call = t->begin();
  t->seen().answer.say("token");
  ASSERT_TRUE(world.run_until([&] { return call.heard.text == "token"; }, 1s));
  t->client->hang_up(call);
  EXPECT_TRUE(world.run_until([&] { return t->seen().gone; }, 50ms));
  EXPECT_NE(t->mesh.metrics().find("cx_destroy_remote_active_rq{envoy_http_conn_manager_prefix="
                                   "\"in\"} 1"),
            std::string::npos);
  EXPECT_NE(t->mesh.metrics().find("upstream_rq_tx_reset{envoy_cluster_name=\"service\"} 1"),
            std::string::npos)
      << t->mesh.metrics();
}

TEST_P(Streams, AreCancelledUpstreamWhenTheClientLeavesBeforeTheFirstByte) {
  SimWorld world(5);
  const auto t = make(world);
  t->upstream.waits();
  LiveCall& call = t->begin();
  t->mesh.advance(10s);
  t->client->hang_up(call);
  EXPECT_TRUE(world.run_until([&] { return t->seen().gone; }, 50ms));
}

TEST_P(Streams, AreCancelledUpstreamWhenTheClientsConnectionBreaks) {
  SimWorld world(6);
  const auto t = make(world);
  t->begin();
  t->seen().answer.say("token");
  t->mesh.advance(1s);
  world.fabric().reset_all(*Address::ip(kProxy, 80));
  EXPECT_TRUE(world.run_until([&] { return t->seen().gone; }, 50ms));
}

TEST_P(Streams, EndForTheClientWhenTheUpstreamLeaves) {
  SimWorld world(7);
  const auto t = make(world);
  LiveCall& call = t->begin();
  t->seen().answer.say("token");
  ASSERT_TRUE(world.run_until([&] { return call.heard.text == "token"; }, 1s));
  t->upstream.cuts();
  EXPECT_TRUE(world.run_until([&] { return call.finished; }, 50ms));
  EXPECT_NE(call.heard.error, "");
}

TEST_P(Streams, HoldTheUpstreamWhenTheClientDoesNotRead) {
  SimWorld world(8);
  const auto t = make(world);
  LiveCall& call = t->begin({{"content-type", "application/grpc"}});  // No least rate.
  call.reads = false;
  std::string all;
  for (int i = 0; i < 32; ++i) {
    all += std::string(1 << 18, static_cast<char>('a' + i % 26));
    t->seen().answer.say(std::string(1 << 18, static_cast<char>('a' + i % 26)));
  }
  t->mesh.advance(10s);
  // 8 MiB were said; what is neither said nor heard is in windows, pipes and queues.
  EXPECT_GT(t->seen().answer.waiting(), std::size_t{6} << 20);
  call.reads = true;
  call.again.wake(world.loop().ready());
  t->seen().answer.end({{"grpc-status", "0"}});
  ASSERT_TRUE(world.run_until([&] { return call.finished; }, 60s));
  EXPECT_TRUE(call.heard.text == all) << call.heard.text.size();
}

// Timeouts, each reached.

TEST_P(Streams, AreCutAtTheirLongestDuration) {
  SimWorld world(10);
  const auto t = make(world);
  t->mesh.manager().max_stream_duration = 10s;
  LiveCall& call = t->begin();
  for (int i = 0; i < 9; ++i) {
    t->seen().answer.say("token");
    t->mesh.advance(1s);
  }
  EXPECT_FALSE(call.finished);
  ASSERT_TRUE(world.run_until([&] { return call.finished; }, 2s));
  EXPECT_NE(call.heard.error, "");
  EXPECT_LT(world.passed(), 10100ms);
  EXPECT_TRUE(world.run_until([&] { return t->seen().gone; }, 50ms));
}

TEST_P(Streams, MayLastLongerWhereTheRouteSaysSo) {
  SimWorld world(11);
  const auto t = make(world);
  t->mesh.manager().max_stream_duration = 10s;
  t->mesh.route().forward->max_stream_duration = 0s;
  LiveCall& call = t->begin();
  t->seen().answer.say("token");
  t->mesh.advance(100s);
  EXPECT_FALSE(call.finished);
}

TEST_P(Streams, AnswerWhenTheLongestDurationPassesBeforeTheHead) {
  SimWorld world(12);
  const auto t = make(world);
  t->upstream.waits();
  t->mesh.route().forward->max_stream_duration = 3s;
  LiveCall& call = t->begin({}, /*with_body=*/false);
  ASSERT_TRUE(world.run_until([&] { return call.finished; }, 4s));
  EXPECT_EQ(call.status, 504);
  EXPECT_NE(call.heard.text.find("not over 3000 ms after it began (max_stream_duration)"),
            std::string::npos)
      << call.heard.text;
}

TEST_P(Streams, AreCutWhenNothingMoves) {
  SimWorld world(13);
  const auto t = make(world);
  t->mesh.manager().stream_idle_timeout = 5s;
  LiveCall& call = t->begin({{"content-type", "application/grpc"}});
  t->upstream.request(0).answer.say("token");
  t->mesh.advance(4s);
  EXPECT_FALSE(t->seen().gone);
  ASSERT_TRUE(world.run_until([&] { return call.finished; }, 10s));
  EXPECT_EQ(call.heard.text, "token");
}

TEST_P(Streams, OfASlowSenderAreRefused) {
  SimWorld world(14);
  const auto t = make(world);
  t->upstream.waits();
  LiveCall& call = t->begin();
  for (int second = 0; second < 60 && !call.finished; ++second) {
    call.speech.say("x");  // One byte a second.
    t->mesh.advance(1s);
  }
  ASSERT_TRUE(call.finished);
  EXPECT_EQ(call.status, 408);
  EXPECT_NE(call.heard.text.find("less than 240 bytes a second"), std::string::npos);
  EXPECT_LE(world.passed(), 42s);
  EXPECT_TRUE(t->seen().gone);
  EXPECT_NE(t->mesh.metrics().find("glia_http_downstream_rq_too_slow{envoy_http_conn_manager_"
                                   "prefix=\"in\"} 1"),
            std::string::npos);
}

TEST_P(Streams, OfASlowReaderAreCut) {
  SimWorld world(15, {.pipe_capacity = 4096});
  const auto t = make(world);
  LiveCall& call = t->begin({}, /*with_body=*/false);
  call.reads = false;
  t->seen().answer.say(std::string(4 << 20, 'x'));
  ASSERT_TRUE(world.run_until([&] { return t->seen().gone; }, 60s));
  EXPECT_GE(world.passed(), 20s);
  EXPECT_LE(world.passed(), 42s);
}

// D14: a call may pause, but a caller that leaves what waits for it alone is given up.
TEST_P(Streams, OfACallerThatTakesNothingAreCut) {
  SimWorld world(15, {.pipe_capacity = 4096});
  const auto t = make(world);
  LiveCall& call = t->begin({{"content-type", "application/grpc"}});
  t->mesh.advance(100s);
  EXPECT_FALSE(t->seen().gone) << "nothing waits for it";
  const Duration before = world.passed();
  call.reads = false;
  t->seen().answer.say(std::string(4 << 20, 'x'));
  ASSERT_TRUE(world.run_until([&] { return t->seen().gone; }, 80s));
  EXPECT_GE(world.passed() - before, 30s);
  EXPECT_LE(world.passed() - before, 62s);
}

TEST_P(Streams, MayBeSlowWhereTheRouteSaysSo) {
  SimWorld world(16, {.pipe_capacity = 4096});
  const auto t = make(world);
  t->mesh.route().rate.bytes_per_second = 0;
  LiveCall& call = t->begin();
  call.reads = false;
  t->seen().answer.say(std::string(4 << 20, 'x'));
  for (int second = 0; second < 100; ++second) {
    call.speech.say("x");
    t->mesh.advance(1s);
  }
  EXPECT_FALSE(t->seen().gone);
}

TEST_P(Streams, AreNotSlowBecauseTheUpstreamIs) {
  SimWorld world(17);
  const auto t = make(world);
  LiveCall& call = t->begin({}, /*with_body=*/false);
  for (int i = 0; i < 30; ++i) {
    t->seen().answer.say("x");
    t->mesh.advance(10s);
  }
  EXPECT_EQ(call.heard.text.size(), 30u);
  EXPECT_FALSE(t->seen().gone);
}

TEST_P(Streams, ThatSendFastEnoughMayTakeLong) {
  SimWorld world(18);
  const auto t = make(world);
  t->upstream.waits();
  LiveCall& call = t->begin();
  for (int i = 0; i < 120; ++i) {
    call.speech.say(std::string(300, 'x'));
    t->mesh.advance(1s);
  }
  EXPECT_FALSE(call.finished);
  EXPECT_EQ(t->seen().heard.text.size(), 36'000u);
}

// A request whose body has gone up may have been acted on.
TEST_P(Streams, AreNeverSentTwiceOnceTheirBodyHasBegun) {
  SimWorld world(19);
  const auto t = make(world);
  t->mesh.upstream("10.0.1.2").replies(200, "the other");
  t->upstream.waits();
  t->mesh.start();
  t->client = std::make_unique<LiveClient>(world, "10.0.9.8", *Address::ip(kProxy, 80),
                                           std::get<0>(t->codecs));
  for (int i = 0; i < 20; ++i) {
    LiveCall& call = t->client->call("/infer");
    call.speech.say("first bytes");
    call.speech.end();
    const std::size_t before = t->upstream.requests();
    ASSERT_TRUE(
        world.run_until([&] { return call.finished || t->upstream.requests() > before; }, 5s));
    if (call.finished) continue;
    ASSERT_TRUE(world.run_until([&] { return t->seen().heard.ended; }, 5s));
    const std::size_t others = t->mesh.upstream("10.0.1.2").seen().size();
    t->upstream.cuts();
    ASSERT_TRUE(world.run_until([&] { return call.finished; }, 5s));
    EXPECT_EQ(call.status, 503);
    EXPECT_EQ(t->mesh.upstream("10.0.1.2").seen().size(), others);
    return;
  }
  FAIL() << "no request reached the first upstream";
}

// Two streams on one connection on either side.

TEST(Neighbours, OfASlowReaderAreNotHeld) {
  SimWorld world(30);
  Between t(world, Codec::kHttp2, Codec::kHttp2);
  t.codecs = {Codec::kHttp2, Codec::kHttp2};
  LiveCall& slow = t.begin({{"content-type", "application/grpc"}});
  slow.reads = false;
  t.seen().answer.say(std::string(8 << 20, 's'));
  t.mesh.advance(1s);
  LiveCall& quick = t.begin({{"content-type", "application/grpc"}});
  for (int i = 0; i < 64; ++i) t.seen().answer.say(std::string(1 << 18, 'q'));
  ASSERT_TRUE(world.run_until([&] { return quick.heard.text.size() == (64u << 18); }, 60s))
      << quick.heard.text.size();
  EXPECT_EQ(t.upstream.stats().connections, 1u);
}

TEST(Neighbours, OfManySlowReadersAreNotHeld) {
  SimWorld world(31);
  Between t(world, Codec::kHttp2, Codec::kHttp2);
  t.codecs = {Codec::kHttp2, Codec::kHttp2};
  // Each on a connection of its own: a client that does not read is its own neighbour.
  std::vector<std::unique_ptr<LiveClient>> others;
  for (int i = 0; i < 20; ++i) {
    LiveCall& slow = t.begin({{"content-type", "application/grpc"}});
    slow.reads = false;
    t.seen().answer.say(std::string(2 << 20, 's'));
    others.push_back(std::move(t.client));
  }
  t.mesh.advance(1s);
  LiveCall& quick = t.begin({{"content-type", "application/grpc"}});
  for (int i = 0; i < 64; ++i) t.seen().answer.say(std::string(1 << 16, 'q'));
  EXPECT_TRUE(world.run_until([&] { return quick.heard.text.size() == (64u << 16); }, 60s))
      << quick.heard.text.size();
  EXPECT_EQ(t.upstream.stats().connections, 1u);
}

// HTTP/1 says that a client is gone, or only has no more to say, in the same way: FIN.

class Leaving : public testing::Test {
 protected:
  Leaving() : world_(40), t_(world_, Codec::kHttp1, Codec::kHttp1) { t_.mesh.start(); }
  SimWorld world_;
  Between t_;
};

TEST_F(Leaving, BeforeTheAnswerIsGone) {
  t_.upstream.waits();
  Party client(world_.host("10.0.0.7").connect(*Address::ip(kProxy, 80)));
  client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  ASSERT_TRUE(world_.run_until([&] { return t_.upstream.requests() == 1; }, 1s));
  t_.mesh.advance(5s);
  client.send("", /*then_finish=*/true);
  EXPECT_TRUE(world_.run_until([&] { return t_.seen().gone; }, 50ms));
  t_.mesh.advance(1s);
  EXPECT_EQ(client.received, "");
  EXPECT_TRUE(client.ended || client.broken);
}

TEST_F(Leaving, InTheMiddleOfTheAnswerIsGone) {
  Party client(world_.host("10.0.0.7").connect(*Address::ip(kProxy, 80)));
  client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  ASSERT_TRUE(world_.run_until([&] { return t_.upstream.requests() == 1; }, 1s));
  t_.seen().answer.say("token");
  ASSERT_TRUE(
      world_.run_until([&] { return client.received.find("token") != std::string::npos; }, 1s));
  client.send("", /*then_finish=*/true);
  EXPECT_TRUE(world_.run_until([&] { return t_.seen().gone; }, 50ms));
}

TEST_F(Leaving, WhileItsBodyIsNotReadIsGone) {
  // The upstream takes nothing: reading from the client is paused when it leaves.
  t_.mesh.route().rate.bytes_per_second = 0;
  t_.mesh.publish();
  Party client(world_.host("10.0.0.7").connect(*Address::ip(kProxy, 80)));
  world_.fabric().partition(std::string(kProxy), "10.0.1.1");
  client.send(cat("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n",
                  std::string(1'000'000, 'x')));
  t_.mesh.advance(300ms);
  world_.fabric().reset_all(*Address::ip(kProxy, 80));
  EXPECT_TRUE(world_.run_until(
      [&] {
        return t_.mesh.metrics().find("rq_active{envoy_http_conn_manager_prefix=\"in\"} 0") !=
               std::string::npos;
      },
      50ms));
}

// All of the answer was handed to the connection; the exchange is over.
TEST(SlowReader, OfTheLastBytesIsGivenUp) {
  for (const bool keep_alive : {true, false}) {
    SimWorld world(41, {.pipe_capacity = 1024});
    MeshWorld t(world);
    t.upstream("10.0.1.1").replies(200, std::string(50'000, 'x'));
    t.start();
    Party client(world.host("10.0.0.7").connect(*Address::ip(kProxy, 80)));
    client.stream->pause_reading(true);
    client.send(
        cat("GET / HTTP/1.1\r\nhost: x\r\n", keep_alive ? "" : "connection: close\r\n", "\r\n"));
    const auto connections = [&](std::string_view count) {
      return t.metrics().find(cat("downstream_cx_active{envoy_http_conn_manager_prefix=\"in\"} ",
                                  count, "\n")) != std::string::npos;
    };
    ASSERT_TRUE(world.run_until([&] { return connections("1"); }, 1s));
    char byte = 0;
    int seconds = 0;
    for (; seconds < 100 && !connections("0"); ++seconds) {
      client.stream->read({&byte, 1});
      t.advance(1s);
    }
    EXPECT_GE(seconds, 29) << keep_alive;
    EXPECT_LE(seconds, 65) << keep_alive;
  }
}

TEST_F(Leaving, WithAllThatItAskedForIsInOrder) {
  Party client(world_.host("10.0.0.7").connect(*Address::ip(kProxy, 80)));
  client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  ASSERT_TRUE(world_.run_until([&] { return t_.upstream.requests() == 1; }, 1s));
  t_.seen().answer.say("all of it");
  t_.seen().answer.end();
  ASSERT_TRUE(world_.run_until([&] { return client.received.ends_with("0\r\n\r\n"); }, 1s));
  client.send("", /*then_finish=*/true);
  ASSERT_TRUE(world_.run_until([&] { return client.ended; }, 5s));
  EXPECT_NE(client.received.find("all of it"), std::string::npos);
  EXPECT_NE(t_.mesh.metrics().find("cx_destroy_remote_active_rq{envoy_http_conn_manager_prefix="
                                   "\"in\"} 0"),
            std::string::npos);
}

}  // namespace
}  // namespace glia
