// What a server remembers of the chains that it verified, and everything that must be verified
// again.
#include "proxy/net/tls_verified.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "proxy/base/text.h"
#include "proxy/net/tls.h"
#include "proxy/net/x509.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

const WallTime kNow{1767225600s};  // Where virtual time begins.

CertificateAuthority make_authority() {
  return *CertificateAuthority::create("mesh.example", kNow, 24h * 3650);
}
const CertificateAuthority& mesh_ca() {
  static const CertificateAuthority* const ca = new CertificateAuthority(make_authority());
  return *ca;
}

TlsOptions as(const std::string& name, const CertificateAuthority& ca = mesh_ca(),
              Duration lifetime = 24h * 3650) {
  const Identity identity =
      *issue(ca, {.uri_san = "spiffe://mesh.example/" + name, .now = kNow, .lifetime = lifetime});
  return {.certificate_chain = identity.certificate,
          .private_key = identity.private_key,
          .trusted_ca = mesh_ca().certificate(),
          .request_client_certificate = true,
          .require_client_certificate = true};
}

struct Verified : testing::Test, AcceptHandler {
  Verified() {
    acceptor = *world.host("10.0.0.1").listen(*Address::parse("10.0.0.1:443"), {}, *this);
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    const auto tls = *TlsContext::create(TlsContext::Side::kServer, server);
    party = std::make_unique<Party>(
        tls->wrap(world.loop(), std::move(stream), 10s, {.verified = &verified}));
  }
  // Whether the server lets in who connects as `client`, by a whole handshake.
  bool lets_in(const TlsOptions& client) {
    party.reset();
    const auto tls = *TlsContext::create(TlsContext::Side::kClient, client);
    Party caller(tls->wrap(world.loop(), world.host("10.0.0.2").connect(acceptor->address()), 10s));
    EXPECT_TRUE(
        world.run_until([&] { return party != nullptr && (party->opened || party->broken); }, 20s));
    return party->opened;
  }

  SimWorld world{1};
  TlsOptions server = as("reco");
  VerifiedChains verified;
  std::unique_ptr<Acceptor> acceptor;
  std::unique_ptr<Party> party;
};

TEST_F(Verified, RemembersWhoWasLetIn) {
  const TlsOptions web = as("web"), batch = as("batch");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(lets_in(web));
  EXPECT_EQ(verified.size(), 1u);
  EXPECT_EQ(party->stream->info().tls->peer_uri_sans,
            std::vector<std::string>{"spiffe://mesh.example/web"});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(lets_in(batch));
  EXPECT_EQ(verified.size(), 2u);
  EXPECT_EQ(party->stream->info().tls->peer_uri_sans,
            std::vector<std::string>{"spiffe://mesh.example/batch"});
}

TEST_F(Verified, RefusesACertificateThatHasRunOutSince) {
  const TlsOptions web = as("web", mesh_ca(), 24h);
  EXPECT_TRUE(lets_in(web));
  EXPECT_TRUE(lets_in(web));
  world.time().shift_wall_clock(25h);
  EXPECT_FALSE(lets_in(web));
}

TEST_F(Verified, RefusesTheSameNameFromAnotherAuthority) {
  EXPECT_TRUE(lets_in(as("web")));
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(lets_in(as("web", make_authority())));
  EXPECT_EQ(verified.size(), 1u) << "what is refused is not remembered";
}

TEST_F(Verified, OtherRulesMeanToVerifyAgain) {
  const TlsOptions web = as("web");
  EXPECT_TRUE(lets_in(web));
  server.trusted_ca = make_authority().certificate();
  EXPECT_FALSE(lets_in(web));
  server = as("reco");
  EXPECT_TRUE(lets_in(web));
  server.peer_sans = {{.value = "spiffe://mesh.example/batch"}};
  EXPECT_FALSE(lets_in(web));
  server.peer_sans = {{.value = "spiffe://mesh.example/web"}};
  EXPECT_TRUE(lets_in(web));
  EXPECT_EQ(verified.size(), 2u);
}

TEST(VerifiedChains, AreGoodBetweenTheirMoments) {
  VerifiedChains chains;
  chains.keep("a", kNow, kNow + 1h);
  EXPECT_TRUE(chains.has("a", kNow));
  EXPECT_FALSE(chains.has("a", kNow - 1s));
  EXPECT_FALSE(chains.has("a", kNow + 1h));
  EXPECT_FALSE(chains.has("b", kNow));
}

TEST(VerifiedChains, ForgetTheOldestAboveTheirLimit) {
  VerifiedChains chains;
  for (std::size_t i = 0; i < VerifiedChains::kMostVerified + 2; ++i) {
    chains.keep(cat(i), kNow, kNow + 1h);
  }
  EXPECT_EQ(chains.size(), VerifiedChains::kMostVerified);
  EXPECT_FALSE(chains.has("0", kNow));
  EXPECT_FALSE(chains.has("1", kNow));
  EXPECT_TRUE(chains.has("2", kNow));
  EXPECT_TRUE(chains.has(cat(VerifiedChains::kMostVerified + 1), kNow));
}

}  // namespace
}  // namespace glia
