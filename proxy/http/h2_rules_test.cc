// Every way to break HTTP/2 of the checklist's family C, frame by frame, towards our server and
// towards our client. What is malformed is served never and answered with the code of RFC 9113.
#include <gtest/gtest.h>

#include "proxy/http/h2_raw_test_support.h"

namespace glia {
namespace {

using namespace std::string_literals;

struct Row {
  std::string name;
  std::string bytes;
  std::string code;  // of RST_STREAM or GOAWAY
};

const FieldList kGet = {
    {":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};

FieldList with(FieldList list, std::string name, std::string value) {
  list.emplace_back(std::move(name), std::move(value));
  return list;
}
// A good request with one of its pseudo-fields replaced, or left out.
FieldList instead(std::string_view name, std::optional<std::string> value) {
  FieldList list;
  for (const auto& field : kGet) {
    if (field.first != name) list.push_back(field);
    if (field.first == name && value) list.emplace_back(field.first, *value);
  }
  return list;
}
std::string shown_as(std::string_view text) {
  std::string all;
  for (char c : text) {
    const bool plain = c > 0x20 && c < 0x7f;
    all += plain ? std::string(1, c) : cat('<', int{static_cast<uint8_t>(c)}, '>');
  }
  return all;
}

std::vector<Row> rows_of_fields() {
  std::vector<Row> rows;
  const auto add = [&](std::string name, const FieldList& fields, uint8_t flags = kEnd | kEndHead) {
    rows.push_back({std::move(name), headers(1, fields, flags), "PROTOCOL_ERROR"});
  };
  for (const std::string& value : {"a\r\nb"s, "a\nb"s, "a\0b"s, " a"s, "a "s, "\ta"s, "a\t"s}) {
    add("C1 value " + shown_as(value), with(kGet, "x", value));
  }
  for (const std::string& name : {"X"s, "a:b"s, "a b"s, ""s, "a\x7f"s, "a\x80"s, "a\0"s}) {
    add("C2 name " + shown_as(name), with(kGet, name, "1"));
  }
  for (const char* name :
       {"transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade"}) {
    add(cat("C3 ", name), with(kGet, name, "chunked"));
  }
  add("C4 te gzip", with(kGet, "te", "gzip"));
  add("C5 length without a body", with(kGet, "content-length", "5"));
  add("C5 two lengths", with(with(kGet, "content-length", "5"), "content-length", "6"), kEndHead);
  add("C5 equal lengths", with(with(kGet, "content-length", "5"), "content-length", "5"), kEndHead);
  for (const std::string& length : {"+5"s, "-1"s, "0x5"s, "5,5"s, ""s, "18446744073709551621"s}) {
    add("C5 length " + shown_as(length), with(kGet, "content-length", length), kEndHead);
  }
  for (const std::string& path :
       {""s, "foo"s, "/a b"s, "/a\rb"s, "/a#b"s, "/\x80"s, "*"s, "http://a/"s}) {
    add("C6 path " + shown_as(path), instead(":path", path));
  }
  for (const std::string& method : {"GET /x HTTP/1.1"s, "GET?"s, "G\r\nET"s, ""s, "get"s}) {
    add("C7 method " + shown_as(method), instead(":method", method));
  }
  for (const std::string& scheme : {"http://evil/?"s, ""s, "ftp"s, "ht\r\ntp"s}) {
    add("C8 scheme " + shown_as(scheme), instead(":scheme", scheme));
  }
  add("C8 scheme twice", with(kGet, ":scheme", "http"));
  for (const std::string& authority : {"u@a"s, "a/b"s, "a,b"s, "a b"s, "a:0x50"s, ""s}) {
    add("C9 authority " + shown_as(authority), instead(":authority", authority));
  }
  add("C9 no authority, no host", instead(":authority", {}));
  add("C9 another host", with(kGet, "host", "b"));
  add("C10 pseudo-field after a field", with(with(kGet, "x", "1"), ":path", "/"));
  add("C10 unknown pseudo-field", with(kGet, ":foo", "1"));
  add("C10 status", with(kGet, ":status", "200"));
  for (const auto& [name, value] : kGet) {
    add(cat("C10 twice ", name), with(kGet, name, value));
    if (name != ":authority") add(cat("C10 without ", name), instead(name, {}));
  }
  add("C11 CONNECT with a path", with(instead(":method", "CONNECT"), "x", "1"));
  add("C11 extended CONNECT, which was not offered",
      with(instead(":method", "CONNECT"), ":protocol", "websocket"));
  add("C11 CONNECT without authority", {{":method", "CONNECT"}});
  return rows;
}

// On a stream that a good request with a body has begun.
std::vector<Row> rows_of_streams() {
  const std::string open = headers(1, kGet, kEndHead), done = headers(1, kGet);
  const auto sized = [](std::string_view length) {
    return headers(1, with(kGet, "content-length", std::string(length)), kEndHead);
  };
  const std::string proto = "PROTOCOL_ERROR", closed = "STREAM_CLOSED", size = "FRAME_SIZE_ERROR",
                    flow = "FLOW_CONTROL_ERROR";
  const std::string bomb = cat("\x40", hpack_text("x"), hpack_text(std::string(3900, 'v')));
  return {
      {"C5 length 0 with DATA", sized("0") + data(1, "x", kEnd), proto},
      {"C5 length 5 with 4", sized("5") + data(1, "1234", kEnd), proto},
      {"C5 length 5 with 6", sized("5") + data(1, "123456", kEnd), proto},
      {"C5 length 5 with 6, not ended", sized("5") + data(1, "123456"), proto},
      {"C13 trailers with a pseudo-field", open + headers(1, {{":path", "/"}}), proto},
      {"C13 trailers without END_STREAM", open + headers(1, {{"x", "1"}}, kEndHead), proto},
      {"C13 trailers of 1 MiB",
       open + frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, bomb + std::string(300, '\xbe')),
       "ENHANCE_YOUR_CALM"},
      {"C17 even stream", headers(2, kGet), proto},
      {"C17 lower stream", headers(5, kGet) + headers(3, kGet), proto},
      {"C17 stream 0", headers(0, kGet), proto},
      {"C17 the last number, then a lower one", headers(0x7fffffff, kGet) + headers(1, kGet),
       proto},
      {"C18 DATA after END_STREAM", done + data(1, "x"), closed},
      {"C18 HEADERS after END_STREAM", done + headers(1, kGet), closed},
      {"C18 DATA after RST", open + rst_stream(1) + data(1, "x"), closed},
      {"C18 HEADERS after RST", open + rst_stream(1) + headers(1, kGet), closed},
      {"C18 DATA on an idle stream", data(1, "x"), proto},
      {"C18 RST on an idle stream", rst_stream(1), proto},
      {"C18 WINDOW_UPDATE on an idle stream", window_update(1, 1), proto},
      {"C18 DATA on stream 0", data(0, "x"), proto},
      {"C18 RST on stream 0", rst_stream(0), proto},
      {"C18 RST of 3 bytes", open + frame(NGHTTP2_RST_STREAM, 0, 1, "123"), size},
      {"PRIORITY on stream 0", frame(NGHTTP2_PRIORITY, 0, 0, "\0\0\0\1x"s), proto},
      {"PRIORITY of 4 bytes", open + frame(NGHTTP2_PRIORITY, 0, 1, "1234"), size},
      {"PRIORITY on itself", open + frame(NGHTTP2_PRIORITY, 0, 1, "\0\0\0\1x"s), proto},
      {"HEADERS that depend on themselves",
       frame(NGHTTP2_HEADERS, kEnd | kEndHead | NGHTTP2_FLAG_PRIORITY, 1,
             "\0\0\0\1x"s + block(kGet)),
       proto},
      {"C20 stream WINDOW_UPDATE 0", open + window_update(1, 0), proto},
      {"C20 stream window above 2^31-1", open + window_update(1, 0x7fffffff), flow},
      {"C21 interleaved", headers(1, kGet, 0) + ping(), proto},
      {"C21 on another stream", headers(1, kGet, 0) + frame(NGHTTP2_CONTINUATION, kEndHead, 3),
       proto},
      {"C22 DATA padded beyond its end", open + data(1, "\x05pad", NGHTTP2_FLAG_PADDED), proto},
      {"C22 HEADERS padded beyond their end",
       frame(NGHTTP2_HEADERS, kEndHead | NGHTTP2_FLAG_PADDED, 1, "\x7f"), proto},
  };
}

// On stream 0, the same for both sides.
std::vector<Row> rows_of_connections() {
  const std::string proto = "PROTOCOL_ERROR", size = "FRAME_SIZE_ERROR",
                    flow = "FLOW_CONTROL_ERROR";
  return {
      {"C16 ENABLE_PUSH 2", settings({{NGHTTP2_SETTINGS_ENABLE_PUSH, 2}}), proto},
      {"C19 SETTINGS on stream 1", frame(NGHTTP2_SETTINGS, 0, 1), proto},
      {"C19 SETTINGS of 7 bytes", frame(NGHTTP2_SETTINGS, 0, 0, "1234567"), size},
      {"C19 ACK with a payload", frame(NGHTTP2_SETTINGS, 1, 0, "123456"), size},
      {"C19 window 2^31", settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x80000000}}), flow},
      {"C19 frame size 16383", settings({{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16383}}), proto},
      {"C19 frame size 2^24", settings({{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 24}}), proto},
      {"C19 33 entries", settings(std::vector<std::pair<uint16_t, uint32_t>>(33, {9, 1})),
       "ENHANCE_YOUR_CALM"},
      {"C20 PING of 7 bytes", frame(NGHTTP2_PING, 0, 0, "1234567"), size},
      {"C20 PING on stream 1", frame(NGHTTP2_PING, 0, 1, "12345678"), proto},
      {"C20 WINDOW_UPDATE 0", window_update(0, 0), proto},
      {"C20 WINDOW_UPDATE of 3 bytes", frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "123"), size},
      {"C20 window above 2^31-1", window_update(0, 0x7fffffff) + window_update(0, 0x7fffffff),
       flow},
      {"C21 CONTINUATION alone", frame(NGHTTP2_CONTINUATION, kEndHead, 1), proto},
      {"C22 frame of 16385 bytes", frame(0x77, 0, 0, std::string(16385, 'x')), size},
      {"C22 GOAWAY on stream 1", frame(NGHTTP2_GOAWAY, 0, 1, std::string(8, '\0')), proto},
  };
}

// Header blocks that HPACK does not allow; on either side the table is lost, and the connection.
std::vector<std::pair<std::string, std::string>> broken_blocks() {
  const std::string zeroes(10, '\x80');
  return {
      {"C23 index 0", "\x80"},
      {"C23 index beyond the table", "\xff\x80\x01"},
      {"C23 Huffman padding with zeroes", "\x40\x81\x00\x01x"s},
      {"C23 Huffman padding of 8 bits", "\x40\x82\x1f\xff\x01x"s},
      {"C23 EOS", "\x40\x84\xff\xff\xff\xff\x01x"s},
      {"C23 table size above the limit", "\x3f\xe2\x1f"s},
      {"C23 table size in the middle of a block", "\x90\x20"s},
      {"C23 number that never ends", cat("\x7f", zeroes, "\x01")},
      {"C23 value that is longer than its block", "\x40\x01x\x7f\x05y"s},
  };
}

class Rules : public ::testing::Test {
 protected:
  void settle() {
    for (int i = 0; i < 30; ++i) loop.turn(Duration::zero());
  }
  bool answered_with(const std::string& code) const {
    if (peer->goaway() == code) return true;
    for (const std::string& frame : peer->frames()) {
      if (frame.starts_with("RST ") && frame.ends_with(" " + code)) return true;
    }
    return false;
  }
  std::string seen() const {
    std::string all;
    for (const std::string& frame : peer->frames()) all += frame + "; ";
    return all;
  }
  EventLoop loop{std::make_unique<VirtualTime>()};
  std::optional<Pipe> pipe;
  std::optional<RawWire> peer;
};

class ServerRules : public Rules {
 protected:
  ~ServerRules() override {
    peer.reset();
    settle();
  }
  void connect() {
    peer.reset();
    settle();
    pipe.emplace(loop);
    server.accept(pipe->end(1));
    peer.emplace(pipe->end(0));
    peer->send(RawWire::hello(true));
    settle();
    ended = 0;
  }
  // Sends a row whole, then on a new connection byte by byte.
  void check(const Row& row) {
    for (const bool whole : {true, false}) {
      SCOPED_TRACE(cat(row.name, whole ? "" : ", byte by byte"));
      connect();
      const uint64_t errors = server.stats.protocol_errors;
      for (std::size_t at = 0; at < row.bytes.size();) {
        const std::size_t count = whole ? row.bytes.size() : 1;
        peer->send(std::string_view(row.bytes).substr(at, count));
        if (!whole) loop.turn(Duration::zero());
        at += count;
      }
      settle();
      EXPECT_EQ(ended, 0) << "was served to its end";
      EXPECT_TRUE(answered_with(row.code)) << seen();
      EXPECT_EQ(server.stats.protocol_errors, errors + 1);
      EXPECT_EQ(server.stats.requests_active, 0u);
      if (!peer->goaway().empty()) {
        peer->send(headers(99, kGet));
        settle();
        EXPECT_FALSE(peer->saw("HEADERS 99"));
      }
    }
  }
  int ended = 0;  // Requests that reached their end.
  FunctionService service{[this](ServerStream& stream) { return serve(*this, stream); }};
  TestServer server{loop, service};

 private:
  // Answers what it was asked when that has arrived whole.
  static Task<void> serve(ServerRules& self, ServerStream& stream) {
    WaitSlot never;
    if (stream.request().body == nullptr) co_await wait_in(never);
    const Result<std::string> all = co_await read_all(*stream.request().body, 1 << 20);
    if (all) ++self.ended;
  }
};

TEST_F(ServerRules, RefusesHeadsThatMeanNothingOrTwoThings) {
  for (const Row& row : rows_of_fields()) check(row);
}

TEST_F(ServerRules, RefusesFramesWhereTheyDoNotBelong) {
  for (const Row& row : rows_of_streams()) check(row);
}

TEST_F(ServerRules, RefusesWhatBreaksTheConnection) {
  for (const Row& row : rows_of_connections()) check(row);
  check({"C16 PUSH_PROMISE",
         headers(1, kGet, kEndHead) + frame(NGHTTP2_PUSH_PROMISE, kEndHead, 1, big_endian(2, 4)),
         "PROTOCOL_ERROR"});
}

TEST_F(ServerRules, RefusesBlocksThatHpackDoesNotAllow) {
  for (const auto& [name, bytes] : broken_blocks()) {
    check({name, frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, bytes), "COMPRESSION_ERROR"});
  }
}

TEST_F(ServerRules, C24DoesNotSpeakToThoseWhoSpeakHttp1) {
  for (const char* text :
       {"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"}) {
    peer.reset();
    settle();
    pipe.emplace(loop);
    server.accept(pipe->end(1));
    peer.emplace(pipe->end(0));
    peer->send(text);
    settle();
    EXPECT_TRUE(peer->ended()) << text;
    EXPECT_EQ(server.connection(), nullptr);
  }
}

TEST_F(ServerRules, IgnoresWhatRfc9113SaysToIgnore) {
  connect();
  const std::string good[] = {
      frame(0x77, 0xff, 0, "what"),                           // C22: an unknown type,
      frame(0x77, 0xff, 1, "what"),                           // and on a stream.
      settings({{0x99, 7}}),                                  // An unknown setting.
      frame(NGHTTP2_PING, 0xfe, 0, "12345678"),               // Undefined flags.
      frame(NGHTTP2_PRIORITY, 0, 7, big_endian(3, 4) + "x"),  // Deprecated.
      headers(1, kGet, kEndHead) + data(1,
                                        "\x02"s
                                        "ok"
                                        "\0\0"s,
                                        NGHTTP2_FLAG_PADDED),
      rst_stream(1) + window_update(1, 1) + rst_stream(1),  // On a closed stream.
  };
  for (const std::string& bytes : good) peer->send(bytes);
  peer->send(headers(3, with(kGet, "host", "a"), kEndHead) + data(3, "x", kEnd));  // C9: equal.
  settle();
  EXPECT_EQ(peer->goaway(), "") << seen();
  EXPECT_EQ(peer->count("PING ACK"), 1u);
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(server.stats.protocol_errors, 0u);
}

TEST_F(ServerRules, RefusesWhatAnHttp1OriginWouldRefuse) {
  connect();
  peer->send(headers(1, with(kGet, "expect", "y")) +
             headers(3, with(kGet, std::string(257, 'n'), "v")));
  settle();
  EXPECT_TRUE(peer->saw("HEADERS 1 :status=417")) << seen();
  EXPECT_TRUE(peer->saw("HEADERS 3 :status=431")) << seen();
}

TEST_F(ServerRules, LateFramesOfAStreamThatWeResetAreNotAMistake) {
  FunctionService answers([](ServerStream& stream) -> Task<void> {
    (void)co_await stream.respond(make_response(413, "no"));
  });
  TestServer other(loop, answers);
  pipe.emplace(loop);
  other.accept(pipe->end(1));
  peer.emplace(pipe->end(0));
  peer->send(RawWire::hello(true) + headers(1, kGet, kEndHead) + data(1, "some"));
  settle();
  EXPECT_TRUE(peer->saw("HEADERS 1 :status=413"));
  EXPECT_TRUE(peer->saw("RST 1 NO_ERROR"));
  // It did not know yet.
  peer->send(data(1, std::string(10'000, 'x')) + headers(1, {{"x", "trailer"}}) + ping());
  settle();
  EXPECT_TRUE(peer->saw("PING ACK"));
  EXPECT_EQ(peer->goaway(), "");
  EXPECT_EQ(other.stats.protocol_errors, 0u);
  peer.reset();
  settle();
}

TEST_F(ServerRules, DrainsWithTwoGoawaysAndLosesNoRequest) {
  std::vector<std::string> asked;
  FunctionService answers([&](ServerStream& stream) -> Task<void> {
    asked.emplace_back(stream.request().path);
    if (stream.request().body != nullptr) (void)co_await read_all(*stream.request().body, 100);
    (void)co_await stream.respond(make_response(200, "ok"));
  });
  TestServer other(loop, answers);
  pipe.emplace(loop);
  other.accept(pipe->end(1));
  peer.emplace(pipe->end(0));
  peer->send(RawWire::hello(true) + headers(1, kGet, kEndHead));
  settle();
  other.connection()->drain();
  settle();
  EXPECT_TRUE(peer->saw("GOAWAY 2147483647 NO_ERROR"));
  EXPECT_TRUE(peer->saw("PING"));
  // What was on its way when it was said is served.
  peer->send(headers(3, instead(":path", "/late")));
  settle();
  EXPECT_TRUE(peer->saw("HEADERS 3 :status=200"));
  peer->send(frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, std::string(8, '\0')));
  settle();
  EXPECT_TRUE(peer->saw("GOAWAY 3 NO_ERROR"));
  peer->send(headers(5, instead(":path", "/too-late")));
  settle();
  EXPECT_EQ(asked, (std::vector<std::string>{"/", "/late"}));
  EXPECT_FALSE(peer->ended());
  peer->send(data(1, "rest", kEnd));
  settle();
  EXPECT_TRUE(peer->saw("HEADERS 1 :status=200"));
  EXPECT_TRUE(peer->ended());
  peer.reset();
  settle();
}

class ClientRules : public Rules {
 protected:
  ~ClientRules() override {
    call.reset();
    peer.reset();
    settle();
  }
  void connect() {
    call.reset();
    peer.reset();
    settle();
    client.emplace(loop);
    pipe.emplace(loop);
    peer.emplace(pipe->end(1));
    peer->send(RawWire::hello(false));
    client->connect(pipe->end(0));
    settle();
    ASSERT_NE(client->connection(), nullptr);
    call = client->connection()->start(request);
    settle();
  }
  // What became of the call: its error, or none if the answer was whole.
  std::optional<Error> outcome() {
    if (!call->head_ready()) return Error(ErrorKind::kTimeout, Fault::kSelf, "no answer");
    Result<Response> head = call->take_head();
    if (!head) return head.error();
    for (int i = 0; i < 10; ++i) {
      const Body::Piece piece = call->poll();
      if (piece.state == Body::State::kEnd) return {};
      if (piece.state == Body::State::kError) return call->error();
      settle();
    }
    return Error(ErrorKind::kTimeout, Fault::kSelf, "no end");
  }
  void expect_broken(const std::string& name, const std::string& bytes, const std::string& code) {
    for (const bool whole : {true, false}) {
      SCOPED_TRACE(cat(name, whole ? "" : ", byte by byte"));
      connect();
      for (std::size_t at = 0; at < bytes.size();) {
        const std::size_t count = whole ? bytes.size() : 1;
        peer->send(std::string_view(bytes).substr(at, count));
        if (!whole) loop.turn(Duration::zero());
        at += count;
      }
      settle();
      EXPECT_TRUE(answered_with(code)) << seen();
      EXPECT_EQ(client->stats.protocol_errors, 1u);
      const auto error = outcome();
      ASSERT_TRUE(error);
      EXPECT_EQ(error->kind(), ErrorKind::kProtocol) << error->message();
      EXPECT_EQ(error->fault(), Fault::kUpstream) << error->message();
      EXPECT_EQ(error->retry(), Retry::kNo);
    }
  }
  Request request = make_request();
  std::optional<TestClient> client;
  std::unique_ptr<Call> call;
};

TEST_F(ClientRules, TakesNoResponseThatMeansNothingOrTwoThings) {
  const FieldList ok = {{":status", "200"}};
  const std::pair<std::string, FieldList> heads[] = {
      {"C14 no status", {{"x", "1"}}},
      {"C14 empty head", {}},
      {"C14 status 1000", {{":status", "1000"}}},
      {"C14 status 099", {{":status", "099"}}},
      {"C14 status 600", {{":status", "600"}}},
      {"C14 status 2x0", {{":status", "2x0"}}},
      {"C14 status 101", {{":status", "101"}}},
      {"C14 status twice", with(ok, ":status", "200")},
      {"C14 status after a field", {{"x", "1"}, {":status", "200"}}},
      {"C14 pseudo-field of a request", with(ok, ":method", "GET")},
      {"C1 line break in a value", with(ok, "x", "a\nb")},
      {"C1 NUL in a value", with(ok, "x", "a\0b"s)},
      {"C2 upper case", with(ok, "X", "1")},
      {"C3 connection", with(ok, "connection", "close")},
      {"C3 transfer-encoding", with(ok, "transfer-encoding", "chunked")},
      {"C3 upgrade", with(ok, "upgrade", "h2c")},
      {"C5 length without a body", with(ok, "content-length", "5")},
      {"C5 two lengths", with(with(ok, "content-length", "5"), "content-length", "6")},
  };
  for (const auto& [name, fields] : heads)
    expect_broken(name, headers(1, fields), "PROTOCOL_ERROR");
}

TEST_F(ClientRules, TakesNoBodyWhereNoneMayBe) {
  const std::string proto = "PROTOCOL_ERROR";
  const auto head = [](const char* status) { return headers(1, {{":status", status}}, kEndHead); };
  expect_broken("C14 DATA on 204", head("204") + data(1, "x", kEnd), proto);
  expect_broken("C14 DATA on 304", head("304") + data(1, "x", kEnd), proto);
  expect_broken("C14 DATA before the head", data(1, "x"), proto);
  expect_broken("C14 DATA after 100", head("100") + data(1, "x"), proto);
  expect_broken("C14 second final HEADERS",
                head("200") + headers(1, {{":status", "200"}}, kEndHead), proto);
  expect_broken(
      "C5 length 5 with 6",
      headers(1, {{":status", "200"}, {"content-length", "5"}}, kEndHead) + data(1, "123456", kEnd),
      proto);
  expect_broken("C13 trailers without END_STREAM", head("200") + headers(1, {{"x", "1"}}, kEndHead),
                proto);
  request = make_request("HEAD");
  expect_broken("C14 DATA on HEAD", head("200") + data(1, "x", kEnd), proto);
}

TEST_F(ClientRules, EndsTheConnectionOnFramesThatDoNotBelong) {
  const std::string proto = "PROTOCOL_ERROR", open = headers(1, {{":status", "200"}}, kEndHead);
  for (const Row& row : rows_of_connections()) expect_broken(row.name, row.bytes, row.code);
  for (const auto& [name, bytes] : broken_blocks()) {
    expect_broken(name, frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, bytes), "COMPRESSION_ERROR");
  }
  expect_broken("C16 PUSH_PROMISE",
                open + frame(NGHTTP2_PUSH_PROMISE, kEndHead, 1, big_endian(2, 4) + block(kGet)),
                proto);
  expect_broken("C16 ENABLE_PUSH 1", settings({{NGHTTP2_SETTINGS_ENABLE_PUSH, 1}}), proto);
  expect_broken("C17 a stream that we did not open", headers(101, {{":status", "200"}}), proto);
  expect_broken("C17 a stream of the server's", headers(2, {{":status", "200"}}), proto);
  expect_broken("C20 stream WINDOW_UPDATE 0", window_update(1, 0), proto);
  expect_broken("C20 stream window above 2^31-1", window_update(1, 0x7fffffff),
                "FLOW_CONTROL_ERROR");
}

TEST_F(ClientRules, C18EndsTheConnectionOnFramesAfterTheEnd) {
  const std::string done = headers(1, {{":status", "200"}});
  for (const std::string& late : {data(1, "x"), headers(1, {{"x", "1"}})}) {
    for (const std::string& end : {done, rst_stream(1)}) {
      connect();
      peer->send(end + late);
      settle();
      EXPECT_EQ(peer->goaway(), "STREAM_CLOSED") << seen();
    }
  }
}

}  // namespace
}  // namespace glia
