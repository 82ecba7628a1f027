#include "proxy/http/h2_fields.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace glia {
namespace {

using List = std::vector<std::pair<std::string, std::string>>;

struct Decoded {
  Request request{ArenaRef::create()};
  FieldFault fault = FieldFault::kNone;
  std::optional<uint64_t> length;
};

Decoded decode(const List& list, const HttpLimits& limits = {}, const Http1Options& options = {}) {
  Decoded decoded;
  RequestDecoder decoder(decoded.request, limits, options);
  for (const auto& [name, value] : list) decoder.add(name, value);
  decoded.fault = decoder.finish();
  decoded.length = decoder.content_length();
  return decoded;
}

// A good request with some pseudo-fields replaced.
List request_with(std::string_view name, std::string_view value) {
  List list = {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};
  for (auto& [had, field] : list) {
    if (had == name) {
      field = value;
      return list;
    }
  }
  list.emplace_back(name, value);
  return list;
}

struct Row {
  std::string_view name, value;
  FieldFault fault;
};

TEST(Http2Fields, RefusesWhatWouldMeanTwoThings) {
  constexpr auto kGood = FieldFault::kNone;
  constexpr auto kBad = FieldFault::kMalformed;
  const Row rows[] = {
      {":path", "/", kGood},
      {":path", "/a/b?c=d%20e", kGood},
      {":path", "*", kBad},
      {":path", "foo", kBad},
      {":path", "", kBad},
      {":path", "/a b", kBad},
      {":path", "/a\rb", kBad},
      {":path", "/a#b", kBad},
      {":path", "/\x80", kBad},
      {":path", "http://evil/", kBad},
      {":scheme", "https", kGood},
      {":scheme", "HTTP", kBad},
      {":scheme", "http://evil/?", kBad},
      {":scheme", "file", kBad},
      {":scheme", "", kBad},
      {":authority", "example.com:80", kGood},
      {":authority", "[::1]:443", kGood},
      {":authority", "10.0.0.1", kGood},
      {":authority", "user@example.com", kBad},
      {":authority", "a/b", kBad},
      {":authority", "a,b", kBad},
      {":authority", "a b", kBad},
      {":authority", "a:", kBad},
      {":authority", "a:0x50", kBad},
      {":authority", "a:70000", kBad},
      {":authority", ":80", kBad},
      {":authority", "[::1", kBad},
      {":authority", "", kBad},
      {":method", "POST", kGood},
      {":method", "get", kBad},
      {":method", "GET /x HTTP/1.1", kBad},
      {":method", "GET?", kBad},
      {":method", "CONNECT", FieldFault::kNotAllowed},
      {"host", "a", kGood},
      {"host", "b", kBad},
      {"host", "A", kBad},
      {"transfer_encoding", "chunked", kBad},
      {"content_length", "5", kBad},
      {"x_custom", "5", kGood},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(decode(request_with(row.name, row.value)).fault, row.fault)
        << row.name << ": " << row.value;
  }
}

// RFC 9113 section 8.5, RFC 8441 section 4.
TEST(Http2Fields, TakesConnectOnlyWhereItIsAllowedAndInOneForm) {
  Http1Options options;
  options.connect = true;
  options.upgrades = {"websocket"};
  constexpr auto kGood = FieldFault::kNone;
  constexpr auto kBad = FieldFault::kMalformed;
  const std::pair<std::string, std::string> method = {":method", "CONNECT"};
  const auto tunnel = [&](std::string authority, List more = {}) {
    List list = {method, {":authority", std::move(authority)}};
    list.insert(list.end(), more.begin(), more.end());
    return decode(list, {}, options).fault;
  };
  EXPECT_EQ(tunnel("a:443"), kGood);
  EXPECT_EQ(tunnel("[::1]:443", {{"host", "[::1]:443"}}), kGood);
  EXPECT_EQ(tunnel("a"), kBad);
  EXPECT_EQ(tunnel("[::1]"), kBad);
  EXPECT_EQ(tunnel("a:0"), kBad);
  EXPECT_EQ(tunnel("u@a:443"), kBad);
  EXPECT_EQ(tunnel(""), kBad);
  EXPECT_EQ(tunnel("a:443", {{":path", "/"}}), kBad);
  EXPECT_EQ(tunnel("a:443", {{":scheme", "http"}}), kBad);
  EXPECT_EQ(tunnel("a:443", {{"host", "b:443"}}), kBad);
  EXPECT_EQ(tunnel("a:443", {{"content-length", "0"}}), kBad);

  const auto extended = [&](std::string protocol, List more = {}) {
    List list = {method,
                 {":protocol", std::move(protocol)},
                 {":scheme", "http"},
                 {":authority", "a"},
                 {":path", "/chat"}};
    list.insert(list.end(), more.begin(), more.end());
    return decode(list, {}, options).fault;
  };
  EXPECT_EQ(extended("websocket"), kGood);
  EXPECT_EQ(extended("WebSocket"), kGood);
  EXPECT_EQ(extended("connect-udp"), FieldFault::kUnknownProtocol);
  EXPECT_EQ(extended(""), FieldFault::kUnknownProtocol);
  EXPECT_EQ(extended("websocket", {{"content-length", "5"}}), kBad);
  EXPECT_EQ(decode({method, {":protocol", "websocket"}, {":authority", "a"}}, {}, options).fault,
            kBad);
  EXPECT_EQ(decode(request_with(":protocol", "websocket"), {}, options).fault, kBad);
}

TEST(Http2Fields, ReadsAnExtendedConnectAsTheUpgradeItIs) {
  Http1Options options;
  options.upgrades = {"websocket"};
  List list = request_with(":protocol", "websocket");
  list[0].second = "CONNECT";
  const Decoded decoded = decode(list, {}, options);
  EXPECT_EQ(decoded.fault, FieldFault::kNone);
  EXPECT_EQ(decoded.request.method, "GET");
  EXPECT_EQ(decoded.request.upgrade, "websocket");
  EXPECT_TRUE(decoded.request.headers.empty());
}

TEST(Http2Fields, TakesTheHostWhenThereIsNoAuthority) {
  const Decoded decoded =
      decode({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "a:1"}});
  EXPECT_EQ(decoded.fault, FieldFault::kNone);
  EXPECT_EQ(decoded.request.authority, "a:1");
  EXPECT_FALSE(decoded.request.headers.has("host"));
}

TEST(Http2Fields, AllowsTheAsteriskOnlyForOptions) {
  List list = request_with(":path", "*");
  list[0].second = "OPTIONS";
  EXPECT_EQ(decode(list).fault, FieldFault::kNone);
}

TEST(Http2Fields, JoinsCrumbsOfCookies) {
  List list = request_with("cookie", "a=1");
  list.emplace_back("x", "y");
  list.emplace_back("cookie", "b=2");
  list.emplace_back("cookie", "c=3");
  const Decoded decoded = decode(list);
  EXPECT_EQ(decoded.request.headers.get("cookie"), "a=1; b=2; c=3");
  EXPECT_EQ(decoded.request.headers.count("cookie"), 1u);
}

TEST(Http2Fields, TakesOutWhatIsNotForTheNextHop) {
  List list = request_with("te", "trailers");
  list.emplace_back("content-length", "42");
  const Decoded decoded = decode(list);
  EXPECT_TRUE(decoded.request.trailers_accepted);
  EXPECT_EQ(decoded.length, 42u);
  EXPECT_TRUE(decoded.request.headers.empty());
}

TEST(Http2Fields, CountsFieldsAndBytesAndEveryCrumb) {
  HttpLimits limits;
  limits.header_fields = 20;
  limits.header_bytes = 4000;
  List list = request_with("a", "b");
  while (list.size() < 20) list.emplace_back("cookie", "x");
  EXPECT_EQ(decode(list, limits).fault, FieldFault::kNone);
  list.emplace_back("cookie", "x");
  EXPECT_EQ(decode(list, limits).fault, FieldFault::kTooLarge);
  EXPECT_EQ(decode(request_with("a", std::string(3000, 'x')), limits).fault, FieldFault::kNone);
  EXPECT_EQ(decode(request_with("a", std::string(4000, 'x')), limits).fault, FieldFault::kTooLarge);
}

TEST(Http2Fields, RefusesResponsesWithoutAStatusThatMeansSomething) {
  for (const auto& [status, fault] : std::vector<std::pair<std::string, FieldFault>>{
           {"200", FieldFault::kNone},
           {"100", FieldFault::kNone},
           {"599", FieldFault::kNone},
           {"600", FieldFault::kMalformed},
           {"099", FieldFault::kMalformed},
           {"1000", FieldFault::kMalformed},
           {"2x0", FieldFault::kMalformed},
       }) {
    Response response(ArenaRef::create());
    ResponseDecoder decoder(response, HttpLimits{});
    decoder.add(":status", status);
    EXPECT_EQ(decoder.finish(), fault) << status;
  }
  Response response(ArenaRef::create());
  EXPECT_EQ(ResponseDecoder(response, HttpLimits{}).finish(), FieldFault::kMalformed);
}

TEST(Http2Fields, KeepsSecretsAndPassingValuesOutOfTheTable) {
  Request request(ArenaRef::create());
  request.method = "GET";
  request.headers.add("authorization", "Bearer x");
  request.headers.add("x-plain", "1");
  request.headers.add("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  request.headers.add_kept("x-unique", "abc", true);
  for (const nghttp2_nv& nv : encode(request, request.headers.arena())) {
    const std::string_view name(reinterpret_cast<const char*>(nv.name), nv.namelen);
    EXPECT_EQ((nv.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0,
              name == "authorization" || name == "traceparent" || name == "x-unique")
        << name;
  }
}

// RFC 7541 section 6.2.3: the next hop must not index it either.
TEST(Http2Fields, WhatThePeerNeverIndexesIsNeverIndexedFurtherOn) {
  Request request(ArenaRef::create());
  RequestDecoder asked(request, HttpLimits{}, Http1Options{});
  asked.add("x-secret", "1", true);
  asked.add("x-plain", "2");
  ASSERT_EQ(request.headers.size(), 2u);
  EXPECT_TRUE(request.headers.fields()[0].unique);
  EXPECT_FALSE(request.headers.fields()[1].unique);
  Response response(ArenaRef::create());
  ResponseDecoder answered(response, HttpLimits{});
  answered.add("x-secret", "1", true);
  EXPECT_TRUE(response.headers.fields()[0].unique);
}

TEST(Http2Fields, DropsTrailersThatWouldBeReadAsHead) {
  for (const char* name : {"content-length", "host", "authorization", "transfer-encoding",
                           "connection", "content-type", "te"}) {
    EXPECT_TRUE(is_forbidden_trailer(name)) << name;
  }
  for (const char* name : {"grpc-status", "grpc-message", "my-metadata", "x-checksum"}) {
    EXPECT_FALSE(is_forbidden_trailer(name)) << name;
  }
}

}  // namespace
}  // namespace glia
