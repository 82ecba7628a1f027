#include "proxy/net/tls.h"

#include <gtest/gtest.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/net/certificate.h"
#include "proxy/net/tcp.h"
#include "proxy/net/x509.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

const WallTime kNow{1767225600s};  // Where virtual time begins.
const char kServerId[] = "spiffe://mesh.example/ns/shop/sa/reco";
const char kClientId[] = "spiffe://mesh.example/ns/shop/sa/web";

const CertificateAuthority& mesh_ca() {
  static const CertificateAuthority* const ca =
      new CertificateAuthority(*CertificateAuthority::create("mesh.example", kNow, 24h * 3650));
  return *ca;
}
const CertificateAuthority& other_ca() {
  static const CertificateAuthority* const ca =
      new CertificateAuthority(*CertificateAuthority::create("mesh.example", kNow, 24h * 3650));
  return *ca;
}

TlsOptions as(const std::string& id, const CertificateAuthority& ca = mesh_ca(),
              Duration lifetime = 24h * 3650) {
  const Identity identity = *issue(ca, {.uri_san = id, .now = kNow, .lifetime = lifetime});
  return {.certificate_chain = identity.certificate,
          .private_key = identity.private_key,
          .trusted_ca = mesh_ca().certificate(),
          .request_client_certificate = true,
          .require_client_certificate = true,
          .alpn = {"h2", "http/1.1"}};
}

std::shared_ptr<const TlsContext> context(TlsContext::Side side, const TlsOptions& options) {
  auto made = TlsContext::create(side, options);
  EXPECT_TRUE(made.ok()) << made.error().message();
  return *made;
}

// A server and a client in a simulated world.
struct Pair : AcceptHandler {
  Pair(SimWorld& world, const TlsOptions& server_options, const TlsOptions& client_options,
       Duration limit = 10s)
      : world(world),
        limit(limit),
        server_context(context(TlsContext::Side::kServer, server_options)),
        client_context(context(TlsContext::Side::kClient, client_options)) {
    acceptor = *world.host("10.0.0.1").listen(*Address::parse("10.0.0.1:443"), {}, *this);
    client = connect();
  }
  std::unique_ptr<Party> connect() {
    return std::make_unique<Party>(client_context->wrap(
        world.loop(), world.host("10.0.0.2").connect(acceptor->address()), limit));
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    server = std::make_unique<Party>(server_context->wrap(world.loop(), std::move(stream), limit));
  }
  bool open() { return client->opened && server != nullptr && server->opened; }
  // Runs until both sides know how it ended; in TLS 1.3 the client learns late that it was refused.
  void settle() {
    world.run_until(
        [&] { return (server != nullptr && server->broken && client->broken) || open(); }, 60s);
  }

  SimWorld& world;
  const Duration limit;
  std::shared_ptr<const TlsContext> server_context, client_context;
  std::unique_ptr<Acceptor> acceptor;
  std::unique_ptr<Party> server, client;
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

TEST(Tls, BothSidesKnowWhoTheOtherIs) {
  SimWorld world(1);
  TlsOptions client_options = as(kClientId);
  client_options.server_name = "reco.shop";
  Pair t(world, as(kServerId), client_options);
  t.settle();
  ASSERT_TRUE(t.open());
  const TlsInfo& at_server = *t.server->stream->info().tls;
  const TlsInfo& at_client = *t.client->stream->info().tls;
  EXPECT_TRUE(at_server.peer_certificate);
  EXPECT_EQ(at_server.peer_uri_sans, std::vector<std::string>{kClientId});
  EXPECT_EQ(at_client.peer_uri_sans, std::vector<std::string>{kServerId});
  EXPECT_EQ(at_server.local_uri_sans, at_client.peer_uri_sans);
  EXPECT_EQ(at_server.server_name, "reco.shop");
  EXPECT_EQ(at_server.alpn, "h2");
  EXPECT_EQ(at_client.alpn, "h2");
  EXPECT_EQ(at_client.version, "TLSv1.3");
  EXPECT_EQ(at_client.cipher, "TLS_AES_128_GCM_SHA256");
  EXPECT_FALSE(at_client.resumed);
  EXPECT_EQ(at_server.peer_certificate_sha256.size(), 64u);
  const std::string pem = at_server.peer_certificate_pem_url_encoded();
  EXPECT_TRUE(pem.starts_with("-----BEGIN%20CERTIFICATE-----%0A")) << pem;
  EXPECT_EQ(pem.find_first_of("+/= \n"), pem.npos);
  EXPECT_EQ(t.client->stream->info().remote.text(), "10.0.0.1:443");
}

TEST(Tls, CarriesEveryByteOnceForEverySeed) {
  const TlsOptions server_options = as(kServerId), client_options = as(kClientId);
  for_each_seed(20, [&](SimWorld& world) {
    Pair t(world, server_options, client_options);
    const std::string body = pattern(1 + world.random().below(600'000));
    t.client->send(body, /*then_finish=*/true);
    ASSERT_TRUE(world.run_until([&] { return t.server != nullptr; }, 10s));
    t.server->echo = true;
    const auto echoed = [&] { return t.server->ended && t.client->received.size() == body.size(); };
    ASSERT_TRUE(world.run_until(echoed, 600s));
    EXPECT_TRUE(t.client->received == body);
    EXPECT_FALSE(t.client->broken || t.server->broken);
    EXPECT_FALSE(t.client->ended);
    t.server->stream->finish_writing();
    EXPECT_TRUE(world.run_until([&] { return t.client->ended; }, 10s));
  });
}

TEST(Tls, APausedReaderSlowsTheWriterAndLosesNothing) {
  SimWorld world(1);
  Pair t(world, as(kServerId), as(kClientId));
  t.settle();
  t.server->stream->pause_reading(true);
  const std::string body = pattern(2'000'000);
  t.client->send(body);
  world.run_for(60s);
  EXPECT_LT(t.client->sent, body.size());
  EXPECT_EQ(t.server->received, "");
  t.server->stream->pause_reading(false);
  ASSERT_TRUE(world.run_until([&] { return t.server->received.size() == body.size(); }, 60s));
  EXPECT_TRUE(t.server->received == body);
}

// Reads a little and waits to be told again.
struct Sipper : Party {
  using Party::Party;
  void on_readable() override {
    char sip[10];
    const IoResult result = stream->read(sip);
    if (result.state == IoResult::State::kEnd) ended = true;
    received.append(sip, result.bytes);
  }
};

TEST(Tls, AReaderThatTakesLittleIsToldUntilNothingIsLeft) {
  SimWorld world(1);
  Pair t(world, as(kServerId), as(kClientId));
  t.settle();
  Sipper sipper(std::move(t.server->stream));
  t.client->send(pattern(1000), /*then_finish=*/true);
  ASSERT_TRUE(world.run_until([&] { return sipper.ended; }, 10s));
  EXPECT_EQ(sipper.received, pattern(1000));
}

// Reads into blocks of the loop, as the codecs do.
struct BlockReader : Party {
  BlockReader(std::unique_ptr<Stream> made, EventLoop& loop) : Party(std::move(made)), loop(loop) {}
  void on_readable() override {
    constexpr std::size_t kRead = 16 * 1024;
    while (!broken && !ended) {
      Block& block = loop.read_block(kRead);
      const IoResult result = stream->read({block.data(), kRead});
      if (result.state == IoResult::State::kWait) return;
      if (result.state == IoResult::State::kEnd) ended = true;
      if (result.state == IoResult::State::kError) broken = true;
      received.append(block.data(), result.bytes);
    }
  }
  const std::string& all() const { return received; }
  EventLoop& loop;
};

// Keeps what it reads where it was read, so that every block of the loop is in use, and holds the
// block that it reads into: the loop must not be the only one that looks at it, for the TLS stream
// takes blocks of its own meanwhile (Wire::read_once).
struct KeepingReader : Party {
  KeepingReader(std::unique_ptr<Stream> made, EventLoop& loop)
      : Party(std::move(made)), loop(loop) {}
  void on_readable() override {
    constexpr std::size_t kRead = 16 * 1024;
    while (!broken && !ended) {
      Block& block = loop.read_block(kRead);
      const Slice held(&block, block.data(), 0);
      const IoResult result = stream->read({block.data(), kRead});
      if (result.state == IoResult::State::kWait) return;
      if (result.state == IoResult::State::kEnd) ended = true;
      if (result.state == IoResult::State::kError) broken = true;
      kept.emplace_back(&block, block.data(), result.bytes);
    }
  }
  std::string all() const {
    std::string text;
    for (const Slice& slice : kept) text += slice.view();
    return text;
  }
  EventLoop& loop;
  std::vector<Slice> kept;
};

// Many records of all sizes, which span reads, reach a reader of this kind whole and in order.
template <class Reader>
void expect_whole_records() {
  const TlsOptions server_options = as(kServerId), client_options = as(kClientId);
  for_each_seed(20, [&](SimWorld& world) {
    Pair t(world, server_options, client_options);
    t.settle();
    Reader reader(std::move(t.server->stream), world.loop());
    std::string body;
    while (body.size() < 300'000) {
      const std::string piece = pattern(1 + world.random().below(20'000));
      body += piece;
      t.client->send(piece);
    }
    t.client->send("", /*then_finish=*/true);
    ASSERT_TRUE(world.run_until([&] { return reader.ended || reader.broken; }, 600s));
    ASSERT_FALSE(reader.broken) << reader.stream->error().message();
    EXPECT_TRUE(reader.all() == body);
  });
}

TEST(Tls, RecordsThatSpanReadsSurviveAReaderThatReadsIntoTheLoopsBlocks) {
  expect_whole_records<BlockReader>();
}

TEST(Tls, WhatIsReadIntoBlocksStaysWholeWhenAllBlocksOfTheLoopAreInUse) {
  expect_whole_records<KeepingReader>();
}

struct Refusal {
  const char* name;
  TlsOptions server, client;
  const char* server_says;
  const char* client_says;
};

std::vector<Refusal> refusals() {
  std::vector<Refusal> all;
  all.push_back({"client of another authority", as(kServerId), as(kClientId, other_ca()),
                 "TLS handshake with 10.0.0.2:40001 failed: certificate verify failed: ", "alert"});
  all.push_back({"server of another authority", as(kServerId, other_ca()), as(kClientId), "alert",
                 "TLS handshake with 10.0.0.1:443 failed: certificate verify failed: "});
  TlsOptions bare = as(kClientId);
  bare.certificate_chain = bare.private_key = "";
  all.push_back({"no client certificate", as(kServerId), bare, "peer did not return a certificate",
                 "alert certificate required"});
  TlsOptions picky = as(kClientId);
  picky.peer_sans = {{.value = "spiffe://mesh.example/ns/shop/sa/other"}};
  all.push_back({"another identity than expected", as(kServerId), picky, "alert",
                 "certificate verify failed: the peer is spiffe://mesh.example/ns/shop/sa/reco; "
                 "expected spiffe://mesh.example/ns/shop/sa/other"});
  TlsOptions ftp = as(kClientId);
  ftp.alpn = {"ftp"};
  all.push_back({"no protocol in common", as(kServerId), ftp, "no application protocol",
                 "alert no application protocol"});
  TlsOptions old = as(kClientId), modern = as(kServerId);
  old.maximum_version = 0x0303;
  modern.minimum_version = 0x0304;
  all.push_back(
      {"no version in common", modern, old, "unsupported protocol", "alert protocol version"});
  all.push_back({"an expired client", as(kServerId), as(kClientId, mesh_ca(), 1ns), "expired",
                 "alert certificate expired"});
  return all;
}

TEST(Tls, RefusalsAreSentencesOnBothSides) {
  for (const Refusal& refusal : refusals()) {
    SCOPED_TRACE(refusal.name);
    SimWorld world(1);
    world.run_for(1s);
    Pair t(world, refusal.server, refusal.client);
    const auto both = [&] { return t.server != nullptr && t.server->broken && t.client->broken; };
    ASSERT_TRUE(world.run_until(both, 60s));
    EXPECT_EQ(t.server->opened, 0);
    EXPECT_LT(world.passed(), 5s) << "found out by a timeout only";
    EXPECT_NE(t.server->stream->error().message().find(refusal.server_says), std::string::npos)
        << t.server->stream->error().message();
    EXPECT_NE(t.client->stream->error().message().find(refusal.client_says), std::string::npos)
        << t.client->stream->error().message();
    EXPECT_EQ(t.server->stream->error().fault(), Fault::kDownstream);
    EXPECT_EQ(t.client->stream->error().fault(), Fault::kUpstream);
  }
}

TEST(Tls, ServersChooseTheirFirstProtocolAndAClientWithoutAlpnIsServed) {
  SimWorld world(1);
  TlsOptions reversed = as(kClientId);
  reversed.alpn = {"http/1.1", "h2"};
  Pair t(world, as(kServerId), reversed);
  t.settle();
  ASSERT_TRUE(t.open());
  EXPECT_EQ(t.client->stream->info().tls->alpn, "h2");
  SimWorld second(1);
  reversed.alpn = {};
  Pair silent(second, as(kServerId), reversed);
  silent.settle();
  ASSERT_TRUE(silent.open());
  EXPECT_EQ(silent.server->stream->info().tls->alpn, "");
}

TEST(Tls, AClientCertificateThatIsOnlyRequestedMayBeMissing) {
  SimWorld world(1);
  TlsOptions lenient = as(kServerId), bare = as(kClientId);
  lenient.require_client_certificate = false;
  bare.certificate_chain = bare.private_key = "";
  Pair t(world, lenient, bare);
  t.settle();
  ASSERT_TRUE(t.open());
  EXPECT_FALSE(t.server->stream->info().tls->peer_certificate);
  EXPECT_TRUE(t.server->stream->info().tls->peer_uri_sans.empty());
}

TEST(Tls, SpeaksTls12WhenItIsAllowed) {
  SimWorld world(1);
  TlsOptions old = as(kClientId);
  old.maximum_version = 0x0303;
  Pair t(world, as(kServerId), old);
  t.settle();
  ASSERT_TRUE(t.open());
  EXPECT_EQ(t.server->stream->info().tls->version, "TLSv1.2");
  EXPECT_EQ(t.server->stream->info().tls->cipher, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
  EXPECT_EQ(t.server->stream->info().tls->peer_uri_sans, std::vector<std::string>{kClientId});
}

TEST(Tls, AHandshakeThatNeverComesEndsAtItsLimit) {
  SimWorld world(1);
  Pair t(world, as(kServerId), as(kClientId), 3s);
  t.client.reset();
  Party silent(world.host("10.0.0.3").connect(t.acceptor->address()));
  ASSERT_TRUE(world.run_until([&] { return silent.opened && t.server != nullptr; }, 1s));
  EXPECT_FALSE(world.run_until([&] { return t.server->broken; }, 2s));
  ASSERT_TRUE(world.run_until([&] { return t.server->broken; }, 2s));
  EXPECT_EQ(t.server->stream->error().message(),
            cat("TLS handshake with ", t.server->stream->info().remote.text(),
                " failed: not finished after 3000 ms"));
}

TEST(Tls, PlainTextIsRefusedAtOnce) {
  SimWorld world(1);
  Pair t(world, as(kServerId), as(kClientId));
  t.client.reset();
  Party plain(world.host("10.0.0.3").connect(t.acceptor->address()));
  plain.send("GET / HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(
      world.run_until([&] { return plain.opened && t.server != nullptr && t.server->broken; }, 1s));
  EXPECT_NE(t.server->stream->error().message().find("http request"), std::string::npos)
      << t.server->stream->error().message();
}

TEST(Tls, AConnectThatIsRefusedKeepsItsOwnSentence) {
  SimWorld world(1);
  Pair t(world, as(kServerId), as(kClientId));
  t.acceptor.reset();
  ASSERT_TRUE(world.run_until([&] { return t.client->broken; }, 1s));
  EXPECT_EQ(t.client->stream->error().message(), "connect 10.0.0.1:443: connection refused");
}

TEST(Tls, AnEndWithoutCloseNotifyIsAnErrorAndNotAnEnd) {
  SimWorld world(1);
  Pair t(world, as(kServerId), as(kClientId));
  t.settle();
  ASSERT_TRUE(t.open());
  t.client->send("half of the story");
  ASSERT_TRUE(world.run_until([&] { return !t.server->received.empty(); }, 1s));
  t.client.reset();  // Closes the socket without a word.
  ASSERT_TRUE(world.run_until([&] { return t.server->broken || t.server->ended; }, 1s));
  EXPECT_FALSE(t.server->ended);
  EXPECT_NE(t.server->stream->error().message().find("without close_notify"), std::string::npos)
      << t.server->stream->error().message();
}

TEST(Tls, ACloseNotifyIsAnEnd) {
  SimWorld world(1);
  Pair t(world, as(kServerId), as(kClientId));
  t.settle();
  t.client->send("all of it", /*then_finish=*/true);
  ASSERT_TRUE(world.run_until([&] { return t.server->ended; }, 1s));
  EXPECT_EQ(t.server->received, "all of it");
  t.server->send("an answer still passes", /*then_finish=*/true);
  ASSERT_TRUE(world.run_until([&] { return t.client->ended; }, 1s));
  EXPECT_EQ(t.client->received, "an answer still passes");
}

TEST(Tls, AResetInTheHandshakeOrLaterIsAnErrorForEverySeed) {
  const TlsOptions server_options = as(kServerId), client_options = as(kClientId);
  for_each_seed(40,
                [&](SimWorld& world) {
                  Pair t(world, server_options, client_options);
                  t.client->send(pattern(3'000'000));
                  ASSERT_TRUE(world.run_until([&] { return t.client->broken; }, 60s));
                  if (t.server != nullptr) {
                    EXPECT_TRUE(world.run_until([&] { return t.server->broken; }, 60s));
                    EXPECT_FALSE(t.server->ended);
                  }
                },
                {.reset = 1, .reset_within = 30ms});
}

TEST(Tls, OneByteChangedOnTheWayIsAnError) {
  // A man in the middle that copies bytes and changes one of the client's, late in the stream.
  struct Middle : AcceptHandler {
    void on_accept(std::unique_ptr<Stream> stream) override {
      from = std::make_unique<Party>(std::move(stream));
    }
    std::unique_ptr<Party> from;
  };
  SimWorld world(1, {.short_read = 0, .short_write = 0});
  Pair t(world, as(kServerId), as(kClientId));
  t.client.reset();
  Middle middle;
  const auto acceptor = world.host("10.0.0.9").listen(*Address::parse("10.0.0.9:443"), {}, middle);
  Party to(world.host("10.0.0.9").connect(t.acceptor->address()));
  t.client = std::make_unique<Party>(t.client_context->wrap(
      world.loop(), world.host("10.0.0.2").connect((*acceptor)->address()), 10s));
  bool corrupt = false;
  std::size_t forward = 0, back = 0;
  const auto relay = [&] {
    if (middle.from == nullptr || !middle.from->opened || !to.opened) return;
    if (forward < middle.from->received.size()) {
      std::string bytes = middle.from->received.substr(forward);
      forward += bytes.size();
      if (corrupt) bytes.back() ^= 1;
      to.send(bytes);
    }
    if (back < to.received.size()) {
      middle.from->send(to.received.substr(back));
      back = to.received.size();
    }
  };
  ASSERT_TRUE(world.run_until(
      [&] {
        relay();
        return t.open();
      },
      10s));
  corrupt = true;
  t.client->send("attack at dawn");
  ASSERT_TRUE(world.run_until(
      [&] {
        relay();
        return t.server->broken;
      },
      10s));
  EXPECT_EQ(t.server->received, "");
}

TEST(Tls, ConfigurationsThatCannotWorkAreSentences) {
  const auto message = [](TlsContext::Side side, const TlsOptions& options) {
    const auto made = TlsContext::create(side, options);
    return made.ok() ? std::string("(accepted)") : made.error().message();
  };
  const auto server = TlsContext::Side::kServer;
  TlsOptions options = as(kServerId);
  options.private_key = make_private_key();
  EXPECT_EQ(message(server, options),
            "private_key does not belong to the first certificate of certificate_chain");
  options = as(kServerId);
  options.certificate_chain = "no PEM";
  EXPECT_NE(message(server, options).find("certificate_chain holds no certificate"),
            std::string::npos);
  options = as(kServerId);
  options.trusted_ca = options.trusted_ca.substr(0, options.trusted_ca.size() / 2);
  EXPECT_NE(message(server, options).find("trusted_ca"), std::string::npos);
  options = as(kServerId);
  options.trusted_ca = "";
  EXPECT_NE(message(server, options).find("no trusted_ca"), std::string::npos);
  EXPECT_NE(message(server, {}).find("needs a certificate chain"), std::string::npos);
  options = as(kServerId);
  options.cipher_suites = {"RC4-MD5"};
  EXPECT_NE(message(server, options).find("RC4-MD5"), std::string::npos);
  options = as(kServerId);
  options.groups = {"P-192"};
  EXPECT_NE(message(server, options).find("P-192"), std::string::npos);
  options = as(kServerId);
  options.minimum_version = 0x0301;
  EXPECT_NE(message(server, options).find("TLS versions"), std::string::npos);
}

TEST(Tls, DescribesItsOwnAndTheTrustedCertificates) {
  const auto made = context(TlsContext::Side::kServer, as(kServerId));
  ASSERT_TRUE(made->own_certificate().has_value());
  EXPECT_EQ(made->own_certificate()->uri_sans, std::vector<std::string>{kServerId});
  ASSERT_EQ(made->trusted_certificates().size(), 1u);
  EXPECT_EQ(made->trusted_certificates()[0].uri_sans,
            std::vector<std::string>{"spiffe://mesh.example"});
}

// The same over the system's sockets.
TEST(Tls, EchoesAMebibyteOverTcp) {
  struct Server : AcceptHandler {
    void on_accept(std::unique_ptr<Stream> stream) override {
      party = std::make_unique<Party>(context_->wrap(*loop, std::move(stream), 10s));
      party->echo = true;
    }
    std::shared_ptr<const TlsContext> context_;
    EventLoop* loop = nullptr;
    std::unique_ptr<Party> party;
  };
  EventLoop loop(std::make_unique<LibeventBackend>());
  SocketNetwork network(loop);
  // Real time: certificates of now.
  const WallTime now = loop.clock().wall_now();
  const auto ca = CertificateAuthority::create("mesh.example", now, 1h);
  const auto options = [&](const char* id) {
    const Identity identity = *issue(*ca, {.uri_san = id, .now = now, .lifetime = 1h});
    return TlsOptions{.certificate_chain = identity.certificate,
                      .private_key = identity.private_key,
                      .trusted_ca = ca->certificate(),
                      .request_client_certificate = true,
                      .require_client_certificate = true};
  };
  Server server;
  server.loop = &loop;
  server.context_ = context(TlsContext::Side::kServer, options(kServerId));
  const auto client_context = context(TlsContext::Side::kClient, options(kClientId));
  const auto acceptor = network.listen(*Address::parse("127.0.0.1:0"), {}, server);
  ASSERT_TRUE(acceptor.ok());
  Party client(client_context->wrap(loop, network.connect((*acceptor)->address()), 10s));
  const std::string body = pattern(1 << 20);
  client.send(body);
  const TimePoint limit = loop.clock().now() + 20s;
  while (client.received.size() < body.size() && !client.broken && loop.clock().now() < limit) {
    loop.turn(100ms);
  }
  ASSERT_FALSE(client.broken) << client.stream->error().message();
  EXPECT_TRUE(client.received == body);
  EXPECT_EQ(server.party->stream->info().tls->peer_uri_sans, std::vector<std::string>{kClientId});
}

}  // namespace
}  // namespace glia
