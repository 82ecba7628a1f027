#include "proxy/http/h1_parser.h"

#include <gtest/gtest.h>

#include "proxy/http/h1_hostile_test_support.h"
#include "proxy/http/h1_reader_test_support.h"

namespace glia {
namespace {

H1Outcome outcome_of(std::string_view bytes, Way way = Way::kWhole) {
  H1Reader reader;
  return reader.read(pieces_of(bytes, way));
}

TEST(H1Parser, RefusesEveryHostileRequestHoweverItIsCutAndServesNothingBehindIt) {
  for (const Hostile& hostile : hostile_requests()) {
    for (const Way way : kWays) {
      const H1Outcome outcome = outcome_of(hostile.bytes + std::string(kValidRequest), way);
      EXPECT_EQ(outcome.status, hostile.status)
          << hostile.id << " way " << static_cast<int>(way) << ": " << outcome.reason;
      EXPECT_EQ(outcome.served, way == Way::kBehindAnother ? 1 : 0) << hostile.id;
      EXPECT_FALSE(outcome.reason.empty()) << hostile.id;
    }
  }
}

// Checklist A7, the two of 640 that are white space.
TEST(H1Parser, TakesTabsAroundACodingForTheWhiteSpaceThatTheyAre) {
  for (const std::string& line : hostile_detail::kTabsAroundCoding) {
    const H1Outcome outcome = outcome_of(hostile_detail::head(line) + "2\r\nhi\r\n0\r\n\r\n");
    EXPECT_EQ(outcome.served, 1) << outcome.reason;
    EXPECT_EQ(outcome.bodies, "hi");
  }
}

// Checklist A19; HTTP/1.0 is refused as such unless it is configured.
TEST(H1Parser, ReadsOldRequestsOnlyWhereThatIsConfigured) {
  const Http1Options plain;
  const Http1Options old{.accept_http_10 = true, .default_host = "here.test"};
  const Http1Options nameless{.accept_http_10 = true};
  const struct {
    const Http1Options& options;
    const char* bytes;
    int status;  // 0: taken.
    const char* authority;
  } table[] = {
      {plain, "GET / HTTP/1.0\r\nHost: a\r\n\r\n", 505, ""},
      {old, "GET / HTTP/1.0\r\nHost: a\r\n\r\n", 0, "a"},
      {old, "GET / HTTP/1.0\r\n\r\n", 0, "here.test"},
      {old, "GET http://b/ HTTP/1.0\r\n\r\n", 0, "b"},
      {nameless, "GET / HTTP/1.0\r\n\r\n", 400, ""},
      {old, "GET / HTTP/1.1\r\n\r\n", 400, ""},
      {old, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, ""},
      {old, "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, ""},
      {old, "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, ""},
  };
  for (const auto& row : table) {
    const HttpLimits limits;
    H1RequestParser parser(limits, row.options);
    Request request(ArenaRef::create());
    request.scheme = "http";
    parser.begin(request);
    std::string_view bytes = row.bytes;
    const auto state = parser.feed(bytes);
    EXPECT_EQ(parser.refusal().status, row.status) << row.bytes << parser.refusal().reason;
    if (row.status != 0) continue;
    EXPECT_EQ(state, H1HeadParser::State::kDone) << row.bytes;
    EXPECT_EQ(request.authority, row.authority) << row.bytes;
    EXPECT_TRUE(parser.close()) << row.bytes;
    EXPECT_TRUE(parser.old_version());
  }
}

// Checklist B17.
TEST(H1Parser, TakesAnUpgradeOnlyWhereItIsConfiguredAndClear) {
  const Http1Options options{.upgrades = {"websocket"}};
  const struct {
    const char *method, *fields;
    bool taken;
  } table[] = {
      {"GET", "Connection: Upgrade\r\nUpgrade: WebSocket\r\n", true},
      {"GET", "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n", true},
      {"GET", "Upgrade: websocket\r\n", false},
      {"GET", "Connection: Upgrade\r\nUpgrade: h2c\r\n", false},
      {"GET", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", false},
      {"GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", false},
      {"POST", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false},
      {"GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", false},
      {"GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", false},
  };
  for (const auto& row : table) {
    const HttpLimits limits;
    H1RequestParser parser(limits, options);
    Request request(ArenaRef::create());
    request.scheme = "http";
    parser.begin(request);
    const std::string text = cat(row.method, " / HTTP/1.1\r\nHost: a\r\n", row.fields, "\r\n");
    std::string_view bytes = text;
    ASSERT_EQ(parser.feed(bytes), H1HeadParser::State::kDone) << row.fields;
    EXPECT_EQ(request.upgrade, row.taken ? "websocket" : "") << row.fields;
    EXPECT_EQ(parser.framing().kind == H1Framing::Kind::kUntilClose, row.taken) << row.fields;
    EXPECT_TRUE(request.headers.empty()) << row.fields;
  }
}

struct Accepted {
  const char* bytes;
  const char* head;
  const char* body;
};

TEST(H1Parser, ReadsTheSameHoweverARequestIsCut) {
  const Accepted table[] = {
      {"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET / a.test ", ""},
      {"\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET / a.test ", ""},
      {"GET /a%20b?q={\"}|\\ HTTP/1.1\r\nHost: a\r\n\r\n", nullptr, nullptr},
      {"GET /a?q={1}|\\ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /a?q={1}|\\ [::1]:80 ", ""},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * a ", ""},
      {"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * a ", ""},
      {"GET HTTP://good:8080?x HTTP/1.1\r\nHost: evil\r\n\r\n", "GET /?x good:8080 ", ""},
      {"GET http://good/p HTTP/1.1\r\nHost: evil\r\n\r\n", "GET /p good ", ""},
      {"M-SEARCH / HTTP/1.1\r\nHost: a\r\nX-A: \t b c\t \r\nX-Empty:\r\n\r\n",
       "M-SEARCH / a x-a=b c;x-empty=;", ""},
      {"GET / HTTP/1.1\r\nHost: a\r\nX-High: \xc3\xa4\r\nopen_ai: 1\r\n\r\n",
       "GET / a x-high=\xc3\xa4;open_ai=1;", ""},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST / a ", "hello"},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "GET / a ", "hello"},
      {"DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
       "5\r\nhello\r\n006;ext=\"1\"\r\n world\r\n0\r\n\r\n",
       "DELETE / a ", "hello world"},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-Stay: 1\r\n"
       "Keep-Alive: 5\r\nTE: gzip, trailers\r\nProxy-Connection: x\r\n\r\n",
       "GET / a x-stay=1;", ""},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
       "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
       "GET / a ", ""},
  };
  for (const Accepted& row : table) {
    for (const Way way : kWays) {
      const H1Outcome outcome = outcome_of(row.bytes, way);
      if (row.head == nullptr) {
        EXPECT_EQ(outcome.status, 400) << row.bytes;
        continue;
      }
      const bool behind = way == Way::kBehindAnother;
      EXPECT_EQ(outcome.status, 0) << row.bytes << outcome.reason;
      EXPECT_EQ(outcome.heads, cat(behind ? "GET /valid a.test " : "", row.head));
      EXPECT_EQ(outcome.bodies, row.body);
      EXPECT_EQ(outcome.served, behind ? 2 : 1);
    }
  }
}

// Checklist A35.
TEST(H1Parser, KeepsOnlyTrailersThatCannotBeMistakenForAHead) {
  const H1Outcome outcome = outcome_of(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n"
      "Transfer-Encoding: chunked\r\nHost: b\r\nAuthorization: c\r\nX-Forwarded-Client-Cert: d\r\n"
      "Grpc-Status: 0\r\nX-Checksum: 1\r\nSet-Cookie: e\r\n\r\n");
  EXPECT_EQ(outcome.served, 1);
  EXPECT_EQ(outcome.trailers, "grpc-status;x-checksum;");
}

TEST(H1Parser, PassesTheLargestHeadAndRefusesOneByteMore) {
  const HttpLimits limits;
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nX-A: ";
  const std::string fits(limits.header_bytes - start.size() - 4, 'a');
  for (const Way way : {Way::kWhole, Way::kByteByByte, Way::kLineByLine}) {
    EXPECT_EQ(outcome_of(start + fits + "\r\n\r\n", way).served, 1);
    EXPECT_EQ(outcome_of(start + fits + "a\r\n\r\n", way).status, 431);
  }
}

TEST(H1Parser, PassesTheMostFieldsAndRefusesOneMore) {
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(outcome_of(start + hostile_detail::repeated("a: b\r\n", 99) + "\r\n").served, 1);
  EXPECT_EQ(outcome_of(start + hostile_detail::repeated("a: b\r\n", 100) + "\r\n").status, 431);
}

// Checklist E1: work grows with the bytes, not with their square.
TEST(H1Parser, ReadsALongLineByteByByteInLinearTime) {
  HttpLimits limits;
  limits.header_bytes = 8 * 1024 * 1024;
  H1RequestParser parser(limits);
  Request request(ArenaRef::create());
  parser.begin(request);
  std::string_view line = "GET / HTTP/1.1\r\nHost: a\r\nX-A: ";
  ASSERT_EQ(parser.feed(line), H1HeadParser::State::kMore);
  const std::string byte = "a";
  for (int i = 0; i < 4 * 1024 * 1024; ++i) {
    std::string_view view = byte;
    ASSERT_EQ(parser.feed(view), H1HeadParser::State::kMore);
  }
}

TEST(H1ResponseParser, TakesASwitchOnlyToWhatWasAskedFor) {
  const struct {
    const char *asked, *bytes;
    bool taken;
  } table[] = {
      {"websocket", "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", true},
      {"", "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},
      {"websocket", "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", false},
      {"websocket", "HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n", false},
      {"websocket", "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n", false},
      {"websocket",
       "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n",
       false},
      {"websocket", "HTTP/1.0 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},
  };
  for (const auto& row : table) {
    const HttpLimits limits;
    H1ResponseParser parser(limits);
    Response response(ArenaRef::create());
    parser.begin(response, "GET", row.asked);
    std::string_view bytes = row.bytes;
    const auto state = parser.feed(bytes);
    EXPECT_EQ(state == H1HeadParser::State::kDone, row.taken) << row.bytes;
    if (row.taken) EXPECT_FALSE(parser.interim());
    if (row.taken) EXPECT_EQ(parser.framing().kind, H1Framing::Kind::kUntilClose);
  }
}

struct AnswerOutcome {
  bool refused = false;
  int status = 0;
  H1Framing framing;
  bool close = false;
};

AnswerOutcome answer(std::string_view bytes, std::string_view method, bool byte_by_byte) {
  HttpLimits limits;
  H1ResponseParser parser(limits);
  Response response(ArenaRef::create());
  parser.begin(response, method);
  auto state = H1HeadParser::State::kMore;
  while (!bytes.empty() && state == H1HeadParser::State::kMore) {
    std::string_view piece = bytes.substr(0, byte_by_byte ? 1 : bytes.size());
    const std::size_t given = piece.size();
    state = parser.feed(piece);
    bytes.remove_prefix(given - piece.size());
  }
  AnswerOutcome outcome;
  outcome.refused = state == H1HeadParser::State::kRefused;
  EXPECT_NE(state, H1HeadParser::State::kMore);
  if (outcome.refused) return outcome;
  return {false, response.status, parser.framing(), parser.close()};
}

// Checklist A40, A41.
TEST(H1ResponseParser, RefusesAnswersWhoseEndIsInDoubt) {
  const char* const table[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n",
      "HTTP/1.1 200 OK\nX-A: b\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX-A: b\n\r\n",
      "HTTP/1.1 200 O\x01K\r\n\r\n",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/1.1 2000 OK\r\n\r\n",
      "HTTP/1.1 099 OK\r\n\r\n",
      "HTTP/1.1 600 OK\r\n\r\n",
      "HTTP/1.1  200 OK\r\n\r\n",
      "HTTP/2.0 200 OK\r\n\r\n",
      "HTTP/1.2 200 OK\r\n\r\n",
      "ICY 200 OK\r\n\r\n",
      "\r\nHTTP/1.1 200 OK\r\n\r\n",
  };
  for (const char* bytes : table) {
    EXPECT_TRUE(answer(bytes, "GET", false).refused) << bytes;
    EXPECT_TRUE(answer(bytes, "GET", true).refused) << bytes;
  }
}

TEST(H1ResponseParser, KnowsWhereABodyEnds) {
  using Kind = H1Framing::Kind;
  struct Row {
    const char* bytes;
    const char* method;
    Kind kind;
    uint64_t length;
    bool close;
  };
  const Row table[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", Kind::kLength, 5, false},
      {"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", "GET", Kind::kLength, 5, false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Kind::kChunked, 0, false},
      {"HTTP/1.1 200 OK\r\n\r\n", "GET", Kind::kUntilClose, 0, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", Kind::kNone, 5, false},
      {"HTTP/1.1 304 OK\r\nContent-Length: 5\r\n\r\n", "GET", Kind::kNone, 5, false},
      {"HTTP/1.1 204 OK\r\nContent-Length: 0\r\n\r\n", "GET", Kind::kNone, 0, false},
      {"HTTP/1.1 100 Continue\r\n\r\n", "GET", Kind::kNone, 0, false},
      {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", "GET", Kind::kLength, 1,
       true},
      {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", "GET", Kind::kLength, 1, true},
      {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", "GET",
       Kind::kLength, 1, false},
  };
  for (const Row& row : table) {
    for (const bool byte_by_byte : {false, true}) {
      const AnswerOutcome outcome = answer(row.bytes, row.method, byte_by_byte);
      EXPECT_FALSE(outcome.refused) << row.bytes;
      EXPECT_EQ(outcome.framing.kind, row.kind) << row.bytes;
      EXPECT_EQ(outcome.framing.length, row.length) << row.bytes;
      EXPECT_EQ(outcome.close, row.close) << row.bytes;
    }
  }
}

// 6 bytes arrive for each byte of such a body; a block for each would take 15 times as much.
TEST(H1Body, GathersWhatComesInChunksOfAByte) {
  constexpr int kChunks = 10'000;
  std::string bytes;
  for (int i = 0; i < kChunks; ++i) bytes += "1\r\nx\r\n";
  const HttpLimits limits;
  H1BodyDecoder decoder(limits);
  decoder.begin({H1Framing::Kind::kChunked, 0}, ArenaRef::create());
  Slice input = Slice::copy(bytes);
  GatherQueue data;
  ASSERT_EQ(decoder.decode(input, data), H1BodyDecoder::State::kMore);
  ASSERT_EQ(data.size(), std::size_t{kChunks});
  int pieces = 0;
  for (; !data.empty(); ++pieces) (void)data.pop();
  EXPECT_LE(pieces, 4);
}

}  // namespace
}  // namespace glia
