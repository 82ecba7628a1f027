#include "proxy/net/client_hello.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "proxy/net/replay_stream.h"
#include "proxy/net/tls.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

// Keeps the first stream that comes.
struct Keeper : AcceptHandler {
  void on_accept(std::unique_ptr<Stream> stream) override {
    party = std::make_unique<Party>(std::move(stream));
  }
  std::unique_ptr<Party> party;
};

// What a BoringSSL client says first.
std::string real_hello(const TlsOptions& options) {
  SimWorld world(1);
  Keeper keeper;
  const Address at = *Address::ip("10.0.0.1", 443);
  auto acceptor = *world.host("10.0.0.1").listen(at, {}, keeper);
  const auto client = *TlsContext::create(TlsContext::Side::kClient, options);
  Party party(client->wrap(world.loop(), world.host("10.0.0.2").connect(at), 10s));
  world.run_until([&] { return keeper.party != nullptr && keeper.party->received.size() > 100; },
                  1s);
  world.run_for(5ms);
  const std::string hello = keeper.party->received;
  party.stream->pause_reading(true);
  return hello;
}

TEST(ClientHello, TellsTheNameAndTheProtocols) {
  const std::string bytes = real_hello({.alpn = {"h2", "http/1.1"}, .server_name = "Shop.Example"});
  const ClientHello hello = read_client_hello(bytes);
  ASSERT_EQ(hello.state, ClientHello::State::kComplete);
  EXPECT_EQ(hello.server_name, "shop.example");
  EXPECT_EQ(hello.application_protocols, (std::vector<std::string>{"h2", "http/1.1"}));
}

// Early data, or the change of cipher that goes before it (RFC 8446 sections 2.3 and D.4).
TEST(ClientHello, IsNotSpoiltByWhatComesBehindIt) {
  using namespace std::string_view_literals;
  const std::string bytes = real_hello({.server_name = "a.example"});
  for (const std::string_view next :
       {"\x14\x03\x03\x00\x01\x01"sv, "\x17\x03\x03\x01\x00xyz"sv, "G"sv}) {
    const ClientHello hello = read_client_hello(bytes + std::string(next));
    EXPECT_EQ(hello.state, ClientHello::State::kComplete);
    EXPECT_EQ(hello.server_name, "a.example");
  }
}

TEST(ClientHello, AsksForMoreUntilItIsComplete) {
  const std::string bytes = real_hello({.server_name = "a.example"});
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_EQ(read_client_hello(std::string_view(bytes).substr(0, size)).state,
              ClientHello::State::kNeedMore)
        << size;
  }
  EXPECT_EQ(read_client_hello(bytes).state, ClientHello::State::kComplete);
}

TEST(ClientHello, KnowsWhatIsNoTls) {
  using namespace std::string_view_literals;
  for (const std::string_view bytes :
       {"G"sv, "GET / HTTP/1.1\r\n"sv, "PRI * HTTP/2.0"sv, "\x16\x04\x01\x00\x05"sv,
        "\x16\x03\x01\xff\xff\x02\x00\x00\x00"sv}) {
    EXPECT_EQ(read_client_hello(bytes).state, ClientHello::State::kNotTls) << bytes;
  }
}

TEST(ClientHello, SurvivesEveryFlippedByte) {
  const std::string bytes = real_hello({.alpn = {"h2"}, .server_name = "a.example"});
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      std::string broken = bytes;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      (void)read_client_hello(broken);  // Under the sanitizers: no read outside of the bytes.
    }
  }
}

TEST(ClientHello, IsNeverLargerThanItsLimit) {
  std::string bytes;
  while (bytes.size() < kLargestHelloRecords) {
    bytes += std::string("\x16\x03\x01\x00\x04\x01\x00\x3f\xff", 9);
  }
  EXPECT_EQ(read_client_hello(bytes).state, ClientHello::State::kNotTls);
}

TEST(ReplayStream, GivesTheBeginningBeforeTheRest) {
  SimWorld world(2);
  Keeper keeper;
  const Address at = *Address::ip("10.0.0.1", 80);
  auto acceptor = *world.host("10.0.0.1").listen(at, {}, keeper);
  Party client(world.host("10.0.0.2").connect(at));
  client.send("hello, ");
  ASSERT_TRUE(world.run_until(
      [&] { return keeper.party != nullptr && keeper.party->received == "hello, "; }, 1s));
  Party replayed(std::make_unique<ReplayStream>(world.loop(), std::move(keeper.party->stream),
                                                Beginning{.bytes = Slice::copy("hello, ")}));
  client.send("world", /*then_finish=*/true);
  ASSERT_TRUE(world.run_until([&] { return replayed.ended; }, 1s));
  EXPECT_EQ(replayed.received, "hello, world");
  EXPECT_EQ(replayed.opened, 1);
  replayed.send("answer");
  ASSERT_TRUE(world.run_until([&] { return client.received == "answer"; }, 1s));
}

}  // namespace
}  // namespace glia
