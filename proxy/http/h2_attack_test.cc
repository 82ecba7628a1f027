// Attacks on an HTTP/2 server by one connection: family D of the checklist. Each must end at its
// limit with the code that belongs there, start no more work and hold no more memory than it paid
// for, and leave a clean client on the same worker alone.
#include <gtest/gtest.h>
#include <malloc.h>

#include <ctime>

#include "proxy/base/pool.h"
#include "proxy/http/h2_raw_test_support.h"
#include "proxy/http/h2_session.h"

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/allocator_interface.h>
#define GLIA_ASAN
#endif

namespace glia {
namespace {

// What the process has allocated and not given back.
std::size_t live_bytes() {
#ifdef GLIA_ASAN
  return __sanitizer_get_current_allocated_bytes();
#else
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd - pool_kept();
#endif
}

const FieldList kGet = {
    {":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};
const FieldList kPost = {
    {":method", "POST"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};

// A body of `size` bytes that is made as it is pulled.
class LongBody final : public Body {
 public:
  LongBody(std::size_t size, uint64_t& pulled) : left_(size), pulled_(pulled) {}
  Piece poll() override {
    if (left_ == 0) return {State::kEnd, {}};
    const std::size_t size = std::min<std::size_t>(left_, 16 * 1024);
    left_ -= size;
    pulled_ += size;
    return {State::kData, Slice::copy(std::string(size, 'x'))};
  }
  void wait(Waiter&) override {}
  Error error() const override { return Error(ErrorKind::kReset, Fault::kSelf, ""); }

 private:
  std::size_t left_;
  uint64_t& pulled_;
};

class Attack : public ::testing::Test {
 protected:
  Attack() {
    clean_.connect(clean_pipe_.end(0));
    server.accept(clean_pipe_.end(1));
    settle();
  }
  ~Attack() override {
    attacker.reset();
    settle();
  }

  void settle(int turns = 30) {
    for (int i = 0; i < turns; ++i) loop.turn(Duration::zero());
  }
  void connect() {
    pipe.emplace(loop);
    before_ = live_bytes();
    server.accept(pipe->end(1));
    attacker.emplace(pipe->end(0));
    attacker->send(RawWire::hello(true));
    settle();
  }
  // Sends batches until the connection is ended; how many it took.
  template <class Batch>
  int flood(int batches, Batch batch) {
    for (int i = 0; i < batches; ++i) {
      if (attacker->ended()) return i;
      attacker->send(batch(i));
      settle(4);
      check_memory();
      if (i % 16 == 0) expect_clean_client_is_served();
      if (::testing::Test::HasFailure()) return i;
    }
    return batches;
  }
  // 10 times what was received and 64 KiB.
  void check_memory() {
    if (!attacker->all_sent()) return;
    const std::size_t ours = pipe->memory() + attacker_memory_;
    const std::size_t live = live_bytes();
    const std::size_t grown = live > before_ + ours ? live - before_ - ours : 0;
    EXPECT_LE(grown, 10 * attacker->sent() + 64 * 1024 + allowed_more);
  }
  void expect_ended(std::string_view code) {
    for (int i = 0; i < 50 && !attacker->ended(); ++i) loop.turn(100ms);
    EXPECT_TRUE(attacker->ended());
    EXPECT_EQ(attacker->goaway(), code);
    EXPECT_EQ(active, 0);
    expect_clean_client_is_served();
  }
  void expect_clean_client_is_served() {
    Request request = make_request("GET", "/clean");
    ASSERT_NE(clean_.connection(), nullptr);
    std::unique_ptr<Call> call = clean_.connection()->start(request);
    for (int i = 0; i < 100 && !call->head_ready(); ++i) loop.turn(Duration::zero());
    ASSERT_TRUE(call->head_ready());
    Result<Response> head = call->take_head();
    ASSERT_TRUE(head.ok());
    EXPECT_EQ(head->status, 200);
    settle(4);
  }

  EventLoop loop{std::make_unique<VirtualTime>()};
  int started = 0;  // The attacker's requests that reached the service.
  int active = 0, most_active = 0;
  uint64_t pulled = 0;     // Bytes of its answers that were made.
  bool hangs = false;      // The service never answers it.
  std::size_t answer = 2;  // bytes
  std::size_t allowed_more = 0;
  FunctionService service{[this](ServerStream& stream) { return serve(*this, stream); }};
  TestServer server{loop, service};
  std::optional<Pipe> pipe;
  std::optional<RawWire> attacker;

 private:
  struct Count {
    explicit Count(Attack& attack) : attack(attack) {
      attack.most_active = std::max(attack.most_active, ++attack.active);
    }
    ~Count() { --attack.active; }
    Attack& attack;
  };
  static Task<void> serve(Attack& self, ServerStream& stream) {
    if (stream.request().path == "/clean") {
      (void)co_await stream.respond(make_response(200, "ok"));
      co_return;
    }
    const Count count(self);
    ++self.started;
    WaitSlot never;
    if (self.hangs) co_await wait_in(never);
    if (stream.request().body != nullptr) (void)co_await read_all(*stream.request().body, 1 << 20);
    Response response = make_response(200);
    response.body = std::make_unique<LongBody>(self.answer, self.pulled);
    (void)co_await stream.respond(std::move(response));
  }

  Pipe clean_pipe_{loop};
  TestClient clean_{loop};
  std::size_t before_ = 0;
  // What the attacker itself remembers of frames it was sent.
  std::size_t attacker_memory_ = 512 * 1024;
};

TEST_F(Attack, D1RapidResetEndsAfterTheBudgetAndStartsNothingInTheSameRead) {
  connect();
  const int batches = flood(2000, [](int i) {
    std::string all;
    for (int k = 0; k < 50; ++k) {
      const int32_t id = 1 + 2 * (50 * i + k);
      all += headers(id, kGet) + rst_stream(id);
    }
    return all;
  });
  EXPECT_LE(batches, 4);
  expect_ended("ENHANCE_YOUR_CALM");
  EXPECT_EQ(started, 0);
}

TEST_F(Attack, D1RapidResetStartsNoMoreRequestsThanTheBudget) {
  hangs = true;
  connect();
  flood(100'000, [](int i) {
    const int32_t id = 1 + 2 * i;
    return (i > 0 ? rst_stream(id - 2) : "") + headers(id, kGet);
  });
  expect_ended("ENHANCE_YOUR_CALM");
  EXPECT_LE(started, 102);
  EXPECT_EQ(server.stats.requests_active, 0u);
}

TEST_F(Attack, D1AClientThatFinishesMoreThanItCancelsGoesOn) {
  answer = 100;
  connect();
  attacker->send(window_update(0, 1 << 30));
  int32_t id = 1;
  flood(400, [&](int) {
    std::string all = headers(id, kGet) + headers(id + 2, kPost, kEndHead) + rst_stream(id + 2);
    id += 4;
    return all;
  });
  EXPECT_FALSE(attacker->ended());
  EXPECT_EQ(attacker->goaway(), "");
}

TEST_F(Attack, D2MadeYouResetIsEndedAtOnceOrByTheSameBudget) {
  hangs = true;
  const std::tuple<std::string, std::function<std::string(int32_t)>, std::string> primitives[] = {
      {"WINDOW_UPDATE 0", [](int32_t id) { return window_update(id, 0); }, "PROTOCOL_ERROR"},
      {"window overflow", [](int32_t id) { return window_update(id, 0x7fffffff); },
       "ENHANCE_YOUR_CALM"},
      {"PRIORITY of 4 bytes", [](int32_t id) { return frame(NGHTTP2_PRIORITY, 0, id, "1234"); },
       "FRAME_SIZE_ERROR"},
      {"PRIORITY on itself",
       [](int32_t id) {
         return frame(NGHTTP2_PRIORITY, 0, id, big_endian(static_cast<uint32_t>(id), 4) + "x");
       },
       "PROTOCOL_ERROR"},
      {"HEADERS after END_STREAM", [](int32_t id) { return headers(id, kGet); }, "STREAM_CLOSED"},
      {"DATA after END_STREAM", [](int32_t id) { return data(id, "x"); }, "STREAM_CLOSED"},
  };
  for (const auto& [name, primitive, code] : primitives) {
    SCOPED_TRACE(name);
    started = 0;
    connect();
    int32_t id = 1;
    flood(100'000, [&](int i) {
      if (i % 2 == 0) return headers(id, kGet);
      return primitive(std::exchange(id, id + 2));
    });
    expect_ended(code);
    EXPECT_LE(started, 102);
    EXPECT_EQ(server.stats.requests_active, 0u);
  }
}

TEST_F(Attack, D2AStreamKeepsItsPlaceUntilItsWorkHasEnded) {
  hangs = true;
  server.options.limits.streams = 10;
  connect();
  int32_t id = 1;
  flood(20, [&](int i) {
    std::string all;
    for (int32_t gone = id - 20; i > 0 && gone < id; gone += 2) all += rst_stream(gone);
    for (int k = 0; k < 10; ++k, id += 2) all += headers(id, kGet);
    return all;
  });
  EXPECT_GT(started, 10);
  EXPECT_LE(most_active, 10);
}

TEST_F(Attack, D3ContinuationFramesEndAfterEight) {
  const std::string piece = block({{"x", std::string(100, 'y')}});
  for (const auto& [name, payload] : {std::pair{"full", piece},
                                      {"empty", std::string()},
                                      {"huffman", std::string("\x40\x81\x07", 3)}}) {
    SCOPED_TRACE(name);
    connect();
    attacker->send(headers(1, kGet, kEnd));
    const int batches =
        flood(1'000'000, [&](int) { return frame(NGHTTP2_CONTINUATION, 0, 1, payload); });
    EXPECT_LE(batches, 10);
    for (int i = 0; i < 50 && !attacker->ended(); ++i) loop.turn(100ms);
    EXPECT_TRUE(attacker->ended());
    EXPECT_TRUE(attacker->goaway() == "ENHANCE_YOUR_CALM" ||
                attacker->goaway() == "COMPRESSION_ERROR")
        << attacker->goaway();
    EXPECT_EQ(started, 0);
  }
  expect_clean_client_is_served();
}

struct FloodRow {
  std::string name;
  std::string first;  // Once, on stream 1.
  std::string again;  // A hundred times a batch.
  std::string code;
  int most;  // Batches.
};

TEST_F(Attack, FloodsEndAtTheLimitOfTheirKind) {
  const FloodRow rows[] = {
      {"D4 PING", "", ping(), "ENHANCE_YOUR_CALM", 11},
      // Asked to leave when most is spent, it answers even that, and nothing holds it any more.
      {"D4 PING answers", "", ping(1), "NO_ERROR", 9},
      {"D5 SETTINGS", "", settings({{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 100}}),
       "ENHANCE_YOUR_CALM", 2},
      {"D6 PRIORITY", "", frame(NGHTTP2_PRIORITY, 0, 3, big_endian(1, 4) + "x"),
       "ENHANCE_YOUR_CALM", 2},
      {"D6 PRIORITY_UPDATE", "", frame(NGHTTP2_PRIORITY_UPDATE, 0, 0, big_endian(1, 4) + "u=1"),
       "ENHANCE_YOUR_CALM", 2},
      {"D7 empty DATA", headers(1, kPost, kEndHead), data(1, ""), "ENHANCE_YOUR_CALM", 1},
      {"D7 padded DATA without a byte", headers(1, kPost, kEndHead),
       data(1, std::string(1, '\0'), NGHTTP2_FLAG_PADDED), "", 0},
      {"WINDOW_UPDATE of the connection", "", window_update(0, 1), "ENHANCE_YOUR_CALM", 1},
      {"C22 unknown types", "", frame(0x77, 0, 0, "what"), "ENHANCE_YOUR_CALM", 11},
      {"GOAWAY", headers(1, kPost, kEndHead), frame(NGHTTP2_GOAWAY, 0, 0, std::string(8, '\0')),
       "ENHANCE_YOUR_CALM", 11},
  };
  for (const FloodRow& row : rows) {
    SCOPED_TRACE(row.name);
    hangs = true;
    connect();
    attacker->send(row.first);
    const int batches = flood(1000, [&](int) {
      std::string all;
      for (int i = 0; i < 100; ++i) all += row.again;
      return all;
    });
    if (row.code.empty()) continue;  // Bounded by flow control, and not more than what was sent.
    EXPECT_LE(batches, row.most);
    expect_ended(row.code);
  }
}

// CPU of this process, whatever else the machine does.
Duration cpu_time() { return std::chrono::microseconds(std::clock() * 1'000'000 / CLOCKS_PER_SEC); }

class Cost : public Attack {
 protected:
  // CPU of one of the `count` things in `all`, on a connection that has sent `first`: the least of
  // some tries, so that only what it really takes counts.
  Duration of(const std::string& first, const std::string& all, int count) {
    Duration least = Duration::max();
    for (int i = 0; i < 9; ++i) {
      connect();
      attacker->send(first);
      settle();
      const Duration before = cpu_time();
      attacker->send(all);
      settle(12);
      least = std::min(least, (cpu_time() - before) / count);
      attacker.reset();
      settle(12);
    }
    return least;
  }
  template <class Make>
  static std::string times(int count, Make make) {
    std::string all;
    for (int i = 0; i < count; ++i) all += make(i);
    return all;
  }
};

// Family D, its bar for work: no frame of an attack costs more than ten requests that are served.
TEST_F(Cost, OfNoFrameOfAnAttackIsThatOfTenRequests) {
  constexpr int kMany = 80;  // Below each limit.
  const auto request = [](int i) { return headers(1 + 2 * i, kGet); };
  const std::string hundred = times(100, request);
  const Duration served = of("", times(kMany, request), kMany);
  ASSERT_GT(served, Duration::zero());
  struct Row {
    const char* name;
    std::string first, again;
  };
  FieldList wide = kGet;
  while (wide.size() < 99) wide.emplace_back("a", "b");
  const std::string bomb =
      cat(block(kGet), "\x40", hpack_text("x"), hpack_text("v"), std::string(10'000, '\xbe'));
  const auto window = [](int i) {
    return settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, i % 2 == 0 ? 0x7fffffffu : 0u}});
  };
  const auto opened = [](int i) { return headers(1 + 2 * i, kPost, kEndHead); };
  const std::string no_window = settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}});
  const Row rows[] = {
      {"D1 HEADERS and RST_STREAM", "",
       times(kMany, [&](int i) { return request(i) + rst_stream(1 + 2 * i); })},
      {"D4 PING", "", times(kMany, [](int) { return ping(); })},
      {"D5 SETTINGS", "", times(kMany, [](int) { return settings(); })},
      {"D6 PRIORITY", "",
       times(kMany, [](int) { return frame(NGHTTP2_PRIORITY, 0, 3, big_endian(1, 4) + "x"); })},
      {"D9 DATA of a byte", headers(1, kPost, kEndHead),
       times(kMany, [](int) { return data(1, "x"); })},
      {"D13 a hundred fields", "", times(kMany, [&](int i) { return headers(1 + 2 * i, wide); })},
      {"D15 windows of 100 streams that wait", no_window + hundred, times(kMany, window)},
      {"D16 HEADERS that open a stream", "", times(kMany, opened)},
      {"D18 a stream too many", times(100, opened),
       times(kMany, [&](int i) { return request(100 + i); })},
      {"C22 an unknown type", "", times(kMany, [](int) { return frame(0x77, 0, 0, "what"); })},
  };
  for (const Row& row : rows) {
    answer = std::string_view(row.name).starts_with("D15") ? 1'000'000 : 2;
    allowed_more = 1 << 30;
    const Duration cost = of(row.first, row.again, kMany);
    EXPECT_LE(cost, 10 * served) << row.name << ": " << cost.count() << " ns, a request "
                                 << served.count() << " ns";
  }
  // A block that says one field ten thousand times is given up while it is decoded.
  const Duration cost = of("", frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, bomb), 1);
  const auto fair = static_cast<int64_t>(bomb.size() / block(kGet).size());
  EXPECT_LE(cost, 10 * fair * served) << "what as many bytes of requests cost: " << fair;
}

TEST_F(Attack, D4PingsOfAClientThatMeasuresRoundTripsAreAnswered) {
  connect();
  attacker->send(headers(1, kPost, kEndHead));
  flood(3000, [](int) { return data(1, "x") + ping(); });
  EXPECT_FALSE(attacker->ended());
  EXPECT_EQ(attacker->count("PING ACK"), 3000u);
}

TEST_F(Attack, D4AnswersThatWaitToLeaveHaveALimitOfTheirOwn) {
  server.options.limits.outbound_control_frames = 50;
  connect();
  std::string all;
  for (int i = 0; i < 51; ++i) all += ping();
  attacker->send(all);
  expect_ended("ENHANCE_YOUR_CALM");
}

TEST_F(Attack, D10FramesOfAllKindsThatWaitToLeaveHaveALimit) {
  server.options.limits.outbound_frames = 20;
  connect();
  std::string all;
  for (int i = 0; i < 25; ++i) all += ping();
  attacker->send(all);
  expect_ended("ENHANCE_YOUR_CALM");
}

TEST_F(Attack, D8NamesWithoutALetterEndTheConnection) {
  connect();
  FieldList fields = kGet;
  for (int i = 0; i < 1000; ++i) fields.emplace_back("", "");
  const int batches = flood(10'000, [&](int i) { return headers(1 + 2 * i, fields); });
  EXPECT_LE(batches, 110);
  expect_ended("ENHANCE_YOUR_CALM");
  EXPECT_EQ(started, 0);
}

TEST_F(Attack, D9DataInCrumbsEndsAtTheLimit) {
  answer = 1'000'000;
  connect();
  attacker->send(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1}}) + headers(1, kGet));
  const int batches = flood(10'000, [](int) { return window_update(1, 1); });
  EXPECT_LE(batches, 1100);
  expect_ended("ENHANCE_YOUR_CALM");
  EXPECT_LE(pulled, 2u * 16 * 1024);
}

TEST_F(Attack, D10AClientThatReadsNothingIsOwedNoMoreThanAPieceAStream) {
  answer = 1'000'000;
  allowed_more = 100 * 20 * 1024 + 192 * 1024;
  connect();
  attacker->send(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) +
                 window_update(0, 0x70000000));
  settle();
  attacker->read_nothing();
  pipe->hold(1, true);
  flood(200, [](int i) { return i < 100 ? headers(1 + 2 * i, kGet) : std::string(); });
  EXPECT_EQ(started, 100);
  // A piece a stream, what waits for the socket, and what the pipe has taken.
  EXPECT_LE(pulled, 100 * 16 * 1024 + 2 * H2Session::kLeastOutput + Pipe::kRoom + 64 * 1024);
  expect_clean_client_is_served();
}

TEST_F(Attack, D12AndD13BombsOfFieldsEndWhileTheyAreDecoded) {
  // A name and a value that enter the table, then one byte for each time it is said again.
  const auto bomb = [](std::string_view name, std::size_t value, int times) {
    return cat(block(kGet), "\x40", hpack_text(name), hpack_text(std::string(value, 'v')),
               std::string(static_cast<std::size_t>(times), '\xbe'));
  };
  const std::pair<const char*, std::string> bombs[] = {
      {"D12 entry of 4,000 bytes", bomb("x", 3900, 16'000 - 4000)},
      {"D13 tiny entry", bomb("x", 1, 10'000)},
      {"D13 crumbs", bomb("cookie", 3, 10'000)},
  };
  for (const auto& [name, payload] : bombs) {
    SCOPED_TRACE(name);
    connect();
    attacker->send(frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, payload));
    settle();
    check_memory();
    expect_ended("ENHANCE_YOUR_CALM");
    EXPECT_EQ(started, 0);
  }
}

TEST_F(Attack, D13A101stFieldIsRefusedAndTheConnectionGoesOn) {
  connect();
  FieldList fields = kGet;
  while (fields.size() <= server.options.limits.header_fields) fields.emplace_back("cookie", "a=b");
  attacker->send(headers(1, fields));
  settle();
  EXPECT_TRUE(attacker->saw("HEADERS 1 :status=431"));
  attacker->send(headers(3, kGet));
  settle();
  EXPECT_TRUE(attacker->saw("HEADERS 3 :status=200"));
}

TEST_F(Attack, D14StreamsWithoutAWindowPullOnePieceEach) {
  answer = 10'000'000;
  allowed_more = 100 * 24 * 1024;
  connect();
  attacker->send(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}));
  flood(100, [](int i) { return headers(1 + 2 * i, kGet); });
  EXPECT_EQ(started, 100);
  EXPECT_LE(pulled, 100u * 16 * 1024);
  expect_clean_client_is_served();
}

TEST_F(Attack, D15WindowsThatGoUpAndDownEndAtTheBudgetOfSettings) {
  answer = 10'000'000;
  allowed_more = 100 * 40 * 1024;
  connect();
  attacker->send(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}));
  for (int i = 0; i < 100; ++i) attacker->send(headers(1 + 2 * i, kGet));
  settle();
  const int batches = flood(10'000, [](int i) {
    return settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, i % 2 == 0 ? 0x7fffffffu : 0u}});
  });
  EXPECT_LE(batches, 110);
  expect_ended("ENHANCE_YOUR_CALM");
}

TEST_F(Attack, D16ManyStreamsOneAfterTheOtherLeaveNothingBehind) {
  connect();
  attacker->send(window_update(0, 1 << 30));
  settle();
  int32_t id = 1;
  const auto batch = [&](int) {
    std::string all;
    for (int i = 0; i < 50; ++i, id += 2) all += headers(id, kGet);
    return all;
  };
  flood(20, batch);
  const std::size_t before = live_bytes();
  for (int i = 0; i < 400; ++i) {
    attacker->send(batch(i));
    settle(4);
  }
  EXPECT_EQ(started, 420 * 50);
  EXPECT_FALSE(attacker->ended());
  // The attacker notes 40,000 frames; the server nothing.
  EXPECT_LE(live_bytes(), before + 8 * 1024 * 1024);
}

TEST_F(Attack, D17LengthsAreRefusedAsTheyAreDeclared) {
  const std::pair<const char*, std::string> rows[] = {
      {"value of 4 GiB", cat(std::string(1, '\0'), hpack_text("x"), hpack_number(1u << 31, 7))},
      {"name of 1 MiB", cat(std::string(1, '\0'), hpack_number(1u << 20, 7))},
      {"number padded with zeroes", cat(std::string(1, '\0'), "\x7f", std::string(20, '\x80'))},
      {"index padded with zeroes", cat("\xff", std::string(20, '\x80'))},
  };
  for (const auto& [name, payload] : rows) {
    SCOPED_TRACE(name);
    connect();
    attacker->send(frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, payload));
    settle();
    check_memory();
    expect_ended("COMPRESSION_ERROR");
  }
}

TEST_F(Attack, D18StreamsAboveTheLimitAreRefusedBeforeTheSettingsAreKnown) {
  hangs = true;
  connect();
  flood(10, [](int batch) {
    std::string all;
    for (int i = 0; i < 100; ++i) all += headers(1 + 2 * (100 * batch + i), kGet);
    return all;
  });
  EXPECT_EQ(started, 100);
  EXPECT_EQ(attacker->count("RST"), 900u);
  EXPECT_TRUE(attacker->saw("RST 201 REFUSED_STREAM"));
  EXPECT_EQ(attacker->goaway(), "NO_ERROR");  // Worn out, but not ended.
  EXPECT_FALSE(attacker->ended());
}

TEST_F(Attack, D20CollidingStreamNumbersAndNamesAreJustMore) {
  hangs = true;
  connect();
  flood(100,
        [](int i) { return headers(1 + (i << 20), kPost, kEndHead) + data(1 + (i << 20), "x"); });
  EXPECT_EQ(started, 100);
  EXPECT_FALSE(attacker->ended());
}

TEST_F(Attack, D21OdditiesAreForgivenWithTimeWarnedAboutThenEnded) {
  connect();
  const std::string odd = frame(0x77, 0, 0, "what");
  for (int second = 0; second < 3000; ++second) {  // Thirty a second.
    std::string all;
    for (int i = 0; i < 30; ++i) all += odd;
    attacker->send(all);
    for (const TimePoint until = loop.now() + 1s; loop.now() < until;) {
      loop.turn(until - loop.now());
    }
  }
  EXPECT_EQ(attacker->goaway(), "");
  EXPECT_FALSE(attacker->ended());
  std::string most;
  for (int i = 0; i < 800; ++i) most += odd;
  attacker->send(most + headers(1, kGet));
  settle();
  EXPECT_EQ(attacker->goaway(), "NO_ERROR");  // Asked to leave; what it asked is still answered.
  EXPECT_TRUE(attacker->saw("HEADERS 1 :status=200"));
}

}  // namespace
}  // namespace glia
