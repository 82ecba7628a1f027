// Relays between real sockets, where large flows go through a pipe of the kernel.
#include "proxy/flow/relay.h"

#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/kernel_pipe.h"
#include "proxy/net/tcp.h"
#include "test/sim/counted_stream.h"
#include "test/sim/party.h"

namespace glia {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;
constexpr uint32_t kBuffer = 256 * 1024;  // bytes, as it is by default

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

// A stream of the relay's, until that takes it.
struct Opening final : Stream::Watcher {
  explicit Opening(std::unique_ptr<Stream> made) : stream(std::move(made)) { stream->watch(*this); }
  void on_open() override { open = true; }
  void on_readable() override {}
  void on_writable() override {}
  void on_broken() override {}
  std::unique_ptr<Stream> stream;
  bool open = false;
};

template <class Guest>
struct Door final : AcceptHandler {
  void on_accept(std::unique_ptr<Stream> stream) override { guest.emplace(std::move(stream)); }
  std::unique_ptr<Acceptor> acceptor;
  std::optional<Guest> guest;
};

// client -- relay -- server
class RelayTest : public testing::Test, protected Relay::Owner {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    front_.acceptor = *network_.listen(*Address::parse("127.0.0.1:0"), {}, front_);
    back_.acceptor = *network_.listen(*Address::parse("127.0.0.1:0"), {}, back_);
    client_.emplace(network_.connect(front_.acceptor->address()));
    Opening upstream(network_.connect(back_.acceptor->address()));
    until([&] { return front_.guest && server_ && front_.guest->open && upstream.open; });
    until([&] { return client_->opened > 0 && server_->opened > 0; });
    Relay::Owner& owner = *this;
    relay_ = std::make_unique<Relay>(
        loop_, std::make_unique<CountedStream>(std::move(front_.guest->stream), from_client_),
        std::make_unique<CountedStream>(std::move(upstream.stream), from_server_), kBuffer, owner);
  }
  template <class Condition>
  void until(Condition condition) {
    const TimePoint limit = loop_.clock().now() + 20s;
    while (!condition() && loop_.clock().now() < limit) loop_.turn(10ms);
    ASSERT_TRUE(condition()) << "not within 20 s";
  }
  void on_moved(Relay::Side from, std::size_t bytes) override { moved(from) += bytes; }
  void on_held(Relay::Side from, bool held) override {
    (from == Relay::Side::kDownstream ? client_held_ : server_held_) = held;
  }
  void on_ended() override { ended_ = true; }
  void on_broken(Relay::Side side) override { broken_ = side; }
  uint64_t& moved(Relay::Side from) {
    return from == Relay::Side::kDownstream ? moved_up_ : moved_down_;
  }
  // One exchange of small messages.
  void exchange(const std::string& message) {
    const std::size_t before = client_->received.size();
    client_->send(message);
    until([&] { return server_->received.ends_with(message); });
    server_->send(message);
    until([&] { return client_->received.size() == before + message.size(); });
  }

  EventLoop loop_{std::make_unique<LibeventBackend>()};
  SocketNetwork network_{loop_};
  Door<Opening> front_;
  Door<Party> back_;
  std::optional<Party> client_;
  std::optional<Party>& server_ = back_.guest;
  Reads from_client_, from_server_;
  std::unique_ptr<Relay> relay_;
  uint64_t moved_up_ = 0, moved_down_ = 0;
  bool client_held_ = false, server_held_ = false;
  bool ended_ = false;
  std::optional<Relay::Side> broken_;
};

TEST_F(RelayTest, LargeFlowsPassUnchangedWithoutBeingCopiedAndEndEachOnItsOwn) {
  const std::string up = pattern(8 * kMiB), down = pattern(8 * kMiB + 1);
  client_->send(up, /*then_finish=*/true);
  until([&] { return server_->ended; });
  EXPECT_TRUE(server_->received == up);
  EXPECT_FALSE(ended_);
  server_->send(down, /*then_finish=*/true);
  until([&] { return client_->ended && ended_; });
  EXPECT_TRUE(client_->received == down);
  EXPECT_EQ(relay_->received(Relay::Side::kDownstream), up.size());
  EXPECT_EQ(relay_->received(Relay::Side::kUpstream), down.size());
  EXPECT_EQ(moved_up_, up.size());
  EXPECT_EQ(moved_down_, down.size());
  for (const Reads& reads : {from_client_, from_server_}) EXPECT_GT(reads.piped, reads.copied);
}

TEST_F(RelayTest, SmallMessagesAreCopiedAlsoAfterALargeOne) {
  for (int i = 0; i < 10; ++i) exchange("before " + std::to_string(i));
  EXPECT_EQ(from_client_.piped + from_server_.piped, 0u);
  exchange(pattern(4 * kMiB));
  EXPECT_GT(from_client_.piped, 0u);
  exchange("the last through a pipe");
  const std::size_t piped = from_client_.piped + from_server_.piped;
  for (int i = 0; i < 10; ++i) exchange("after " + std::to_string(i));
  EXPECT_EQ(from_client_.piped + from_server_.piped, piped);
}

TEST_F(RelayTest, ASlowReaderStopsTheSenderWithoutALostByte) {
  const std::string all = pattern(24 * kMiB);
  server_->stream->pause_reading(true);
  client_->send(all);
  // More than the sockets' buffers take at once.
  uint64_t before;
  do {
    before = moved_up_;
    for (int i = 0; i < 20; ++i) loop_.turn(5ms);
  } while (moved_up_ > before);
  EXPECT_TRUE(client_held_);
  EXPECT_LT(client_->sent, all.size());
  EXPECT_EQ(moved_up_, from_client_.piped + from_client_.copied);
  server_->stream->pause_reading(false);
  until([&] { return server_->received.size() == all.size(); });
  EXPECT_TRUE(server_->received == all);
  EXPECT_FALSE(client_held_);
  EXPECT_GT(from_client_.piped, 0u);
}

TEST_F(RelayTest, WhenAllPipesHoldBytesOfOthersTheRestIsCopied) {
  std::vector<KernelPipe> taken;
  while (auto pipe = KernelPipe::borrow()) taken.push_back(std::move(*pipe));
  EXPECT_EQ(taken.size(), KernelPipe::kMost);
  const std::string all = pattern(4 * kMiB);
  client_->send(all);
  until([&] { return server_->received.size() == all.size(); });
  EXPECT_TRUE(server_->received == all);
  EXPECT_EQ(from_client_.piped, 0u);
  taken.clear();
  client_->send(all);
  until([&] { return server_->received.size() == 2 * all.size(); });
  EXPECT_GT(from_client_.piped, 0u);
}

TEST_F(RelayTest, ASenderThatBreaksOffInTheMiddleBreaksTheOtherSide) {
  server_->stream->pause_reading(true);
  client_->send(pattern(24 * kMiB));
  until([&] { return client_held_ && from_client_.piped > 0; });
  client_->stream->abort();
  client_.reset();
  until([&] { return broken_.has_value(); });
  EXPECT_EQ(broken_, Relay::Side::kDownstream);
  relay_.reset();
  server_->stream->pause_reading(false);
  until([&] { return server_->broken; });
}

TEST_F(RelayTest, AReaderThatBreaksOffInTheMiddleBreaksTheSender) {
  client_->send(pattern(24 * kMiB));
  until([&] { return from_client_.piped > 0; });
  server_->stream->abort();
  server_.reset();
  until([&] { return broken_.has_value(); });
  EXPECT_EQ(broken_, Relay::Side::kUpstream);
  relay_.reset();
  until([&] { return client_->broken; });
  // No pipe is lost with what it held.
  std::vector<KernelPipe> all;
  while (auto pipe = KernelPipe::borrow()) all.push_back(std::move(*pipe));
  EXPECT_EQ(all.size(), KernelPipe::kMost);
}

}  // namespace
}  // namespace glia
