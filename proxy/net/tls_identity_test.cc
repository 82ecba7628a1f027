// Who a peer may be: certificates that path validation accepts and an identity must not be made of,
// and what a resumed session remembers.
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/net/certificate.h"
#include "proxy/net/tls.h"
#include "proxy/net/x509.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

const WallTime kNow{1767225600s};  // Where virtual time begins.
const char kServerId[] = "spiffe://mesh.example/ns/shop/sa/reco";
const char kClientId[] = "spiffe://mesh.example/ns/shop/sa/web";

CertificateAuthority make_authority(const char* domain) {
  return *CertificateAuthority::create(domain, kNow, 24h * 3650);
}
const CertificateAuthority& mesh_ca() {
  static const CertificateAuthority* const ca =
      new CertificateAuthority(make_authority("mesh.example"));
  return *ca;
}

// What a leaf carries; empty leaves the extension out. In OpenSSL's configuration words.
struct Crafted {
  std::string names = cat("URI:", kClientId);
  std::string constraints = "critical,CA:FALSE";
  std::string usage = "critical,digitalSignature";
  std::string purposes = "serverAuth,clientAuth";
  const EVP_MD* digest = EVP_sha256();
};

void extend(X509* certificate, int nid, const std::string& value) {
  if (value.empty()) return;
  const bssl::UniquePtr<X509_EXTENSION> made(
      X509V3_EXT_nconf_nid(nullptr, nullptr, nid, value.c_str()));
  ASSERT_NE(made, nullptr) << value << ": " << take_crypto_error();
  ASSERT_EQ(X509_add_ext(certificate, made.get(), -1), 1);
}

Identity craft(const Crafted& crafted, const CertificateAuthority& ca = mesh_ca()) {
  Identity identity;
  identity.private_key = make_private_key();
  const auto key = *parse_private_key(identity.private_key, "key");
  const auto ca_key = *parse_private_key(ca.private_key(), "key");
  const auto root = *parse_certificates(ca.certificate(), "root");
  const bssl::UniquePtr<X509> leaf(X509_new());
  X509_set_version(leaf.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(leaf.get()), 77);
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(root[0].get()));
  X509_set_pubkey(leaf.get(), key.get());
  ASN1_TIME_set_posix(X509_getm_notBefore(leaf.get()), posix_seconds(kNow));
  ASN1_TIME_set_posix(X509_getm_notAfter(leaf.get()), posix_seconds(kNow + 24h));
  extend(leaf.get(), NID_basic_constraints, crafted.constraints);
  extend(leaf.get(), NID_key_usage, crafted.usage);
  extend(leaf.get(), NID_ext_key_usage, crafted.purposes);
  extend(leaf.get(), NID_subject_alt_name, crafted.names);
  EXPECT_GT(X509_sign(leaf.get(), ca_key.get(), crafted.digest), 0);
  identity.certificate = to_pem(leaf.get());
  return identity;
}

std::shared_ptr<const TlsContext> context(TlsContext::Side side, const Identity& identity,
                                          const std::string& trusted) {
  auto made = TlsContext::create(side, {.certificate_chain = identity.certificate,
                                        .private_key = identity.private_key,
                                        .trusted_ca = trusted,
                                        .request_client_certificate = true,
                                        .require_client_certificate = true});
  EXPECT_TRUE(made.ok()) << made.error().message();
  return *made;
}

struct Server : AcceptHandler {
  Server(SimWorld& world, const std::string& trusted)
      : world(world),
        tls(context(TlsContext::Side::kServer, craft({.names = cat("URI:", kServerId)}), trusted)),
        acceptor(*world.host("10.0.0.1").listen(*Address::parse("10.0.0.1:443"), {}, *this)) {}
  void on_accept(std::unique_ptr<Stream> stream) override {
    party = std::make_unique<Party>(tls->wrap(world.loop(), std::move(stream), 10s));
  }
  SimWorld& world;
  std::shared_ptr<const TlsContext> tls;
  std::unique_ptr<Acceptor> acceptor;
  std::unique_ptr<Party> party;
};

// How a server answers a client with this certificate: "" if it takes it, else its sentence.
std::string verdict(const Identity& client, const std::string& trusted = mesh_ca().certificate()) {
  SimWorld world(1);
  world.run_for(1s);
  Server server(world, trusted);
  const auto tls = context(TlsContext::Side::kClient, client, mesh_ca().certificate());
  Party party(
      tls->wrap(world.loop(), world.host("10.0.0.2").connect(server.acceptor->address()), 10s));
  EXPECT_TRUE(world.run_until(
      [&] { return server.party != nullptr && (server.party->opened || server.party->broken); },
      5s));
  return server.party->opened ? "" : server.party->stream->error().message();
}

TEST(TlsIdentity, TakesAnX509Svid) {
  EXPECT_EQ(verdict(craft({})), "");
  EXPECT_EQ(verdict(craft({.names = "URI:spiffe://mesh.example/a,DNS:web.shop"})), "");
  EXPECT_EQ(verdict(craft({.names = "DNS:no.identity.here"})), "");
  // Its only purpose is that of a client.
  EXPECT_EQ(verdict(craft({.purposes = "clientAuth"})), "");
}

TEST(TlsIdentity, RefusesWhatIsNotExactlyOneIdentity) {
  const std::string other = "URI:spiffe://mesh.example/b";
  const struct {
    Crafted crafted;
    const char* why;
  } kCases[] = {
      {{.names = cat("URI:", kClientId, ",", other)}, "carries 2 URI names"},
      {{.names = cat("URI:", kClientId, ",URI:https://web.shop/")}, "carries 2 URI names"},
      {{.names = "URI:spiffe://mesh.example"}, "trust domain itself"},
      {{.names = "URI:spiffe://mesh.example/a/../b"}, "dot segment"},
      {{.names = "URI:spiffe://mesh.example/%61"}, "the path may hold"},
      {{.names = "URI:spiffe://mesh.example:443/a"}, "the trust domain must be"},
      {{.names = "URI:SPIFFE://other.example/a"}, "authority of trust domain \"mesh.example\""},
      {{.names = "URI:spiffe://mesh.example/a\xC3\xA4"}, "cannot be read"},
      {{.constraints = "critical,CA:TRUE", .usage = "critical,digitalSignature,keyCertSign"},
       "certificate authority"},
      {{.usage = "critical,digitalSignature,cRLSign"}, "must not sign"},
      {{.usage = "digitalSignature"}, "critical key usage"},
      {{.usage = ""}, "critical key usage"},
      {{.purposes = "emailProtection"}, "purpose"},
      {{.purposes = "serverAuth"}, "purpose"},
      {{.digest = EVP_sha1()}, ""},
  };
  for (const auto& one : kCases) {
    const std::string sentence = verdict(craft(one.crafted));
    EXPECT_NE(sentence, "") << one.crafted.names << " " << one.crafted.usage;
    EXPECT_NE(sentence.find(one.why), std::string::npos) << one.why << ": " << sentence;
  }
}

TEST(TlsIdentity, RefusesToShowACertificateOfOurOwnThatCannotSign) {
  const Identity mute = craft({.usage = "critical,keyAgreement"});
  const auto made =
      TlsContext::create(TlsContext::Side::kClient,
                         {.certificate_chain = mute.certificate, .private_key = mute.private_key});
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().message(), "certificate_chain cannot be used: key usage bit incorrect");
}

TEST(TlsIdentity, ATrustDomainsRootVouchesForNoOtherDomain) {
  const CertificateAuthority friends = make_authority("friends.example");
  const std::string both = mesh_ca().certificate() + friends.certificate();
  EXPECT_EQ(verdict(craft({.names = "URI:spiffe://friends.example/a"}, friends), both), "");
  const std::string sentence = verdict(craft({}, friends), both);
  EXPECT_NE(sentence.find("is signed by the authority of trust domain \"friends.example\""),
            std::string::npos)
      << sentence;
}

// A client that keeps the session it is given; ours keep none.
class ResumingClient : Stream::Watcher {
 public:
  ResumingClient(SimWorld& world, const Address& to, const Identity& identity, SSL_SESSION* session)
      : stream_(world.host("10.0.0.2").connect(to)), context_(SSL_CTX_new(TLS_method())) {
    const auto chain = *parse_certificates(identity.certificate, "chain");
    SSL_CTX_use_certificate(context_.get(), chain[0].get());
    SSL_CTX_use_PrivateKey(context_.get(), parse_private_key(identity.private_key, "key")->get());
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* ssl, SSL_SESSION* made) {
      static_cast<ResumingClient*>(SSL_get_app_data(ssl))->session_.reset(made);
      return 1;
    });
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_app_data(ssl_.get(), this);
    BIO* in = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl_.get(), in, BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_.get());
    if (session != nullptr) SSL_set_session(ssl_.get(), session);
    stream_->watch(*this);
  }
  bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
  bssl::UniquePtr<SSL_SESSION> take_session() { return std::move(session_); }
  bool has_session() const { return session_ != nullptr; }

 private:
  void on_open() override { step(); }
  void on_writable() override { step(); }
  void on_broken() override {}
  void on_readable() override {
    char buffer[16 * 1024];
    while (true) {
      const IoResult result = stream_->read(buffer);
      if (result.state == IoResult::State::kDone) {
        BIO_write(SSL_get_rbio(ssl_.get()), buffer, static_cast<int>(result.bytes));
        continue;
      }
      if (result.state != IoResult::State::kWait) stream_->pause_reading(true);
      break;
    }
    step();
  }
  void step() {
    if (!SSL_is_init_finished(ssl_.get())) SSL_do_handshake(ssl_.get());
    char byte;
    if (SSL_is_init_finished(ssl_.get())) SSL_read(ssl_.get(), &byte, 1);
    BIO* out = SSL_get_wbio(ssl_.get());
    const uint8_t* bytes = nullptr;
    std::size_t size = 0;
    while (BIO_mem_contents(out, &bytes, &size) == 1 && size > 0) {
      const std::string_view piece(reinterpret_cast<const char*>(bytes), size);
      const IoResult result = stream_->write({&piece, 1});
      if (result.state != IoResult::State::kDone) return;
      std::string gone(result.bytes, '\0');
      BIO_read(out, gone.data(), static_cast<int>(gone.size()));
    }
  }

  std::unique_ptr<Stream> stream_;
  bssl::UniquePtr<SSL_CTX> context_;
  bssl::UniquePtr<SSL> ssl_;
  bssl::UniquePtr<SSL_SESSION> session_;
};

struct Resumption : testing::Test {
  // A whole handshake that leaves a ticket behind.
  void first() {
    ResumingClient client(world, server.acceptor->address(), identity, nullptr);
    ASSERT_TRUE(world.run_until([&] { return server.party && server.party->opened; }, 5s));
    server.party->send("hello");
    ASSERT_TRUE(world.run_until([&] { return client.has_session(); }, 5s));
    EXPECT_FALSE(client.resumed());
    session = client.take_session();
    server.party.reset();
  }
  SimWorld world{1};
  Server server{world, mesh_ca().certificate()};
  Identity identity = craft({});
  bssl::UniquePtr<SSL_SESSION> session;
};

TEST_F(Resumption, KeepsTheIdentityOfTheFirstHandshake) {
  first();
  ResumingClient client(world, server.acceptor->address(), identity, session.get());
  ASSERT_TRUE(world.run_until([&] { return server.party && server.party->opened; }, 5s));
  EXPECT_TRUE(client.resumed());
  const TlsInfo& info = *server.party->stream->info().tls;
  EXPECT_TRUE(info.resumed);
  EXPECT_TRUE(info.peer_certificate);
  EXPECT_EQ(info.peer_uri_sans, std::vector<std::string>{kClientId});
}

TEST_F(Resumption, EndsWithTheCertificate) {
  first();
  world.time().shift_wall_clock(25h);
  ResumingClient client(world, server.acceptor->address(), identity, session.get());
  ASSERT_TRUE(world.run_until([&] { return server.party && server.party->broken; }, 5s));
  EXPECT_NE(server.party->stream->error().message().find("expired"), std::string::npos)
      << server.party->stream->error().message();
  EXPECT_EQ(server.party->opened, 0);
}

TEST_F(Resumption, ATicketOfAnotherConfigurationMeansAWholeHandshake) {
  first();
  const CertificateAuthority friends = make_authority("friends.example");
  server.tls = context(TlsContext::Side::kServer, craft({.names = cat("URI:", kServerId)}),
                       friends.certificate());
  ResumingClient client(world, server.acceptor->address(), identity, session.get());
  ASSERT_TRUE(world.run_until([&] { return server.party && server.party->broken; }, 5s));
  EXPECT_NE(server.party->stream->error().message().find("certificate verify failed"),
            std::string::npos)
      << server.party->stream->error().message();
}

}  // namespace
}  // namespace glia
