// Sessions that are resumed, with both sides ours: what saves a handshake, and everything that must
// not.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/tls.h"
#include "proxy/net/tls_session.h"
#include "proxy/net/x509.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

const WallTime kNow{1767225600s};  // Where virtual time begins.

const CertificateAuthority& mesh_ca() {
  static const CertificateAuthority* const ca =
      new CertificateAuthority(*CertificateAuthority::create("mesh.example", kNow, 24h * 3650));
  return *ca;
}

TlsOptions as(const std::string& name, Duration lifetime = 24h * 3650) {
  const Identity identity = *issue(
      mesh_ca(),
      {.uri_san = "spiffe://mesh.example/ns/shop/sa/" + name, .now = kNow, .lifetime = lifetime});
  return {.certificate_chain = identity.certificate,
          .private_key = identity.private_key,
          .trusted_ca = mesh_ca().certificate(),
          .request_client_certificate = true,
          .require_client_certificate = true};
}

std::shared_ptr<const TlsContext> context(TlsContext::Side side, const TlsOptions& options) {
  auto made = TlsContext::create(side, options);
  EXPECT_TRUE(made.ok()) << made.error().message();
  return *made;
}

struct Resumption : testing::Test, AcceptHandler {
  Resumption() {
    acceptor = *world.host("10.0.0.1").listen(*Address::parse("10.0.0.1:443"), {}, *this);
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    party =
        std::make_unique<Party>(server->wrap(world.loop(), std::move(stream), 10s, {&at_server}));
  }
  // A connection that says hello and goodbye; what the client learnt of the handshake.
  TlsInfo talk() {
    party.reset();
    Party caller(client->wrap(world.loop(), world.host("10.0.0.2").connect(acceptor->address()),
                              10s, {&at_client, &sessions}));
    const auto over = [&] {
      return caller.broken || (party != nullptr && party->opened && caller.opened);
    };
    EXPECT_TRUE(world.run_until(over, 20s));
    if (caller.broken) return {};
    party->send("hello");
    EXPECT_TRUE(world.run_until([&] { return caller.received == "hello"; }, 5s));
    EXPECT_EQ(party->stream->info().tls->resumed, caller.stream->info().tls->resumed);
    return *caller.stream->info().tls;
  }
  void serve(const TlsOptions& options) { server = context(TlsContext::Side::kServer, options); }
  void call(const TlsOptions& options) { client = context(TlsContext::Side::kClient, options); }

  SimWorld world{1};
  TlsOptions server_options = as("reco"), client_options = as("web");
  std::shared_ptr<const TlsContext> server = context(TlsContext::Side::kServer, server_options);
  std::shared_ptr<const TlsContext> client = context(TlsContext::Side::kClient, client_options);
  TlsStats at_server, at_client;
  TlsSessions sessions;
  std::unique_ptr<Acceptor> acceptor;
  std::unique_ptr<Party> party;
};

TEST_F(Resumption, SavesHandshakesAndKeepsBothIdentities) {
  EXPECT_FALSE(talk().resumed);
  for (int i = 0; i < 10; ++i) {
    const TlsInfo info = talk();
    ASSERT_TRUE(info.resumed) << i;
    EXPECT_EQ(info.peer_uri_sans,
              std::vector<std::string>{"spiffe://mesh.example/ns/shop/sa/reco"});
    EXPECT_EQ(party->stream->info().tls->peer_uri_sans,
              std::vector<std::string>{"spiffe://mesh.example/ns/shop/sa/web"});
    EXPECT_EQ(sessions.size(), 1u) << "used once, and a new one came";
  }
  EXPECT_EQ(at_client.handshakes, 11u);
  EXPECT_EQ(at_client.resumed, 10u);
  EXPECT_EQ(at_server.resumed, 10u);
}

TEST_F(Resumption, Tls12ResumesAsWell) {
  client_options.maximum_version = 0x0303;
  call(client_options);
  EXPECT_FALSE(talk().resumed);
  for (int i = 0; i < 3; ++i) {
    const TlsInfo info = talk();
    EXPECT_TRUE(info.resumed);
    EXPECT_EQ(info.version, "TLSv1.2");
    EXPECT_EQ(info.peer_uri_sans.size(), 1u);
  }
}

TEST_F(Resumption, KeepsNoMoreSessionsThanItMay) {
  server_options.tickets = true;
  client_options.sessions = 2;
  call(client_options);
  std::vector<std::unique_ptr<Party>> callers;
  for (int i = 0; i < 5; ++i) {
    callers.push_back(std::make_unique<Party>(
        client->wrap(world.loop(), world.host("10.0.0.2").connect(acceptor->address()), 10s,
                     {&at_client, &sessions})));
    ASSERT_TRUE(world.run_until([&] { return party != nullptr && party->opened; }, 5s));
    party->send("x");
    ASSERT_TRUE(world.run_until([&] { return callers.back()->received == "x"; }, 5s));
    party.reset();
  }
  EXPECT_EQ(sessions.size(), 1u) << "each but the first uses one and gets one";
  client_options.sessions = 0;
  call(client_options);
  sessions.clear();
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(talk().resumed);
  EXPECT_EQ(sessions.size(), 0u);
}

TEST_F(Resumption, AServerMayGiveOutNoTickets) {
  server_options.tickets = false;
  serve(server_options);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(talk().resumed);
  EXPECT_EQ(sessions.size(), 0u);
}

// Checklist F13: a ticket stands for one listener under one set of rules, and a session for one
// configuration of ours.
TEST_F(Resumption, WhatChangedMeansAWholeHandshake) {
  const auto whole = [&](const char* what, const std::function<void()>& change) {
    SCOPED_TRACE(what);
    server_options = as("reco");
    client_options = as("web");
    serve(server_options);
    call(client_options);
    sessions.clear();
    EXPECT_FALSE(talk().resumed);
    EXPECT_TRUE(talk().resumed);
    change();
    const TlsInfo info = talk();
    EXPECT_FALSE(info.resumed);
    EXPECT_NE(info.version, "") << "not refused: a whole handshake";
    EXPECT_TRUE(talk().resumed) << "and from then on again";
  };
  whole("another bundle at the server", [&] {
    const auto other = CertificateAuthority::create("other.example", kNow, 24h * 3650);
    server_options.trusted_ca += other->certificate();
    serve(server_options);
  });
  whole("a certificate is no longer required", [&] {
    server_options.require_client_certificate = false;
    serve(server_options);
  });
  whole("another listener with the same rules", [&] {
    server_options.ticket_scope = "listener[b]";
    serve(server_options);
  });
  whole("the same configuration made anew", [&] { serve(server_options); });
  whole("another identity of the client", [&] { call(as("batch")); });
  whole("another bundle at the client", [&] {
    const auto other = CertificateAuthority::create("other.example", kNow, 24h * 3650);
    client_options.trusted_ca += other->certificate();
    call(client_options);
  });
}

// The client's own rule keeps a session from another name; here it is made to break that.
TEST_F(Resumption, ATicketForOneNameIsNoneForAnother) {
  client_options.server_name = "a.example";
  call(client_options);
  EXPECT_FALSE(talk().resumed);
  EXPECT_TRUE(talk().resumed);
  const auto first = client;
  client_options.server_name = "b.example";
  call(client_options);
  // What was kept for the first context is offered by the second.
  ssl_session_st* const session = sessions.take(*first, world.loop().clock().wall_now());
  ASSERT_NE(session, nullptr);
  sessions.keep(session, client, WallTime::max(), 1);
  const TlsInfo info = talk();
  EXPECT_FALSE(info.resumed);
  EXPECT_EQ(info.version, "TLSv1.3");
}

TEST_F(Resumption, ASessionEndsWithTheServersCertificate) {
  serve(as("reco", 24h));
  EXPECT_FALSE(talk().resumed);
  EXPECT_EQ(sessions.size(), 1u);
  world.time().shift_wall_clock(25h);
  serve(as("reco", 48h));
  const TlsInfo info = talk();
  EXPECT_FALSE(info.resumed);
  EXPECT_EQ(info.version, "TLSv1.3") << "a new certificate is met by a whole handshake at once";
}

TEST_F(Resumption, AFailedHandshakeLeavesNothingToResume) {
  EXPECT_FALSE(talk().resumed);
  EXPECT_EQ(sessions.size(), 1u);
  acceptor.reset();
  struct Garbage : AcceptHandler {
    void on_accept(std::unique_ptr<Stream> stream) override {
      party = std::make_unique<Party>(std::move(stream));
      party->send("no TLS here, and never was\r\n\r\n", true);
    }
    std::unique_ptr<Party> party;
  } garbage;
  acceptor = *world.host("10.0.0.1").listen(*Address::parse("10.0.0.1:443"), {}, garbage);
  Party caller(client->wrap(world.loop(), world.host("10.0.0.2").connect(acceptor->address()), 10s,
                            {&at_client, &sessions}));
  EXPECT_TRUE(world.run_until([&] { return caller.broken; }, 5s));
  EXPECT_EQ(at_client.failed, 1u);
  EXPECT_EQ(sessions.size(), 0u);
}

}  // namespace
}  // namespace glia
