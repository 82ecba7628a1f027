// Families A and B of the checklist of bad input (body framing; request line, host and fields), through
// a whole worker, with bytes on both sides.
//
// A row whose requests are refused has its cases in proxy/http/h1_hostile_test_support.h and one test
// here that runs them all, each in four ways. A row that asks for something else has a test of its own,
// whose name begins with the row. EveryRowIsTested counts them.
//
// Decided differently from the row:
// - A7: tabs before and after "chunked" are optional white space, which a recipient must take (RFC 9112
//   section 5.1); the body is framed anew, so nobody behind us can read it in another way.
// - A28-A34, and other faults inside a body: bodies stream, so the head may be with the upstream when the
//   fault comes. Then the request is broken off there, its connection closed, and the client still
//   reads 400.
// - A38: a body that stands still is refused with 408 after stream_idle_timeout (300 s) or, from its
//   first byte, request_timeout.
// - A42: Expect is answered here and not passed on, so no upstream can answer it with a 4xx.
// - B16: CONNECT and TRACE are refused with 405 before a route is looked for.
// - B20: loops are found where the connection manager has a `via`, off by default as in Envoy.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "proxy/flow/raw_peers_test_support.h"

namespace glia {
namespace {

// Row -> the fewest cases it must have.
const std::map<std::string, int> kRefused = {
    {"A1", 1},  {"A2", 1},  {"A3", 1},  {"A4", 1},  {"A5", 1},   {"A6", 1},  {"A7", 638},
    {"A8", 1},  {"A9", 1},  {"A10", 1}, {"A11", 1}, {"A12", 1},  {"A13", 1}, {"A14", 1},
    {"A15", 1}, {"A16", 1}, {"A17", 1}, {"A18", 3}, {"A19", 1},  {"A20", 2}, {"A21", 1},
    {"A22", 1}, {"A23", 1}, {"A24", 8}, {"A25", 2}, {"A26", 1},  {"A27", 3}, {"A28", 6},
    {"A29", 2}, {"A30", 2}, {"A31", 1}, {"A32", 3}, {"A33", 3},  {"A34", 3}, {"A42", 1},
    {"B1", 2},  {"B2", 1},  {"B3", 1},  {"B4", 1},  {"B5", 4},   {"B6", 2},  {"B7", 1},
    {"B8", 1},  {"B9", 18}, {"B11", 7}, {"B12", 7}, {"B13", 11}, {"B14", 3}, {"B15", 10},
    {"B16", 2}, {"B18", 9}, {"B19", 5}, {"B22", 2}};
// Rows with a test of their own.
const std::set<std::string> kOthers = {"A7",  "A35", "A36", "A37", "A38", "A39", "A40", "A41",
                                       "A42", "A43", "B10", "B17", "B18", "B20", "B21", "B23"};
const std::map<int, std::string_view> kWords = {
    {400, "bad_request"},          {405, "method_not_allowed"}, {414, "too_large"},
    {417, "expectation_failed"},   {431, "too_large"},          {501, "not_implemented"},
    {505, "version_not_supported"}};
constexpr std::size_t kLongestByteByByte = 1000;  // The parser's test sends the longer ones.
constexpr std::string_view kNext = "GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n";

std::vector<Hostile> cases_of(const std::string& row) {
  std::vector<Hostile> cases = hostile_requests();
  std::erase_if(cases, [&](const Hostile& hostile) { return hostile.row() != row; });
  return cases;
}

TEST(Hostile, EveryRowIsTested) {
  for (const auto& [row, least] : kRefused) {
    EXPECT_GE(cases_of(row).size(), static_cast<std::size_t>(least)) << row;
  }
  for (const Hostile& hostile : hostile_requests()) {
    EXPECT_TRUE(kRefused.contains(hostile.row())) << hostile.id;
  }
  std::set<std::string> tested;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int k = 0; k < suite.total_test_count(); ++k) {
      const std::string name = suite.GetTestInfo(k)->name();
      if (std::string(suite.name()) == "Row") tested.insert(name.substr(0, name.find('_')));
    }
  }
  EXPECT_EQ(tested, kOthers);
  const auto covered = [&](const std::string& row) {
    EXPECT_TRUE(kRefused.contains(row) || tested.contains(row)) << row;
  };
  for (int i = 1; i <= 43; ++i) covered(cat("A", i));
  for (int i = 1; i <= 23; ++i) covered(cat("B", i));
}

// The oracle: nothing of it reaches the upstream; the client reads why, and who says so, and the
// connection ends; nothing behind it is served; one counter of errors rises; the next connection works.
void expect_refused(const Hostile& hostile, Way way, uint64_t seed) {
  RawWorld raw(seed);
  raw.t.start();
  const int before = way == Way::kBehindAnother ? 1 : 0;
  if (hostile.in_body) raw.origin.answered_heads = before;
  auto client = raw.connect();
  raw.send(*client, pieces_of(hostile.bytes, way));
  client->send(std::string(kNext));
  raw.world.run_until([&] { return client->ended || client->broken; }, 1s);
  const std::string& received = client->received;
  EXPECT_TRUE(client->ended || client->broken);
  EXPECT_EQ(count_of(received, "HTTP/1.1 200 OK\r\n"), before) << received;
  EXPECT_EQ(count_of(received, cat("HTTP/1.1 ", hostile.status, ' ')), 1) << received;
  EXPECT_EQ(count_of(received, "\r\nconnection: close\r\n"), 1);
  const std::size_t answer = received.rfind(cat("HTTP/1.1 ", hostile.status, ' '));
  if (answer != received.npos) expect_signed(received.substr(answer), kWords.at(hostile.status));
  EXPECT_EQ(raw.protocol_errors(), 1u);
  const std::string reached = raw.origin.received();
  EXPECT_EQ(reached.find("/next"), reached.npos) << reached;
  if (hostile.in_body) {
    EXPECT_EQ(reached.find("0\r\n\r\n"), reached.npos) << reached;
    for (const auto& connection : raw.origin.connections) {
      const bool used = connection->received.find("POST") != std::string::npos;
      if (used) EXPECT_TRUE(connection->ended || connection->broken) << "kept for others";
    }
  } else {
    EXPECT_EQ(count_of(reached, "\r\n\r\n"), before) << reached;
    EXPECT_EQ(reached.empty(), before == 0) << reached;
    EXPECT_EQ(raw.upstream_requests(), static_cast<uint64_t>(before));
  }
  raw.origin.answered_heads = RawOrigin::kAll;
  EXPECT_TRUE(raw.ask(std::string(kNext)).starts_with("HTTP/1.1 200 OK\r\n"));
}

class HostileRow : public testing::TestWithParam<std::string> {};

std::vector<std::string> refused_rows() {
  std::vector<std::string> rows;
  for (const auto& [row, least] : kRefused) rows.push_back(row);
  return rows;
}
INSTANTIATE_TEST_SUITE_P(Checklist, HostileRow, testing::ValuesIn(refused_rows()),
                         [](const auto& info) { return info.param; });

TEST_P(HostileRow, IsRefusedHoweverItIsCutAndNothingOfItOrBehindItIsServed) {
  uint64_t seed = 0;
  for (const Hostile& hostile : cases_of(GetParam())) {
    for (const Way way : kWays) {
      if (way == Way::kByteByByte && hostile.bytes.size() > kLongestByteByByte) continue;
      SCOPED_TRACE(cat(hostile.id, " way ", static_cast<int>(way)));
      expect_refused(hostile, way, ++seed);
      if (HasFailure()) return;
    }
  }
}

std::string post(std::string_view fields, std::string_view body, std::string_view method = "POST") {
  return cat(method, " /x HTTP/1.1\r\nHost: a.test\r\n", fields, "\r\n", body);
}

TEST(Row, A7_TabsAroundACodingAreWhiteSpace) {
  for (const std::string& line : hostile_detail::kTabsAroundCoding) {
    RawWorld raw(1);
    raw.t.start();
    EXPECT_EQ(raw.ask(post(line, "2\r\nhi\r\n0\r\n\r\n")), kOk);
    EXPECT_EQ(count_of(raw.origin.received(), "\r\ntransfer-encoding: chunked\r\n"), 1);
  }
}

TEST(Row, A35_TrailersPassByAnAllowListAndNeverJoinTheHead) {
  RawWorld raw(1);
  raw.t.start();
  raw.origin.answered_heads = 0;
  raw.ask(
      post("Transfer-Encoding: chunked\r\nTE: trailers\r\n",
           "2\r\nhi\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n"
           "Authorization: me\r\nX-Forwarded-Client-Cert: URI=spiffe://evil\r\nX-Glia-Hop: e\r\n"
           "X-Envoy-Original-Path: /e\r\nSet-Cookie: e\r\nX-Sum: 1\r\nGrpc-Status: 0\r\n\r\n"));
  const std::string reached = raw.origin.received();
  EXPECT_TRUE(reached.ends_with("\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\ngrpc-status: 0\r\n\r\n"))
      << reached;
  EXPECT_EQ(reached.find("evil"), reached.npos);
}

// A request that never becomes whole is broken off upstream, and its connection is not used again.
void expect_broken_off(RawWorld& raw) {
  ASSERT_EQ(raw.origin.connections.size(), 1u);
  EXPECT_TRUE(raw.origin.connections[0]->ended || raw.origin.connections[0]->broken);
  EXPECT_TRUE(raw.origin.connections[0]->received.ends_with("hel"));
  raw.origin.answered_heads = RawOrigin::kAll;
  EXPECT_EQ(raw.ask(std::string(kNext)), kOk);
  EXPECT_EQ(raw.origin.connections.size(), 2u);
}

// A client that has sent 3 of the 5 bytes that it announced, and an upstream that has not answered.
auto half_sent(RawWorld& raw) {
  raw.t.start();
  raw.origin.answered_heads = 0;
  auto client = raw.connect();
  client->send(post("Content-Length: 5\r\n", "hel"));
  return client;
}

TEST(Row, A36_ABodyThatEndsShort) {
  RawWorld raw(1);
  auto client = half_sent(raw);
  raw.world.run_for(1s);
  client->send("", true);
  raw.world.run_for(1s);
  EXPECT_EQ(client->received, "") << "it is gone";
  expect_broken_off(raw);
}

TEST(Row, A37_ABodyThatIsResetShort) {
  RawWorld raw(1);
  auto client = half_sent(raw);
  raw.world.run_for(1s);
  client.reset();
  raw.world.run_for(1s);
  expect_broken_off(raw);
}

TEST(Row, A38_ABodyThatStandsStill) {
  RawWorld raw(1);
  raw.t.manager().stream_idle_timeout = 30s;
  auto client = half_sent(raw);
  raw.world.run_for(64s);
  EXPECT_TRUE(client->received.starts_with("HTTP/1.1 408 ")) << client->received;
  expect_signed(client->received, "downstream_timeout");
  EXPECT_TRUE(client->ended);
  expect_broken_off(raw);
}

TEST(Row, A39_ABodyOfAMethodThatUsuallyHasNone) {
  for (const char* method : {"GET", "HEAD", "DELETE"}) {
    RawWorld raw(1);
    raw.t.start();
    raw.origin.answered_heads = 0;
    // The body is a request to whoever loses count.
    const std::string body = std::string(kValidRequest);
    auto client = raw.connect();
    client->send(post(cat("Content-Length: ", body.size(), "\r\n"), body, method));
    raw.world.run_for(1s);
    ASSERT_EQ(raw.origin.connections.size(), 1u);
    RawOrigin::Connection& upstream = *raw.origin.connections[0];
    EXPECT_TRUE(upstream.received.ends_with(cat("\r\n\r\n", body))) << method;
    EXPECT_EQ(count_of(upstream.received, cat("\r\ncontent-length: ", body.size(), "\r\n")), 1);
    const bool head = std::string_view(method) == "HEAD";
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + std::string(head ? "" : "ok"));
    raw.world.run_for(1s);
    client->send(post("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", method));
    raw.world.run_for(1s);
    EXPECT_EQ(raw.origin.connections.size(), 1u) << "one connection for both";
    EXPECT_TRUE(upstream.received.ends_with("\r\n0\r\n\r\n")) << upstream.received;
    EXPECT_EQ(raw.upstream_requests(), 2u);
  }
}

TEST(Row, A42_AConnectionWhoseRequestBodyWasNotSentIsNeverUsedAgain) {
  RawWorld raw(1);
  raw.t.start();
  raw.origin.answered_heads = 0;
  auto client = raw.connect();
  client->send(post("Expect: 100-continue\r\nContent-Length: 34\r\n", ""));
  raw.world.run_for(1s);
  EXPECT_EQ(client->received, "HTTP/1.1 100 Continue\r\n\r\n") << "answered here";
  ASSERT_EQ(raw.origin.connections.size(), 1u);
  EXPECT_EQ(raw.origin.received().find("expect"), std::string::npos);
  raw.origin.connections[0]->send(
      "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nno");
  raw.world.run_for(1s);
  EXPECT_NE(client->received.find("HTTP/1.1 403 "), std::string::npos);
  EXPECT_TRUE(raw.origin.connections[0]->ended || raw.origin.connections[0]->broken);
  raw.origin.answered_heads = RawOrigin::kAll;
  EXPECT_EQ(raw.ask(std::string(kNext)), kOk);
  EXPECT_EQ(raw.origin.connections.size(), 2u);
}

TEST(Row, A43_TheBodyOfARequestThatIsAnsweredHereIsNeverTheNextRequest) {
  const auto refuse_host = [](Route& route) {
    route.match.headers.push_back({.name = "never", .value = TextMatcher::exact("there")});
  };
  const std::pair<int, std::function<void(Route&)>> ways[] = {
      {404, refuse_host},
      {403,
       [](Route& route) { route.forward.reset(), route.direct = DirectAction{.status = 403}; }},
      {429,
       [](Route& route) { route.forward.reset(), route.direct = DirectAction{.status = 429}; }},
      {301,
       [](Route& route) { route.forward.reset(), route.redirect = RedirectAction{.path = "/y"}; }},
  };
  for (const auto& [status, change] : ways) {
    RawWorld raw(1);
    change(raw.t.route());
    raw.t.start();
    const std::string body = std::string(kValidRequest);
    const std::string received = raw.ask(
        cat(post(cat("Content-Length: ", body.size(), "\r\n"), body), kNext,
            post("Transfer-Encoding: chunked\r\n",
                 cat("23\r\n", "GET /valid HTTP/1.1\r\nHost: a.test\r\n", "\r\n0\r\n\r\n"))));
    EXPECT_EQ(count_of(received, cat("HTTP/1.1 ", status, " ")), 3) << received;
    EXPECT_EQ(count_of(received, "HTTP/1.1 "), 3) << received;
    EXPECT_EQ(raw.origin.received(), "");
  }
}

TEST(Row, B10_TheHostOfAnAbsoluteTargetIsTheOneThatCounts) {
  RawWorld raw(1);
  raw.t.hosts().front().domains = {"good.test"};
  raw.t.start();
  EXPECT_EQ(raw.ask("GET http://good.test/p HTTP/1.1\r\nHost: evil.test\r\n\r\n"), kOk);
  const std::string reached = raw.origin.received();
  EXPECT_TRUE(reached.starts_with("GET /p HTTP/1.1\r\nhost: good.test\r\n")) << reached;
  EXPECT_EQ(reached.find("evil"), reached.npos);
  EXPECT_TRUE(raw.ask("GET http://evil.test/p HTTP/1.1\r\nHost: good.test\r\n\r\n")
                  .starts_with("HTTP/1.1 404 "));
}

TEST(Row, B17_AnUpgradeToHttp2IsLeftOut) {
  for (const char* fields :
       {"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\n", "Upgrade: h2c\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"}) {
    RawWorld raw(1);
    raw.t.start();
    EXPECT_EQ(raw.ask(post(fields, "", "GET")), kOk) << fields;
    const std::string reached = raw.origin.received();
    for (const char* name : {"upgrade", "http2-settings", "connection"}) {
      EXPECT_EQ(reached.find(cat("\r\n", name, ":")), reached.npos) << reached;
    }
  }
}

TEST(Row, B18_FieldsThatConnectionNamesGoNoFurther) {
  RawWorld raw(1);
  raw.t.start();
  EXPECT_EQ(raw.ask(post("Connection: X-Hop\r\nX-Hop: 1\r\nX-Stays: 1\r\n", "", "GET")), kOk);
  const std::string reached = raw.origin.received();
  EXPECT_EQ(reached.find("x-hop"), reached.npos) << reached;
  EXPECT_NE(reached.find("\r\nx-stays: 1\r\n"), reached.npos) << reached;
}

TEST(Row, B20_LoopsEndAndOptionsCountsDown) {
  RawWorld raw(1);
  raw.t.manager().via = "1.1 glia-a";
  raw.t.start();
  EXPECT_TRUE(
      raw.ask("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 other\r\n\r\n").starts_with("HTTP/1.1 200 "));
  EXPECT_NE(raw.client->received.find("\r\nvia: 1.1 glia-a\r\n"), std::string::npos);
  EXPECT_NE(raw.origin.received().find("\r\nvia: 1.1 other, 1.1 glia-a\r\n"), std::string::npos);
  EXPECT_TRUE(
      raw.ask("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 glia-a\r\n\r\n").starts_with("HTTP/1.1 200 "));
  const std::size_t reached = raw.origin.received().size();
  const std::string loop =
      raw.ask("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 glia-a,1.1 b\r\nVia: 1.1 glia-a\r\n\r\n");
  EXPECT_TRUE(loop.starts_with("HTTP/1.1 508 Loop Detected\r\n")) << loop;
  expect_signed(loop, "loop");
  EXPECT_TRUE(raw.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
                  .starts_with("HTTP/1.1 204 "));
  EXPECT_EQ(raw.origin.received().size(), reached);
  raw.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 2\r\n\r\n");
  EXPECT_NE(raw.origin.received().find("\r\nmax-forwards: 1\r\n"), std::string::npos);
}

TEST(Row, B21_OfTeOnlyTrailersGoesOn) {
  RawWorld raw(1);
  raw.t.start();
  EXPECT_EQ(raw.ask(post("TE: trailers, gzip;q=0.5\r\n", "", "GET")), kOk);
  EXPECT_EQ(count_of(raw.origin.received(), "\r\nte: trailers\r\nconnection: te\r\n"), 1);
  EXPECT_EQ(raw.ask(post("TE: gzip\r\n", "", "GET")), kOk);
  EXPECT_EQ(count_of(raw.origin.received(), "\r\nte:"), 1);
}

// Also what the codec refuses is counted and has its line; the bytes that were wrong are not in it.
TEST(Row, B23_EachRequestIsOneEscapedLineOfTheLog) {
  const std::string path = cat(testing::TempDir(), "hostile-", getpid(), ".log");
  unlink(path.c_str());
  RawWorld raw(1);
  raw.t.manager().access_logs = {{.path = path}};
  raw.t.start();
  raw.ask("GET /a%0a%22?q=\"\xff HTTP/1.1\r\nHost: a\r\n\r\n");
  raw.ask("GET /a%0a%22?x={\"}\\ HTTP/1.1\r\nHost: a\r\n\r\n");
  raw.ask("GET /a%0a%22?x={}\\ HTTP/1.1\r\nHost: a\r\nUser-Agent: \"}{\\\xc3\xa4\xff%0d\r\n\r\n");
  raw.ask("GET /esc HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b[31m\r\n\r\n");
  raw.ask("GET /big HTTP/1.1\r\nHost: a\r\nX: " + std::string(70000, 'a') + "\r\n\r\n");
  raw.world.run_for(1s);
  std::ifstream file(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line, nullptr, false));
    EXPECT_FALSE(lines.back().is_discarded()) << line;
    for (const char c : line) EXPECT_TRUE(static_cast<uint8_t>(c) >= 0x20 && c != 0x7f) << line;
  }
  unlink(path.c_str());
  ASSERT_EQ(lines.size(), 5u);
  const int statuses[] = {400, 400, 200, 400, 431};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["response_code"], statuses[i]) << lines[i];
    if (statuses[i] != 200) EXPECT_EQ(lines[i]["response_flags"], "DPE") << lines[i];
  }
  EXPECT_EQ(lines[2]["path"], "/a%0A%22?x={}\\") << lines[2];
  EXPECT_EQ(lines[3]["path"], "/esc") << "what was read of it";
  EXPECT_EQ(lines[4]["response_code_details"], "the head is larger than the limit");
}

}  // namespace
}  // namespace glia
