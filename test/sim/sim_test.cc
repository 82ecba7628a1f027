#include "test/sim/sim.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "test/sim/party.h"

namespace glia {
namespace {

// Accepts and echoes.
struct EchoServer : AcceptHandler {
  EchoServer(SimWorld& world, const std::string& ip, uint16_t port,
             const ListenOptions& options = {}) {
    auto made = world.host(ip).listen(*Address::ip("0.0.0.0", port), options, *this);
    EXPECT_TRUE(made.ok());
    acceptor = std::move(*made);
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    parties.push_back(std::make_unique<Party>(std::move(stream)));
    parties.back()->echo = true;
  }
  std::unique_ptr<Acceptor> acceptor;
  std::vector<std::unique_ptr<Party>> parties;
};

std::string letters(Random& random, std::size_t size) {
  std::string text(size, ' ');
  for (char& c : text) c = static_cast<char>('a' + random.below(26));
  return text;
}

TEST(Sim, BytesArriveInOrderWholeAndLateForEverySeed) {
  for_each_seed(50, [](SimWorld& world) {
    world.fabric().faults().pipe_capacity = 1000;
    EchoServer server(world, "10.0.0.1", 80);
    Party client(world.host("10.0.0.2").connect(server.acceptor->address()));
    const std::string body = letters(world.random(), 100'000);
    client.send(body, /*then_finish=*/true);
    const auto echoed = [&] {
      return client.received.size() == body.size() && server.parties[0]->ended;
    };
    ASSERT_TRUE(world.run_until(echoed, 600s));
    EXPECT_TRUE(client.received == body);
    EXPECT_GE(world.passed(), 3 * world.fabric().faults().least_latency);
    EXPECT_GT(client.writable, 0) << "a body of a hundred pipes never met a full one";
  });
}

std::string transcript_of(uint64_t seed) {
  SimWorld world(seed, {.refuse = 0.1, .reset = 0.3, .reset_within = 20ms});
  world.fabric().record();
  EchoServer server(world, "10.0.0.1", 80);
  std::vector<std::unique_ptr<Party>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(
        std::make_unique<Party>(world.host("10.0.0.2").connect(server.acceptor->address())));
    clients.back()->send(letters(world.random(), 1 + world.random().below(200'000)));
  }
  world.run_for(1s);
  return world.fabric().transcript();
}

TEST(Sim, TheSameSeedGivesTheSameTranscriptAndAnotherSeedAnother) {
  const std::string first = transcript_of(7);
  EXPECT_GT(first.size(), 1000u);
  EXPECT_TRUE(first == transcript_of(7));
  EXPECT_FALSE(first == transcript_of(8));
}

TEST(Sim, NobodyListeningIsARefusal) {
  SimWorld world(1);
  Party client(world.host("10.0.0.2").connect(*Address::parse("10.0.0.1:80")));
  ASSERT_TRUE(world.run_until([&] { return client.broken; }, 1s));
  EXPECT_EQ(client.stream->error().message(), "connect 10.0.0.1:80: connection refused");
  EXPECT_EQ(client.stream->error().kind(), ErrorKind::kConnectFailed);
  EXPECT_EQ(client.opened, 0);
}

TEST(Sim, SeveralListenAtOneAddressIfAllOfThemShareIt) {
  SimWorld world(1);
  const ListenOptions shared = {.reuse_port = true};
  auto first = std::make_unique<EchoServer>(world, "10.0.0.1", 80, shared);
  EchoServer second(world, "10.0.0.1", 80, shared);
  EXPECT_FALSE(world.host("10.0.0.1").listen(*Address::ip("0.0.0.0", 80), {}, second).ok());
  std::vector<std::unique_ptr<Party>> clients;
  const auto connect = [&](int count) {
    for (int i = 0; i < count; ++i) {
      clients.push_back(
          std::make_unique<Party>(world.host("10.0.0.2").connect(*Address::ip("10.0.0.1", 80))));
    }
    world.run_for(1s);
  };
  connect(40);
  EXPECT_EQ(first->parties.size() + second.parties.size(), 40u);
  EXPECT_GT(first->parties.size(), 5u);
  EXPECT_GT(second.parties.size(), 5u);
  clients.clear();
  world.run_for(1s);
  first.reset();
  const std::size_t before = second.parties.size();
  connect(10);
  EXPECT_EQ(second.parties.size(), before + 10);
}

TEST(Sim, AFullPipeStopsTheWriterUntilTheReaderReads) {
  SimWorld world(1);
  EchoServer server(world, "10.0.0.1", 80);
  Party client(world.host("10.0.0.2").connect(server.acceptor->address()));
  ASSERT_TRUE(world.run_until([&] { return client.opened && server.parties.size() == 1; }, 1s));
  server.parties[0]->echo = false;
  server.parties[0]->stream->pause_reading(true);
  client.send(std::string(1'000'000, 'x'));
  world.run_for(60s);
  EXPECT_EQ(client.sent, world.fabric().faults().pipe_capacity);
  server.parties[0]->stream->pause_reading(false);
  EXPECT_TRUE(
      world.run_until([&] { return server.parties[0]->received.size() == 1'000'000; }, 60s));
}

TEST(Sim, AHostThatDiesBreaksItsStreamsAndRefusesConnectsUntilItIsRevived) {
  SimWorld world(1);
  EchoServer server(world, "10.0.0.1", 80);
  const Address address = server.acceptor->address();
  Party before(world.host("10.0.0.2").connect(address));
  ASSERT_TRUE(world.run_until([&] { return before.opened && server.parties.size() == 1; }, 1s));
  world.fabric().kill("10.0.0.1");
  Party during(world.host("10.0.0.2").connect(address));
  ASSERT_TRUE(world.run_until([&] { return before.broken && during.broken; }, 1s));
  EXPECT_TRUE(server.parties[0]->broken);
  world.fabric().revive("10.0.0.1");
  Party after(world.host("10.0.0.2").connect(address));
  EXPECT_TRUE(world.run_until([&] { return after.opened == 1; }, 1s));
}

TEST(Sim, APartitionDelaysBytesUntilItIsHealed) {
  SimWorld world(1);
  EchoServer server(world, "10.0.0.1", 80);
  Party client(world.host("10.0.0.2").connect(server.acceptor->address()));
  Party other(world.host("10.0.0.3").connect(server.acceptor->address()));
  ASSERT_TRUE(world.run_until([&] { return client.opened && other.opened; }, 1s));
  world.fabric().partition("10.0.0.1", "10.0.0.2");
  client.send("hello");
  other.send("hello");
  Party late(world.host("10.0.0.2").connect(server.acceptor->address()));
  world.run_for(10s);
  EXPECT_EQ(other.received, "hello");
  EXPECT_EQ(client.received, "");
  EXPECT_EQ(late.opened, 0);
  world.fabric().heal("10.0.0.2", "10.0.0.1");
  EXPECT_TRUE(world.run_until([&] { return client.received == "hello" && late.opened; }, 1s));
}

TEST(Sim, AnEndThatIsDestroyedWithBytesUnreadResetsTheOther) {
  SimWorld world(1);
  EchoServer server(world, "10.0.0.1", 80);
  Party client(world.host("10.0.0.2").connect(server.acceptor->address()));
  ASSERT_TRUE(world.run_until([&] { return client.opened && server.parties.size() == 1; }, 1s));
  server.parties[0]->stream->pause_reading(true);
  client.send("never read");
  world.run_for(10ms);
  server.parties.clear();
  ASSERT_TRUE(world.run_until([&] { return client.broken; }, 1s));
  EXPECT_FALSE(client.ended);
}

Task<void> resolve_into(Network& network, std::string host, Result<std::vector<Address>>& out,
                        bool& done) {
  out = co_await network.resolve(std::move(host), 80);
  done = true;
}

TEST(Sim, ResolvesTheNamesThatWereNamed) {
  SimWorld world(1);
  world.fabric().name("reco.shop", {"10.0.0.1", "10.0.0.2"});
  Result<std::vector<Address>> known = invalid(""), unknown = invalid("");
  bool known_done = false, unknown_done = false;
  Task<void> a = resolve_into(world.host("10.0.0.9"), "reco.shop", known, known_done);
  Task<void> b = resolve_into(world.host("10.0.0.9"), "nobody", unknown, unknown_done);
  a.start();
  b.start();
  ASSERT_TRUE(world.run_until([&] { return known_done && unknown_done; }, 1s));
  ASSERT_EQ(known->size(), 2u);
  EXPECT_EQ((*known)[1].text(), "10.0.0.2:80");
  EXPECT_FALSE(unknown.ok());
}

TEST(Sim, AnHourPassesInNoTime) {
  SimWorld world(1);
  int fired = 0;
  CallbackTimer timer(world.loop(), [&] { ++fired; });
  timer.start(1h);
  EXPECT_FALSE(world.run_until([&] { return fired > 0; }, 59min));
  EXPECT_TRUE(world.run_until([&] { return fired > 0; }, 2min));
  EXPECT_EQ(world.passed(), 1h);
}

TEST(Sim, AFailureNamesItsSeed) {
  EXPECT_NONFATAL_FAILURE(for_each_seed(3, [](SimWorld& world) { EXPECT_NE(world.seed(), 3u); }),
                          "GLIA_SIM_SEED=3");
}

}  // namespace
}  // namespace glia
