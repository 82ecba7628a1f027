#include "proxy/http/h1_server.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "proxy/http/h1_hostile_test_support.h"
#include "proxy/http/h1_test_support.h"
#include "proxy/http/wire.h"

namespace glia {
namespace {

constexpr Duration kSoon = 100ms;

std::string get(std::string_view path, std::string_view fields = "") {
  return cat("GET ", path, " HTTP/1.1\r\nHost: a.test\r\n", fields, "\r\n");
}

// Sends each piece in a packet of its own.
void send_pieces(SimWorld& world, RawPeer& peer, const std::vector<std::string>& pieces) {
  for (const std::string& piece : pieces) {
    peer.send(piece);
    if (pieces.size() > 1) world.run_for(1ms);
  }
}

// The uniform oracle of the checklist: nothing of it is served, the client reads the reason, the
// connection ends, one counter rises, and nothing behind it is served.
void expect_refused(SimWorld& world, const Hostile& hostile, Way way) {
  TellingService service;
  ServerRig server(world, service);
  const auto peer = server.connect();
  send_pieces(world, *peer, pieces_of(hostile.bytes, way));
  peer->send(kValidRequest);
  world.run_until([&] { return peer->over(); }, 1s);
  const int before = way == Way::kBehindAnother ? 1 : 0;
  const std::string& received = peer->received();
  EXPECT_TRUE(peer->over());
  EXPECT_EQ(service.served, before);
  EXPECT_EQ(count_of(received, "HTTP/1.1 200 OK\r\n"), before);
  EXPECT_EQ(count_of(received, cat("HTTP/1.1 ", hostile.status, ' ')), 1) << received;
  EXPECT_EQ(count_of(received, "\r\nx-glia-reason: "), 1);
  EXPECT_EQ(count_of(received, "\r\nconnection: close\r\n"), 1);
  EXPECT_EQ(server.stats.protocol_errors, 1u);
  EXPECT_TRUE(world.run_until([&] { return server.open() == 0; }, 10s));
  EXPECT_EQ(service.alive, 0);
  EXPECT_EQ(server.stats.requests_active, 0u);
  EXPECT_EQ(server.stats.connections_active, 0u);
}

TEST(H1Server, RefusesEveryHostileRequestHoweverItIsCutAndServesNothingBehindIt) {
  constexpr std::size_t kLongestByteByByte = 1000;  // The parser's test sends the longer ones.
  uint64_t seed = 0;
  for (const Hostile& hostile : hostile_requests()) {
    for (const Way way : kWays) {
      if (way == Way::kByteByByte && hostile.bytes.size() > kLongestByteByByte) continue;
      SCOPED_TRACE(cat(hostile.id, " way ", static_cast<int>(way)));
      SimWorld world(++seed);
      expect_refused(world, hostile, way);
      if (testing::Test::HasFailure()) return;
    }
  }
}

struct H1ServerTest : testing::Test {
  // What comes back for `bytes` within a moment.
  std::string answer(std::string_view bytes) {
    peer = server.connect();
    peer->send(bytes);
    world.run_for(kSoon);
    return peer->take();
  }

  SimWorld world{1};
  TellingService service;
  ServerRig server{world, service};
  std::unique_ptr<RawPeer> peer;
};

TEST_F(H1ServerTest, AnswersAndKeepsTheConnection) {
  EXPECT_EQ(answer(get("/one")), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nGET /one ");
  peer->send(get("/two"));
  world.run_for(kSoon);
  EXPECT_EQ(peer->take(), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nGET /two ");
  EXPECT_EQ(server.stats.requests, 2u);
  EXPECT_EQ(server.stats.connections, 1u);
  EXPECT_FALSE(peer->over());
}

TEST_F(H1ServerTest, AnswersPipelinedRequestsInOrder) {
  std::string requests;
  for (int i = 0; i < 200; ++i) {
    requests += cat("POST /", i, " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  }
  const std::string received = answer(requests);
  EXPECT_EQ(count_of(received, "HTTP/1.1 200 OK\r\n"), 200);
  std::size_t last = 0;
  for (int i = 0; i < 200; ++i) {
    const std::size_t at = received.find(cat("POST /", i, " hi"));
    ASSERT_NE(at, std::string::npos);
    EXPECT_GE(at, last);
    last = at;
  }
}

TEST_F(H1ServerTest, ClosesWhenTheClientAsksForIt) {
  const std::string received = answer(get("/", "Connection: close\r\n"));
  EXPECT_NE(received.find("\r\nconnection: close\r\n"), std::string::npos);
  EXPECT_TRUE(peer->ended());
}

TEST_F(H1ServerTest, ClosesAfterTheMostRequestsOfAConnection) {
  server.options.limits.requests_per_connection = 2;
  const std::string received = answer(get("/1") + get("/2") + get("/3"));
  EXPECT_EQ(count_of(received, "200 OK"), 2);
  EXPECT_EQ(count_of(received, "connection: close"), 1);
  EXPECT_TRUE(peer->ended());
}

TEST_F(H1ServerTest, SendsNoBodyToHead) {
  const std::string received = answer("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" + get("/y"));
  EXPECT_EQ(received,
            "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n"
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nGET /y ");
}

TEST_F(H1ServerTest, SaysContinueOnlyWhenTheBodyIsWanted) {
  EXPECT_EQ(
      answer("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
      "HTTP/1.1 100 Continue\r\n\r\n");
  peer->send("hi");
  world.run_for(kSoon);
  EXPECT_EQ(peer->take(), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nPOST / hi");
}

TEST_F(H1ServerTest, SaysNothingToAClientThatDidNotWaitForContinue) {
  EXPECT_EQ(
      answer("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"),
      "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nPOST / hi");
}

TEST_F(H1ServerTest, RefusesAHeadThatTakesTooLong) {
  peer = server.connect();
  peer->send("GET / HTTP/1.1\r\n");
  for (int i = 0; i < 9; ++i) {
    world.run_for(1s);
    peer->send("X-A: b\r\n");  // A byte now and then does not help: the limit is for all of it.
  }
  EXPECT_FALSE(peer->over());
  world.run_for(2s);
  EXPECT_TRUE(peer->over());
  EXPECT_TRUE(peer->received().starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(server.stats.protocol_errors, 1u);
}

TEST_F(H1ServerTest, EndsAnIdleConnectionWithoutAWord) {
  server.options.limits.idle_time = 60s;
  answer(get("/"));
  world.run_for(59s);
  EXPECT_FALSE(peer->over());
  world.run_for(2s);
  EXPECT_TRUE(peer->ended());
  EXPECT_EQ(peer->received(), "");
  EXPECT_TRUE(world.run_until([&] { return server.open() == 0; }, 10s));
}

TEST_F(H1ServerTest, CancelsTheTaskOfAClientThatLeft) {
  answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh");
  EXPECT_EQ(service.alive, 1);
  peer->finish();
  world.run_for(kSoon);
  EXPECT_EQ(service.alive, 0);
  EXPECT_EQ(service.served, 0);
  EXPECT_EQ(server.stats.resets_received, 1u);
  EXPECT_EQ(server.open(), 0u);
}

TEST_F(H1ServerTest, CancelsTheTaskWhenTheConnectionBreaks) {
  answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh");
  world.fabric().reset_all(server_address());
  world.run_for(kSoon);
  EXPECT_EQ(service.alive, 0);
  EXPECT_EQ(server.open(), 0u);
}

TEST_F(H1ServerTest, CancelsTheTaskWhenItsConnectionIsDestroyed) {
  answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh");
  server.drop_one();
  world.run_for(kSoon);
  EXPECT_EQ(service.alive, 0);
}

TEST_F(H1ServerTest, DrainsIdleConnectionsAtOnceAndOthersAfterTheirAnswer) {
  answer(get("/"));
  const auto busy = server.connect(), fresh = server.connect(), silent = server.connect();
  busy->send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh");
  world.run_for(kSoon);
  server.drain();
  world.run_for(kSoon);
  EXPECT_TRUE(peer->ended());
  EXPECT_FALSE(busy->over());
  // A first request was on its way.
  fresh->send(get("/"));
  world.run_for(kSoon);
  EXPECT_NE(fresh->received().find("connection: close\r\n\r\n"), std::string::npos);
  EXPECT_TRUE(fresh->ended());
  EXPECT_FALSE(silent->over());
  world.run_for(kFirstRequestWait);
  EXPECT_TRUE(silent->ended());
  busy->send("i");
  world.run_for(kSoon);
  EXPECT_NE(busy->received().find("connection: close\r\n\r\nPOST / hi"), std::string::npos);
  EXPECT_TRUE(busy->ended());
}

TEST_F(H1ServerTest, StopsReadingABodyThatNobodyPulls) {
  class Sleeper final : public Service {
   public:
    Task<void> serve(ServerStream& stream) override { co_await sleep_for(stream.loop(), 1h); }
  } sleeper;
  SimWorld world(2);
  ServerRig server(world, sleeper);
  const auto peer = server.connect();
  peer->send(cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n",
                 std::string(10'000'000, 'x')));
  world.run_for(10s);
  // The limit, and one largest read.
  EXPECT_LT(server.stats.bytes_received, H1Server::kUndelivered + 256 * 1024u + 1024);
}

TEST_F(H1ServerTest, CarriesALargeBodyBothWays) {
  EchoService echo;
  SimWorld world(3);
  ServerRig server(world, echo);
  std::string body;
  for (int i = 0; i < 300'000; ++i) body += cat(i, ' ');
  const auto peer = server.connect();
  peer->send(cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
  const std::string head = cat("HTTP/1.1 200 OK\r\ncontent-length: ", body.size(), "\r\n\r\n");
  EXPECT_TRUE(
      world.run_until([&] { return peer->received().size() >= head.size() + body.size(); }, 100s));
  const std::string expected = head + body;
  const auto differs = std::ranges::mismatch(peer->received(), expected);
  EXPECT_TRUE(differs.in1 == peer->received().end() && differs.in2 == expected.end())
      << "differs at " << differs.in1 - peer->received().begin();
}

TEST_F(H1ServerTest, StopsPullingForAClientThatDoesNotRead) {
  class Endless final : public Service, private Body {
   public:
    Task<void> serve(ServerStream& stream) override {
      Response response(stream.arena());
      response.status = 200;
      response.body = std::make_unique<Source>(*this);
      co_await stream.respond(std::move(response));
    }
    uint64_t pulled = 0;

   private:
    class Source final : public Body {
     public:
      explicit Source(Endless& of) : of_(of) {}
      Piece poll() override {
        of_.pulled += 10'000;
        return {State::kData, Slice::copy(std::string(10'000, 'x'))};
      }
      void wait(Waiter&) override {}
      Endless& of_;
    };
    Piece poll() override { return {State::kEnd, {}}; }
    void wait(Waiter&) override {}
  } endless;
  SimWorld world(4);
  ServerRig server(world, endless);
  const auto peer = server.connect();
  peer->read_nothing(true);
  peer->send(get("/"));
  world.run_for(10s);
  // What the network holds, and what the connection may queue.
  EXPECT_LT(endless.pulled, 64 * 1024u + 64 * 1024u + 20'000u);
  EXPECT_GT(endless.pulled, 0u);

  // Who has taken all for a while may be owed more, and no more than that.
  peer->read_nothing(false);
  world.run_for(1s);
  peer->read_nothing(true);
  const std::size_t taken = peer->received().size();
  world.run_for(10s);
  EXPECT_GT(taken, 1'000'000u);
  EXPECT_LT(endless.pulled, taken + 64 * 1024u + Wire::kMostOutput + 20'000u);
}

// Answers at once, without looking at the body.
class Denying final : public Service {
 public:
  Task<void> serve(ServerStream& stream) override {
    co_await stream.respond(text_response(stream.arena(), 403, "no"));
  }
};

struct H1ServerDenies : testing::Test {
  std::string answer(std::string_view bytes) {
    peer = server.connect();
    peer->send(bytes);
    world.run_for(kSoon);
    return peer->received();
  }
  SimWorld world{5};
  Denying denying;
  ServerRig server{world, denying};
  std::unique_ptr<RawPeer> peer;
};

// Checklist A43.
TEST_F(H1ServerDenies, NeverTakesTheBodyOfAnAnsweredRequestForTheNextRequest) {
  const std::string received =
      answer(cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", kValidRequest.size(), "\r\n\r\n",
                 kValidRequest, get("/next")));
  EXPECT_EQ(count_of(received, "HTTP/1.1 403 "), 2);
  EXPECT_EQ(server.stats.requests, 2u);
  EXPECT_FALSE(peer->over());
}

TEST_F(H1ServerDenies, ClosesInsteadOfDrainingALongBody) {
  const std::string received =
      answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n");
  EXPECT_EQ(count_of(received, "HTTP/1.1 403 "), 1);
  EXPECT_TRUE(peer->ended());
}

TEST_F(H1ServerDenies, StopsDrainingAChunkedBodyAtTheLimit) {
  std::string body;
  for (int i = 0; i < 200; ++i) body += cat("400\r\n", std::string(1024, 'x'), "\r\n");
  answer(cat("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", body));
  EXPECT_TRUE(world.run_until([&] { return peer->over(); }, 10s));
  EXPECT_EQ(server.stats.requests, 1u);
}

// A reset for what is still on its way would have curl fail with "Send failure: Broken pipe".
TEST_F(H1ServerDenies, LeavesAClientThatStillSendsTheTimeToReadTheAnswer) {
  peer = server.connect();
  peer->read_nothing(true);
  peer->send(cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n",
                 std::string(4'000'000, 'x')));
  world.run_for(1s);
  EXPECT_FALSE(peer->broken());
  peer->read_nothing(false);
  world.run_for(kSoon);
  EXPECT_EQ(count_of(peer->received(), "HTTP/1.1 403 "), 1);
  EXPECT_TRUE(peer->ended());
  EXPECT_TRUE(world.run_until([&] { return server.open() == 0; }, 2s));
}

TEST_F(H1ServerDenies, DrainsAChunkedBodyAndServesTheNextRequest) {
  const std::string received =
      answer(cat("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                 "5\r\nhello\r\n0\r\n\r\n", get("/next")));
  EXPECT_EQ(count_of(received, "HTTP/1.1 403 "), 2);
}

TEST_F(H1ServerDenies, ClosesWhenTheClientStillWaitsForContinue) {
  const std::string received =
      answer("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_TRUE(received.starts_with("HTTP/1.1 403 "));
  EXPECT_EQ(count_of(received, "connection: close"), 1);
  EXPECT_TRUE(peer->ended());
}

// Found by h1_response_fuzz under UBSan: the view of an empty value may be null.
TEST(H1ServerAnswers, WithFieldsWithoutAValue) {
  class Empty final : public Service {
   public:
    Task<void> serve(ServerStream& stream) override {
      Response response = text_response(stream.arena(), 200, "hi");
      response.headers.add("x-empty", "");
      co_await stream.respond(std::move(response));
    }
  } empty;
  SimWorld world(12);
  ServerRig server(world, empty);
  const auto peer = server.connect();
  peer->send(get("/"));
  world.run_for(kSoon);
  EXPECT_EQ(peer->received(), "HTTP/1.1 200 OK\r\nx-empty: \r\ncontent-length: 2\r\n\r\nhi");
}

TEST(H1ServerAnswers, With500WhenTheServiceSaysNothing) {
  class Silent final : public Service {
   public:
    Task<void> serve(ServerStream&) override { co_return; }
  } silent;
  SimWorld world(6);
  ServerRig server(world, silent);
  const auto peer = server.connect();
  peer->send(get("/"));
  world.run_for(kSoon);
  EXPECT_TRUE(peer->received().starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
  EXPECT_NE(peer->received().find("x-glia-reason: the service ended without an answer"),
            std::string::npos);
}

// Gives two pieces, then breaks off, or ends with trailers.
class PiecesBody final : public Body {
 public:
  PiecesBody(ArenaRef arena, State last) : trailers_(std::move(arena)), last_(last) {
    trailers_.add("x-checksum", "1");
  }
  Piece poll() override {
    if (given_ == 2) return {last_, {}};
    return {State::kData, Slice::literal(given_++ == 0 ? "hello " : "world")};
  }
  void wait(Waiter&) override {}
  const Headers* trailers() const override { return &trailers_; }

 private:
  Headers trailers_;
  State last_;
  int given_ = 0;
};

class PiecesService final : public Service {
 public:
  explicit PiecesService(Body::State last) : last_(last) {}
  Task<void> serve(ServerStream& stream) override {
    Response response(stream.arena());
    response.status = 200;
    response.body = std::make_unique<PiecesBody>(stream.arena(), last_);
    sent = co_await stream.respond(std::move(response));
  }
  Sent sent;

 private:
  Body::State last_;
};

TEST(H1ServerAnswers, InChunksWhenTheLengthIsUnknownWithTrailersForThoseWhoTakeThem) {
  SimWorld world(7);
  PiecesService service(Body::State::kEnd);
  ServerRig server(world, service);
  const auto peer = server.connect();
  peer->send(get("/") + get("/", "TE: trailers\r\n"));
  world.run_for(kSoon);
  const std::string head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
  EXPECT_EQ(peer->received(), head + "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n" + head +
                                  "6\r\nhello \r\n5\r\nworld\r\n0\r\nx-checksum: 1\r\n\r\n");
  EXPECT_TRUE(service.sent.complete);
  EXPECT_EQ(service.sent.bytes, 11u);
}

TEST(H1ServerAnswers, WithoutALastChunkWhenTheBodyBreaksOff) {
  SimWorld world(8);
  PiecesService service(Body::State::kError);
  ServerRig server(world, service);
  const auto peer = server.connect();
  peer->send(get("/"));
  world.run_for(kSoon);
  EXPECT_TRUE(peer->received().ends_with("\r\n5\r\nworld\r\n"));
  EXPECT_TRUE(peer->over());
  EXPECT_FALSE(service.sent.complete);
  EXPECT_EQ(server.stats.resets_sent, 1u);
}

TEST(H1ServerDetects, ClearTextThatIsNotTheHttp2Preface) {
  for (const Way way : {Way::kWhole, Way::kByteByByte}) {
    SimWorld world(9);
    TellingService service;
    ServerRig server(world, service, Codec::kAuto);
    const auto peer = server.connect();
    send_pieces(world, *peer, pieces_of(get("/x"), way));
    world.run_for(kSoon);
    EXPECT_EQ(peer->take(), "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nGET /x ");
    EXPECT_EQ(server.stats.http1_connections, 1u);
    EXPECT_EQ(server.stats.connections, 1u);
    // A method that begins as the preface does.
    const auto other = server.connect();
    send_pieces(world, *other, pieces_of("PRI /x HTTP/1.1\r\nHost: a\r\n\r\n", way));
    world.run_for(kSoon);
    EXPECT_TRUE(other->received().ends_with("\r\n\r\nPRI /x ")) << other->received();
    EXPECT_EQ(server.stats.connections_active, 2u);
  }
}

TEST(H1ServerDetects, NothingInAPrefaceThatNeverEnds) {
  SimWorld world(10);
  TellingService service;
  ServerRig server(world, service, Codec::kAuto);
  const auto peer = server.connect();
  peer->send("PRI * HTTP/2.0\r\n");
  world.run_for(9s);
  EXPECT_FALSE(peer->over());
  world.run_for(2s);
  EXPECT_TRUE(peer->over());
  EXPECT_EQ(server.open(), 0u);
  EXPECT_EQ(server.stats.connections, 1u);
  EXPECT_EQ(server.stats.connections_active, 0u);
}

TEST(H1ServerDetects, TheFirstRequestAlsoWhileItIsDrained) {
  SimWorld world(11);
  TellingService service;
  ServerRig server(world, service, Codec::kAuto);
  const auto peer = server.connect(), silent = server.connect();
  world.run_for(kSoon);
  server.drain();
  world.run_for(kSoon);
  peer->send(get("/"));
  world.run_for(kSoon);
  EXPECT_NE(peer->received().find("connection: close\r\n\r\n"), std::string::npos);
  EXPECT_TRUE(peer->ended());
  EXPECT_FALSE(silent->over());
  world.run_for(kFirstRequestWait);
  EXPECT_TRUE(silent->over());
  world.run_for(5s);
  EXPECT_EQ(server.open(), 0u);
}

}  // namespace
}  // namespace glia
