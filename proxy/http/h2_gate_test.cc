#include "proxy/http/h2_gate.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "proxy/http/h2_raw_test_support.h"

namespace glia {
namespace {

TEST(IdSet, HoldsWhatASetHolds) {
  std::mt19937 random(4);
  IdSet ids;
  std::set<int32_t> expected;
  for (int i = 0; i < 100'000; ++i) {
    // Numbers that a hash without a seed would put into one place, too.
    const auto id = static_cast<int32_t>(1 + 2 * (random() % 200) * (i % 3 == 0 ? 4096 : 1));
    if (random() % 2 == 0) {
      ids.insert(id);
      expected.insert(id);
    } else {
      EXPECT_EQ(ids.erase(id), expected.erase(id) == 1);
    }
    const auto other = static_cast<int32_t>(1 + 2 * (random() % 200));
    ASSERT_EQ(ids.has(other), expected.contains(other));
    ASSERT_EQ(ids.size(), expected.size());
  }
}

TEST(IdRing, ForgetsTheOldest) {
  IdRing ring(3);
  for (int32_t id : {1, 3, 5, 7}) ring.put(id);
  EXPECT_FALSE(ring.has(1));
  for (int32_t id : {3, 5, 7}) EXPECT_TRUE(ring.has(id));
}

TEST(H2Budget, RefillsByTimeAndByUsefulWork) {
  H2Budget budget({.rate = 20, .burst = 100});
  TimePoint now{1h};
  budget.spend(now, 70);
  EXPECT_FALSE(budget.worn());
  budget.spend(now, 30);
  EXPECT_TRUE(budget.worn());
  EXPECT_FALSE(budget.overdrawn());
  budget.spend(now);
  EXPECT_TRUE(budget.overdrawn());
  budget.earn(11);
  budget.spend(now, 10);
  EXPECT_FALSE(budget.overdrawn());
  budget.spend(now += 1s, 20);
  EXPECT_FALSE(budget.overdrawn());
  budget.spend(now, 1);
  EXPECT_TRUE(budget.overdrawn());
  budget.spend(now + 24h, 100);
  EXPECT_FALSE(budget.overdrawn());
  budget.spend(now + 24h);
  EXPECT_TRUE(budget.overdrawn());
}

class Gate : public ::testing::Test {
 protected:
  Gate() {
    nghttp2_session_callbacks* set = nullptr;
    nghttp2_session_callbacks_new(&set);
    nghttp2_session_server_new(&session, set, nullptr);
    nghttp2_session_callbacks_del(set);
  }
  ~Gate() override { nghttp2_session_del(session); }
  // What the gate lets through of `input`, given to it in pieces of `step` bytes; the first fault
  // ends it.
  std::string pass(H2Gate& gate, std::string_view input, std::size_t step) {
    std::string through;
    fault.reset();
    while (!input.empty()) {
      std::string_view piece = input.substr(0, step);
      input.remove_prefix(piece.size());
      while (!piece.empty()) {
        const H2Gate::Step seen = gate.look(piece, TimePoint{1h});
        EXPECT_GT(seen.pass + seen.drop, 0u);
        through += seen.held;
        through += piece.substr(0, seen.pass);
        piece.remove_prefix(seen.pass + seen.drop);
        fault = seen.fault;
        if (fault) return through;
      }
    }
    return through;
  }
  nghttp2_session* session = nullptr;
  HttpLimits limits;
  std::optional<H2Gate::Fault> fault;
};

const std::string kHead = headers(1, {{"a", "b"}}, kEndHead);

TEST_F(Gate, ChangesNothingOfWhatIsRightHoweverItIsCut) {
  const std::string all =
      cat(RawWire::hello(true), kHead, data(1, "hello"), window_update(1, 5), window_update(0, 7),
          frame(NGHTTP2_PRIORITY, 0, 3, big_endian(1, 4) + "x"), ping(), data(1, "", kEnd),
          headers(5, {{"a", std::string(300, 'b')}}), rst_stream(5), frame(0x77, 3, 9, "what?"));
  for (std::size_t step = 1; step <= all.size(); ++step) {
    H2Gate gate(H2Gate::Peer::kClient, session, limits);
    ASSERT_EQ(pass(gate, all, step), all) << step;
    ASSERT_FALSE(fault) << step << fault->why;
  }
}

TEST_F(Gate, StopsBeforeTheFrameThatIsWrongHoweverItIsCut) {
  const std::string before = cat(RawWire::hello(true), headers(3, {{"a", "b"}}));
  const std::pair<std::string, uint32_t> wrong[] = {
      {headers(1, {}), NGHTTP2_PROTOCOL_ERROR},  // C17: lower than the one before.
      {headers(3, {}), NGHTTP2_STREAM_CLOSED},   // C18: after END_STREAM.
      {data(3, "x"), NGHTTP2_STREAM_CLOSED},
      {frame(NGHTTP2_PRIORITY, 0, 0, "\0\0\0\1x"), NGHTTP2_PROTOCOL_ERROR},
      {frame(NGHTTP2_PRIORITY, 0, 5, big_endian(5, 4) + "x"), NGHTTP2_PROTOCOL_ERROR},
      {frame(NGHTTP2_PUSH_PROMISE, kEndHead, 3, big_endian(2, 4)), NGHTTP2_PROTOCOL_ERROR},
  };
  for (const auto& [bytes, code] : wrong) {
    for (std::size_t step : {1u, 2u, 7u, 13u, 1000u}) {
      H2Gate gate(H2Gate::Peer::kClient, session, limits);
      EXPECT_EQ(pass(gate, cat(before, bytes, ping()), step), before);
      ASSERT_TRUE(fault);
      EXPECT_EQ(fault->code, code) << fault->why;
    }
  }
}

TEST_F(Gate, LetsLateFramesOfStreamsThroughThatWeHaveReset) {
  H2Gate gate(H2Gate::Peer::kClient, session, limits);
  const std::string late = cat(data(1, "late"), headers(1, {{"t", "x"}}));
  pass(gate, cat(RawWire::hello(true), kHead), 1000);
  gate.closed(1);
  EXPECT_EQ(pass(gate, late, 1000), late);
  EXPECT_FALSE(fault);
  for (std::size_t i = 0; i <= H2Gate::kRemembered; ++i) {
    const auto id = static_cast<int32_t>(3 + 2 * i);
    pass(gate, headers(id, {}, kEndHead), 1000);
    gate.closed(id);
  }
  pass(gate, late, 1000);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->code, static_cast<uint32_t>(NGHTTP2_STREAM_CLOSED));
}

TEST_F(Gate, KnowsTheStreamsThatWeOpened) {
  H2Gate gate(H2Gate::Peer::kServer, session, limits);
  gate.we_opened(1);
  const std::string answer = cat(settings(), kHead, data(1, "x", kEnd));
  EXPECT_EQ(pass(gate, answer, 1000), answer);
  EXPECT_FALSE(fault);
  pass(gate, data(1, "more"), 1000);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->code, static_cast<uint32_t>(NGHTTP2_STREAM_CLOSED));
}

TEST_F(Gate, HasEnvoysLimits) {
  const std::string hello = RawWire::hello(true);
  const std::string priority = frame(NGHTTP2_PRIORITY, 0, 3, big_endian(1, 4) + "x");
  limits.priority_frames_per_stream = 5;
  limits.window_updates_per_data_frame = 2;
  H2Gate gate(H2Gate::Peer::kClient, session, limits);
  pass(gate, hello, 1000);
  for (int i = 0; i < 5; ++i) pass(gate, priority, 1000);
  EXPECT_FALSE(gate.overdrawn());
  pass(gate, priority, 1000);
  EXPECT_TRUE(gate.overdrawn());
  pass(gate, kHead, 1000);
  EXPECT_FALSE(gate.overdrawn());
  // 5 + 2 for the stream, and 2 * 2 for one DATA frame.
  for (int i = 0; i < 7; ++i) pass(gate, window_update(0, 1), 1000);
  EXPECT_FALSE(gate.overdrawn());
  pass(gate, window_update(0, 1), 1000);
  EXPECT_TRUE(gate.overdrawn());
  gate.sent_data(true);
  EXPECT_FALSE(gate.overdrawn());
  EXPECT_FALSE(fault);
  limits.empty_frames = 2;
  pass(gate, cat(data(1, ""), data(1, ""), data(1, "x"), data(1, ""), data(1, "")), 1000);
  EXPECT_FALSE(fault);
  pass(gate, data(1, ""), 1000);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->code, static_cast<uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
}

}  // namespace
}  // namespace glia
