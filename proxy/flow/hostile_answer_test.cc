// Rows A40 and A41 of the checklist of bad input: what an upstream may say, through a whole worker. A bad
// answer is a 502, never desynchronises the client's connection, and ends the upstream's.
//
// Decided differently from the row: interim answers (100, 103) are not passed on. An answer whose head
// is good and whose body is not is broken off, since its head is sent.
#include <gtest/gtest.h>

#include <cstring>

#include "proxy/flow/raw_peers_test_support.h"

namespace glia {
namespace {

constexpr std::string_view kNext = "GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n";
constexpr std::string_view kEvil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

std::vector<std::string> answer_pieces(std::string_view bytes, Way way) {
  return way == Way::kBehindAnother ? std::vector<std::string>{std::string(bytes)}
                                    : pieces_of(bytes, way);
}

// A request whose answer is in the hands of the test; kBehindAnother: on a connection that has already
// carried one.
struct Asked {
  Asked(Way way, uint64_t seed) : raw(seed) {
    raw.t.start();
    client = raw.connect();
    if (way == Way::kBehindAnother) {
      client->send(std::string(kValidRequest));
      raw.world.run_for(100ms);
      EXPECT_EQ(client->received, kOk);
      client->received.clear();
    }
    raw.origin.answered_heads = 0;
    client->send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    raw.world.run_for(100ms);
  }
  RawOrigin::Connection& upstream() { return *raw.origin.connections.at(0); }
  // The upstream's connection is gone, and the client's goes on with another.
  void expect_next_works() {
    EXPECT_TRUE(upstream().ended || upstream().broken);
    raw.origin.answered_heads = RawOrigin::kAll;
    client->received.clear();
    client->send(std::string(kNext));
    raw.world.run_for(1s);
    EXPECT_EQ(client->received, kOk);
    EXPECT_EQ(raw.origin.connections.size(), 2u);
  }

  RawWorld raw;
  std::unique_ptr<Party> client;
};

void expect_bad_gateway(std::string_view bytes) {
  uint64_t seed = 0;
  for (const Way way : kWays) {
    if (way == Way::kByteByByte && bytes.size() > 1000) continue;  // The route's time runs out.
    SCOPED_TRACE(cat(bytes.substr(0, 200), " way ", static_cast<int>(way)));
    Asked asked(way, ++seed);
    asked.raw.send(asked.upstream(), answer_pieces(cat(bytes, kEvil), way));
    asked.raw.world.run_for(1s);
    const std::string& received = asked.client->received;
    EXPECT_TRUE(received.starts_with("HTTP/1.1 502 Bad Gateway\r\n")) << received;
    EXPECT_EQ(count_of(received, "\r\n\r\n"), 1) << received;
    EXPECT_EQ(received.find("evil"), received.npos) << received;
    expect_signed(received, "upstream_protocol");
    EXPECT_EQ(asked.raw.protocol_errors(), 0u) << "not the client's fault";
    asked.expect_next_works();
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Row, A40_AnAnswerWhoseEndIsInDoubtIsABadGateway) {
  const std::string body = "5\r\nhello\r\n0\r\n\r\n";
  const std::string heads[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
      "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
      "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
      "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + body,
      "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n" + body,
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: \vchunked\r\n\r\n" + body,
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
      "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/2 200 OK\r\n\r\n",
      "SSH-2.0-OpenSSH\r\n\r\n",
  };
  for (const std::string& head : heads) expect_bad_gateway(head);
  const std::string large = cat("HTTP/1.1 200 OK\r\nX: ", std::string(70'000, 'a'), "\r\n\r\n");
  expect_bad_gateway(large);
}

TEST(Row, A40_ABodyThatIsShorterThanItWasSaidBreaksTheAnswerOff) {
  for (const std::string_view bytes :
       {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
    for (const Way way : kWays) {
      Asked asked(way, 1);
      asked.raw.send(asked.upstream(), answer_pieces(bytes, way));
      asked.upstream().send("", true);
      asked.raw.world.run_for(1s);
      EXPECT_TRUE(asked.client->ended || asked.client->broken);
      EXPECT_EQ(asked.client->received.find("0\r\n\r\n"), std::string::npos);
      EXPECT_EQ(count_of(asked.client->received, "HTTP/1.1 "), 1);
    }
  }
}

TEST(Row, A40_AChunkThatIsWrongBreaksTheAnswerOff) {
  for (const Way way : kWays) {
    Asked asked(way, 1);
    asked.raw.send(asked.upstream(),
                   answer_pieces(cat("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                     "5\r\nhelloXX",
                                     kEvil),
                                 way));
    asked.raw.world.run_for(1s);
    EXPECT_TRUE(asked.upstream().ended || asked.upstream().broken);
    EXPECT_TRUE(asked.client->ended || asked.client->broken);
    EXPECT_EQ(asked.client->received.find("evil"), std::string::npos);
    EXPECT_EQ(asked.client->received.find("0\r\n\r\n"), std::string::npos);
  }
}

TEST(Row, A40_BytesBehindABodyAreNobodysAnswer) {
  for (const Way way : kWays) {
    Asked asked(way, 1);
    asked.raw.send(asked.upstream(), answer_pieces(cat(kOk, kEvil), way));
    asked.raw.world.run_for(1s);
    EXPECT_EQ(asked.client->received, kOk);
    asked.expect_next_works();
  }
}

TEST(Row, A41_ASwitchOfProtocolsThatNobodyAskedForIsABadGateway) {
  expect_bad_gateway("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  expect_bad_gateway(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

TEST(Row, A41_InterimAnswersAreFew) {
  const std::string early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  for (const char* one : {"HTTP/1.1 100 Continue\r\n\r\n", early.c_str()}) {
    std::string many;
    for (int i = 0; i < 1000; ++i) many += one;
    Asked asked(Way::kWhole, 1);
    asked.upstream().send(many);
    asked.raw.world.run_for(1s);
    EXPECT_TRUE(asked.client->received.starts_with("HTTP/1.1 502 "));
    asked.expect_next_works();
    for (const Way way : kWays) {
      Asked few(way, 1);
      few.raw.send(few.upstream(), answer_pieces(many.substr(0, 8 * std::strlen(one)), way));
      few.upstream().send(std::string(kOk));
      few.raw.world.run_for(1s);
      EXPECT_EQ(few.client->received, kOk);
    }
  }
}

TEST(Row, A41_AnEarlyAnswerStopsTheBody) {
  RawWorld raw(1);
  raw.t.start();
  raw.origin.answered_heads = 0;
  auto client = raw.connect();
  client->send("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhel");
  raw.world.run_for(100ms);
  ASSERT_EQ(raw.origin.connections.size(), 1u);
  raw.origin.connections[0]->send(std::string(kOk));
  raw.world.run_for(100ms);
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 200 OK\r\n")) << client->received;
  client->send(std::string(kValidRequest));
  raw.world.run_for(1s);
  EXPECT_TRUE(raw.origin.connections[0]->received.ends_with("hel"));
  EXPECT_TRUE(raw.origin.connections[0]->ended || raw.origin.connections[0]->broken);
  EXPECT_EQ(count_of(client->received, "HTTP/1.1 "), 1) << "the rest of a body is no request";
}

// It is not the client who sent too much.
TEST(HostileAnswer, AHeadAboveTheLimitIsTheUpstreamsFault) {
  for (const Codec up : {Codec::kHttp1, Codec::kHttp2}) {
    SimWorld world(1);
    MeshWorld t(world, Codec::kHttp1, up);
    t.upstream("10.0.1.1").reply_header("x-large", std::string(2000, 'x'));
    t.cluster().http.header_bytes = 1000;
    t.start();
    const Answer answer = t.get();
    EXPECT_EQ(answer.status, 502);
    EXPECT_EQ(answer.header("x-glia-reason"), "upstream_protocol");
  }
}

}  // namespace
}  // namespace glia
